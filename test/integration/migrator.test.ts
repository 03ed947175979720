import { afterEach, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { pino } from 'pino';
import { Migrator } from '../../src/daemon/migrator.ts';
import { createRedisConnections } from '../../src/redis/connection.ts';
import { isPacked } from '../../src/redis/history-codec.ts';
import { planOf } from '../../src/redis/migration-plan.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { SCHEMA, type Migration, type MigrationStep } from '../../src/redis/migrations.ts';
import { FormStore } from '../../src/redis/stores/form-store.ts';
import { IDENTITY_LENGTH } from '../../src/redis/stores/watch-record.ts';
import { newWatch, NOON, snapshot } from '../support/builders.ts';
import { giveShades, NEXT, NEXT_FORM, nextKeys } from '../support/next-form.ts';
import { dumpRedis } from '../support/dump-redis.ts';
import { makeFull, makeRoom } from '../support/full-redis.ts';
import { startPrivateRedis, testRedis, type TestRedis } from '../support/redis.ts';
import { openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

const key = (run: number) => ({ source: 'default', runId: `run-${run}` });

/** A store in which the first watches have ended and are packed, and the others are live. */
async function aStore({ packed = 0, live = 0 } = {}, place: TestRedis = testRedis()) {
  const stores = openStores(place);
  cleanups.push(() => stores.close());
  await stores.forms.claim('0.9.0');
  for (let at = 0; at < packed + live; at += 1) {
    const run = snapshot({ id: key(at).runId, status: at < packed ? 'completed' : 'running' });
    const ended = at < packed ? { state: 'finished' as const, endedAt: NOON } : {};
    const after = newWatch({ ...key(at), run, ...ended });
    await stores.watches.commit({ before: null, after, events: [], deliveries: [] });
    if (at < packed) expect(await stores.history.pack(key(at))).toBe('packed');
  }
  return stores;
}

/** A process that migrates what is there. */
async function aMigrator(
  place: TestRedis,
  migrations: readonly Migration[],
  wrap = (redis: Redis) => redis,
) {
  const lines: { msg: string; [field: string]: unknown }[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const connections = createRedisConnections({ settings: place, log });
  cleanups.push(() => connections.close());
  await connections.ready();
  const keys = createKeys(place.prefix);
  const commands = wrap(connections.commands);
  const { state, tryWrite } = connections;
  const migrator = new Migrator({ commands, state, tryWrite }, keys, log, '1.0.0', migrations);
  const stop = new AbortController();
  const said = (msg: string) => lines.filter((line) => line.msg === msg);
  const line = async () => (await migrator.checks())[0]?.detail ?? '';
  return { migrator, stop, said, line, run: () => migrator.run(stop.signal) };
}

/** How many records each step of {@link COUNTING} goes through. */
const RECORDS = 7;

/** A step that must not be done twice: it counts how often each record was written. */
function counting(name: string): MigrationStep {
  return {
    name,
    frees: false,
    bytesEach: 10,
    count: async () => RECORDS,
    async next({ keys }, cursor) {
      const from = Number(cursor);
      const numbers = [from, from + 1].filter((number) => number < RECORDS);
      const isLast = from + 2 >= RECORDS;
      return {
        cursor: isLast ? null : String(from + 2),
        handled: numbers.length,
        writes: numbers.map((number) => ['HINCRBY', tallyOf(keys), `${name} ${number}`, 1]),
        unreadable: [],
      };
    },
  };
}

const tallyOf = ({ queuePrefix }: { queuePrefix: string }) => `${queuePrefix}:tally`;

const COUNTING: Migration = {
  from: SCHEMA,
  to: NEXT_FORM,
  steps: [counting('one'), counting('two')],
};

const ONCE_EACH = Object.fromEntries(
  ['one', 'two'].flatMap((step) =>
    Array.from({ length: RECORDS }, (_, number) => [`${step} ${number}`, '1']),
  ),
);

/** What happens to a process at one of its commands. */
type Fate = { at: number; how: 'dies before' | 'dies after' | 'freezes before' };

/** Commands of a process to which something happens; `thaw` lets a frozen one go on. */
function doomed({ at, how }: Fate) {
  let count = 0;
  let isDead = false;
  let thaw: () => void = () => undefined;
  const thawed = new Promise<void>((resolve) => (thaw = resolve));
  let isReached = false;
  const wrap = (redis: Redis) =>
    new Proxy(redis, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== 'function') return value;
        if (name === 'defineCommand') return value.bind(target);
        return async (...args: unknown[]) => {
          if (isDead) throw new Error('it is dead');
          count += 1;
          const isNow = count === at;
          isReached ||= isNow;
          isDead = isNow && how !== 'freezes before';
          if (isNow && how === 'freezes before') await thawed;
          if (isNow && how === 'dies before') throw new Error('it has died');
          const reply: unknown = await (value as (...args: unknown[]) => unknown).apply(
            target,
            args,
          );
          if (isNow && how === 'dies after') throw new Error('it has died');
          return reply;
        };
      },
    });
  return { wrap, thaw, isReached: () => isReached };
}

