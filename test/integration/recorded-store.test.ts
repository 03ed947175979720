import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { afterAll, expect, test } from '@jest/globals';
import { planOf } from '../../src/redis/migration-plan.ts';
import { SCHEMA } from '../../src/redis/migrations.ts';
import { Verifier } from '../../src/redis/verify/verifier.ts';
import { dumpRedis } from '../support/dump-redis.ts';
import { giveShades, NEXT } from '../support/next-form.ts';
import { loadRecording, recordingPath } from '../support/recorded-store.ts';
import { testRedis } from '../support/redis.ts';
import { openStores } from '../support/stores.ts';

/** The recordings of all forms. They are never changed, since versions to come are tried on them. */
const RECORDINGS: Readonly<Record<string, string>> = {
  '12': '9264dfa0c00353b267de2d01ac8d51226736322ae3bf408f4c6e094463619fcf',
};

const place = testRedis();
const stores = openStores(place);
afterAll(() => stores.close());

/** The keys of watches, events and deliveries, which do not expire. */
async function lasting() {
  const all = await dumpRedis(place.url, place.prefix);
  return all.filter(({ key }) => /\}:(watch|event|deliver|schema|form|tints|of-tint)/.test(key));
}

test.each(Object.entries(RECORDINGS))(
  'the recorded store of form %s is as it was recorded',
  async (form, checksum) => {
    const bytes = await readFile(recordingPath(form));
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(checksum);
    expect(bytes.length).toBeLessThan(1_048_576);
  },
);

test('the recorded store is read at the time of its recording, and what a migration would do changes nothing', async () => {
  const { redis, keys, clock, forms } = stores;
  const head = await loadRecording(redis, place.prefix, SCHEMA);
  expect(Math.abs((await clock.read()).now - head.at)).toBeLessThan(60_000);
  expect(await forms.foreign()).toBeNull();
  const shades = await giveShades(redis, keys);
  const dump = await lasting();
  const { steps } = await planOf(redis, keys, [NEXT]);
  expect(steps.map(({ records, unreadableCount }) => [records, unreadableCount])).toEqual(
    NEXT.steps.map(() => [shades.size, 0]),
  );
  expect(await lasting()).toEqual(dump);
});

test('a verification of the recorded store finds nothing wrong', async () => {
  const { redis, keys } = stores;
  await redis.del(...(await stores.keysLeft()), 'none');
  await loadRecording(redis, place.prefix, SCHEMA);
  expect((await new Verifier(redis, keys).verify()).problems).toEqual([]);
});
