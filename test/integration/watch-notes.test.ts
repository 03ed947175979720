import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { pino } from 'pino';
import type { Watch, WatchKey } from '../../src/core/watch/watch.ts';
import { KnownWatches, WatchNotes } from '../../src/daemon/known-watches.ts';
import { newWatch } from '../support/builders.ts';
import { testRedis } from '../support/redis.ts';
import { openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

let a: Process;
let b: Process;

beforeEach(async () => {
  const redis = testRedis();
  [a, b] = [startProcess(redis), startProcess(redis)];
  const { stores } = a;
  // A notice before the subscription of a process is none for it.
  await waitFor(async () => {
    const [, listening] = await stores.redis.pubsub('NUMSUB', stores.keys.watchChannel);
    return listening === 2;
  });
});

afterEach(async () => {
  await a.stores.close();
  await b.stores.close();
});

type Process = ReturnType<typeof startProcess>;

/** A process that remembers watches. */
function startProcess(at: ReturnType<typeof testRedis>) {
  const stores = openStores(at);
  const read: string[] = [];
  const known = new KnownWatches({
    active: (chunk, order) => stores.watches.active(chunk, order),
    absent: (keys) => stores.watches.absent(keys),
    async getMany(keys) {
      read.push(...keys.map(({ runId }) => runId));
      return stores.watches.getMany(keys);
    },
  });
  const notes = new WatchNotes(known, stores.watchChannel, stores.epochs, pino({ enabled: false }));
  return { stores, known, notes, read };
}

/** Writes a watch in place of another one, and has the process notify of it. */
async function write({ stores, notes }: Process, watch: Watch): Promise<void> {
  const before = await stores.watches.get(watch);
  const change = { before, after: watch, events: [], deliveries: [] };
  expect(await stores.watches.commit(change)).not.toBeNull();
  notes.registered([watch]);
}

/** The metadata of a watch as the process remembers it. */
async function remembered({ known, stores }: Process, key: WatchKey): Promise<unknown> {
  const record = stores.keys.watch(key);
  const stored = await stores.redis.getBuffer(record);
  await stores.redis.del(record);
  const [missing] = await known.missing();
  if (stored !== null) await stores.redis.set(record, stored);
  return missing?.metadata;
}

test('a registration is read by the other processes, and not by the one that made it', async () => {
  await write(a, newWatch({ runId: 'run-1' }));
  await waitFor(async () => {
    await b.known.catchUp();
    return b.known.size === 1;
  });
  // Its own notice came no later than that of the other process.
  await write(b, newWatch({ runId: 'run-2' }));
  await waitFor(async () => {
    await a.known.catchUp();
    return a.known.size === 2;
  });
  expect(a.read).toEqual(['run-2']);
  expect(b.read).toEqual(['run-1']);
});

test('of two registrations of one run the last one is remembered, whichever of them was noted last', async () => {
  const first = newWatch({ metadata: { team: 'first' } });
  const last = newWatch({ metadata: { team: 'last' } });
  await a.stores.watches.commit({ before: null, after: first, events: [], deliveries: [] });
  await write(b, last);
  await waitFor(async () => {
    await a.known.catchUp();
    return a.known.size === 1;
  });
  a.notes.registered([first]);
  await a.known.catchUp();
  expect(await remembered(a, last)).toEqual({ team: 'last' });
});

test('a watch that changes while it is read is read again, and so is one that could not be read', async () => {
  const watch = newWatch();
  const stored = { watch, version: 1, number: 1 };
  const answers = [
    async () => {
      throw new Error('away');
    },
    async () => {
      known.expect(watch);
      return [stored];
    },
    async () => [stored],
  ];
  const known = new KnownWatches({
    absent: async () => [],
    async *active() {},
    getMany: () => answers.shift()!(),
  });
  known.expect(watch);
  await expect(known.catchUp()).rejects.toThrow('away');
  await known.catchUp();
  await known.catchUp();
  await known.catchUp();
  expect(answers).toHaveLength(0);
});