test('a field of live and packed watches is renamed, gets an index, and is split off, and nothing else changes', async () => {
  const place = testRedis();
  const { redis, keys } = await aStore({ packed: 3, live: 3 }, place);
  const recordOf = async (run: number) => (await redis.getBuffer(keys.watch(key(run))))!;
  const before = await Promise.all([0, 5].map(recordOf));
  expect(before.map(isPacked)).toEqual([true, false]);
  const shades = await giveShades(redis, keys);
  expect(shades.size).toBe(6);
  const { migrator, run, said } = await aMigrator(place, [NEXT]);
  expect(await migrator.isDone()).toBe(false);
  await run();
  expect(await redis.hgetall(nextKeys(keys).tints)).toEqual(Object.fromEntries(shades));
  const of1 = [...shades].flatMap(([id, shade]) => (shade === 'shade1' ? [id] : []));
  expect(await redis.zrange(nextKeys(keys).ofTint('shade1'), '0', '-1')).toEqual(of1);
  expect(await Promise.all([0, 5].map(recordOf))).toEqual(before);
  expect(await redis.get(keys.schema)).toBe(NEXT_FORM);
  expect(await redis.hgetall(keys.form)).toEqual({ version: '1.0.0' });
  expect(await redis.exists(keys.migrationLease)).toBe(0);
  expect(said('store.migrated')).toMatchObject([{ from: SCHEMA, to: NEXT_FORM, unreadable: 0 }]);
  expect(await migrator.isDone()).toBe(true);
});

test('whatever kills the processes that migrate, each record is written once', async () => {
  const fate = fc.record({
    at: fc.integer({ min: 1, max: 24 }),
    how: fc.constantFrom('dies before' as const, 'dies after' as const),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(fate, { maxLength: 6 }), async (fates) => {
      const place = testRedis();
      const { redis, keys } = await aStore({}, place);
      for (const one of fates) {
        const life = await aMigrator(place, [COUNTING], doomed(one).wrap);
        await life.run().catch(() => undefined);
        // The lease of a process that was killed runs out.
        await redis.del(keys.migrationLease);
      }
      await (await aMigrator(place, [COUNTING])).run();
      expect(await redis.hgetall(tallyOf(keys))).toEqual(ONCE_EACH);
      expect(await redis.get(keys.schema)).toBe(NEXT_FORM);
      for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
    }),
    { numRuns: 15 },
  );
});

test('a process that was frozen and comes back late writes nothing again', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 24 }),
      fc.integer({ min: 1, max: 24 }),
      async (at, until) => {
        const place = testRedis();
        const { redis, keys } = await aStore({}, place);
        const [late, other] = [
          doomed({ at, how: 'freezes before' }),
          doomed({ at: until, how: 'freezes before' }),
        ];
        const first = (await aMigrator(place, [COUNTING], late.wrap)).run();
        await Promise.race([first, waitFor(late.isReached)]);
        await redis.del(keys.migrationLease);
        const second = (await aMigrator(place, [COUNTING], other.wrap)).run();
        await Promise.race([second, waitFor(other.isReached)]);
        // Both are in the midst of it, and each believes that the lease is its own.
        late.thaw();
        other.thaw();
        await Promise.all([first, second]);
        expect(await redis.hgetall(tallyOf(keys))).toEqual(ONCE_EACH);
        expect(await redis.get(keys.schema)).toBe(NEXT_FORM);
        for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
      },
    ),
    { numRuns: 8 },
  );
});

test('the form of a store whose migration ends while it is read is the one of before or after', async () => {
  const { redis, keys } = await aStore({}, testRedis());
  const endsBefore = async (read: (forms: FormStore) => Promise<unknown>) => {
    await redis.set(keys.schema, `${SCHEMA}>${NEXT_FORM}`);
    await redis.hset(keys.form, { from: SCHEMA, to: NEXT_FORM, step: 0, cursor: '', handled: 0 });
    const ending = Object.assign(Object.create(redis) as typeof redis, {
      async hgetall() {
        await redis.set(keys.schema, NEXT_FORM);
        await redis.del(keys.form);
        return redis.hgetall(keys.form);
      },
    });
    return read(new FormStore(ending, keys, [COUNTING]));
  };
  expect(await endsBefore((forms) => forms.read())).toMatchObject({
    form: NEXT_FORM,
    migration: null,
  });
  expect(await endsBefore((forms) => forms.foreign())).toBeNull();
});

test('a process that gets its lease back writes no chunk again that another has written meanwhile', async () => {
  const place = testRedis();
  const { redis, keys } = await aStore({}, place);
  const slow = counting('one');
  let isRead: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (isRead = resolve));
  let isReading = false;
  const reading: MigrationStep = {
    ...slow,
    async next(store, cursor, most) {
      const chunk = await slow.next(store, cursor, most);
      if (cursor === '2' && !isReading) {
        isReading = true;
        await held;
      }
      return chunk;
    },
  };
  const late = await aMigrator(place, [{ ...COUNTING, steps: [reading, counting('two')] }]);
  const over = late.run();
  await waitFor(() => isReading);
  const own = (await redis.get(keys.migrationLease))?.split(' ')[0];
  // Another process takes the migration over, writes some chunks, and dies.
  const taken = { token: 'other.1', name: 'other:1', version: '1' };
  await redis.set(keys.migrationLease, `${taken.token} ${Date.now() + 60_000}`);
  const forms = new FormStore(redis, keys, [COUNTING]);
  const chunk = await slow.next({ redis, keys }, '2', 2);
  const at = { step: 0, cursor: '2', handled: 2 };
  expect(await forms.write(COUNTING, at, chunk, taken)).toMatchObject({ cursor: '4' });
  await redis.del(keys.migrationLease);
  await waitFor(async () => (await redis.get(keys.migrationLease))?.split(' ')[0] === own);
  isRead();
  await over;
  expect(await redis.hgetall(tallyOf(keys))).toEqual(ONCE_EACH);
});

test('a migration waits for living processes of another version, names them, and begins when they have ended or died', async () => {
  const place = testRedis();
  const { redis, keys, processes } = await aStore({}, place);
  const info = { startedAt: 0, skewMs: 0, sections: {} };
  await processes.describe('ends', { ...info, host: 'old', pid: 7, version: '0.9.0' });
  await processes.describe('dies', { ...info, host: 'old', pid: 8, version: '0.8.0' });
  const alive = new Set(['ends', 'dies', 'nameless']);
  const beating = setInterval(() => {
    for (const id of alive) void processes.beat(id);
  }, 200);
  cleanups.push(async () => clearInterval(beating));
  await waitFor(async () => (await processes.counters()).size === 3);
  const { run, line } = await aMigrator(place, [COUNTING]);
  const over = run();
  const all =
    'old:7 (version 0.9.0), old:8 (version 0.8.0), one that has not said its name (nameless)';
  await waitFor(async () => (await line()).endsWith(`: stop ${all}`));
  expect(await line()).toMatch(
    /^the migration of records from form \d+ to form \d+ begins once no process/,
  );
  for (const id of ['ends', 'nameless']) {
    alive.delete(id);
    await processes.forget(id);
  }
  await waitFor(async () => (await line()).endsWith(': stop old:8 (version 0.8.0)'));
  expect(await redis.get(keys.schema)).toBe(SCHEMA);
  alive.delete('dies');
  await over;
  expect(await redis.hgetall(tallyOf(keys))).toEqual(ONCE_EACH);
});

test('a migration does not begin where a process appears between the check and the beginning', async () => {
  const { forms, processes, redis, keys } = await aStore();
  const process = { token: 'p.1', name: 'here:1', version: '1' };
  await forms.take(process);
  await processes.show('dead');
  await processes.show('new');
  expect(await forms.begin(COUNTING, [7, 7], process, ['dead'])).toEqual(['new']);
  expect(await redis.get(keys.schema)).toBe(SCHEMA);
  await processes.forget('new');
  expect(await forms.begin(COUNTING, [7, 7], process, ['dead'])).toEqual([]);
  expect(await redis.get(keys.schema)).toBe(`${SCHEMA}>${NEXT_FORM}`);
});

/** A store on a Redis of its own, which is full from the second chunk of the second step on. */
async function aFullStore(frees: boolean) {
  const server = await startPrivateRedis();
  cleanups.push(() => server.stop());
  const place = { url: server.url, prefix: 'full' };
  const stores = await aStore({}, place);
  const last = counting('two');
  let times = 0;
  const filling: MigrationStep = {
    ...last,
    frees,
    bytesEach: 1_000_000,
    async next(store, cursor, most) {
      times += 1;
      if (times === 2) await makeFull(stores.redis);
      return last.next(store, cursor, most);
    },
  };
  const migrations = [{ ...COUNTING, steps: [counting('one'), filling] }];
  return { ...stores, ...(await aMigrator(place, migrations)) };
}

test('a process keeps the right to migrate while it reads a chunk for long', async () => {
  const place = testRedis();
  const { redis, keys } = await aStore({}, place);
  const slow = counting('one');
  const steps: MigrationStep[] = [
    {
      ...slow,
      async next(store, cursor, most) {
        const before = await redis.get(keys.migrationLease);
        if (cursor === '')
          await waitFor(async () => (await redis.get(keys.migrationLease)) !== before);
        return slow.next(store, cursor, most);
      },
    },
    counting('two'),
  ];
  await (await aMigrator(place, [{ ...COUNTING, steps }])).run();
  expect(await redis.hgetall(tallyOf(keys))).toEqual(ONCE_EACH);
});

test('a migration waits while Redis is full, says how much is wanted, and goes on by itself', async () => {
  const { redis, keys, run, line, said } = await aFullStore(false);
  const over = run();
  await waitFor(async () => (await line()).includes('is full'));
  expect(await line()).toMatch(
    /waits, since the memory of Redis is full \(maxmemory\): step 2 of 2 \(two\), 2 of 7 records; the 5 records to come take about 5 MB more: raise maxmemory/,
  );
  expect(said('store.migration').some(({ level }) => level === 40)).toBe(true);
  expect(await redis.get(keys.schema)).toBe(`${SCHEMA}>${NEXT_FORM}`);
  await makeRoom(redis);
  await over;
  expect(await redis.hgetall(tallyOf(keys))).toEqual(ONCE_EACH);
});

test('a step that frees memory goes on in a Redis that is full', async () => {
  const { redis, keys, run, said } = await aFullStore(true);
  await run();
  expect(await redis.hgetall(tallyOf(keys))).toEqual(ONCE_EACH);
  expect(await redis.get(keys.schema)).toBe(NEXT_FORM);
  expect(said('store.migration').filter(({ level }) => level === 40)).toEqual([]);
});

test('a record that cannot be read stays as it is, and is named in the plan and in the log', async () => {
  const place = testRedis();
  const { redis, keys } = await aStore({ packed: 2, live: 1 }, place);
  const broken = keys.watch(key(1));
  await redis.setrange(broken, IDENTITY_LENGTH, '\u0009');
  const record = await redis.getBuffer(broken);
  const before = await dumpRedis(place.url, place.prefix);
  const { steps, refusal } = await planOf(redis, keys, [NEXT]);
  expect(refusal).toBeNull();
  expect(steps).toHaveLength(3);
  expect(steps[0]).toMatchObject({
    from: SCHEMA,
    to: NEXT_FORM,
    records: 3,
    bytes: 48,
    unreadable: [{ key: broken, why: expect.stringContaining('packed in form 9') }],
    unreadableCount: 1,
  });
  // To plan is to read.
  expect(await dumpRedis(place.url, place.prefix)).toEqual(before);

  const { run, said } = await aMigrator(place, [NEXT]);
  await run();
  expect(await redis.getBuffer(broken)).toEqual(record);
  expect(said('store.record_unreadable')).toHaveLength(3);
  expect(said('store.record_unreadable')[0]).toMatchObject({ key: broken });
  expect(await redis.hlen(nextKeys(keys).tints)).toBe(2);
});

test('a store of several forms ago is brought forward form by form', async () => {
  const place = testRedis();
  const { redis, keys } = await aStore({}, place);
  const last = { from: NEXT_FORM, to: '90', steps: [counting('three')] };
  expect((await planOf(redis, keys, [COUNTING, last])).steps.map(({ name }) => name)).toEqual([
    'one',
    'two',
    'three',
  ]);
  await (await aMigrator(place, [COUNTING, last])).run();
  expect(await redis.get(keys.schema)).toBe('90');
  expect(await redis.hlen(tallyOf(keys))).toBe(3 * RECORDS);
});

test('records that this version cannot read are refused with the version that can', async () => {
  const place = testRedis();
  const { redis, keys, forms } = await aStore({}, place);
  await (await aMigrator(place, [COUNTING])).run();
  const old = await aMigrator(place, []);
  await expect(old.migrator.isDone()).rejects.toMatchObject({
    code: 'schema_unknown',
    message: `Redis holds records of form ${NEXT_FORM}, and this version of runwatch knows form ${SCHEMA}: run version 1.0.0, which wrote them, or use another redis.prefix`,
  });
  await redis.set(keys.schema, '11>90');
  await redis.hset(keys.form, { step: 0, by: 'there:2', byVersion: '2.0.0' });
  expect(await forms.foreign()).toMatch(
    /on their way from form 11 to form 90, by there:2 \(version 2\.0\.0\), and .* knows form \d+: run version 2\.0\.0/,
  );
  expect((await planOf(redis, keys, [])).refusal).toMatch(/on their way from form 11 to form 90/);
});

test('a migration whose form was lost goes on, and one whose place was lost is refused', async () => {
  const place = testRedis();
  const { redis, keys } = await aStore({}, place);
  const life = await aMigrator(place, [COUNTING], doomed({ at: 9, how: 'dies before' }).wrap);
  await life.run().catch(() => undefined);
  expect(await redis.get(keys.schema)).toBe(`${SCHEMA}>${NEXT_FORM}`);
  await redis.del(keys.schema, keys.migrationLease);
  const second = await aMigrator(place, [COUNTING]);
  expect(await second.migrator.isDone()).toBe(false);
  expect(await redis.get(keys.schema)).toBe(`${SCHEMA}>${NEXT_FORM}`);
  await redis.del(keys.form);
  await expect(second.run()).rejects.toMatchObject({
    code: 'migration_failed',
    message: expect.stringMatching(/Redis has lost how far .* restore a backup/),
  });
  const { refusal, steps } = await planOf(redis, keys, [COUNTING]);
  expect({ refusal, steps }).toEqual({
    refusal: expect.stringMatching(/Redis has lost how far .* restore a backup/),
    steps: [],
  });
});
