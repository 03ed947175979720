import { afterAll, expect, test } from '@jest/globals';
import { pino } from 'pino';
import type { ClockStep } from '../../src/core/clock.ts';
import { Clock } from '../../src/daemon/clock.ts';
import { Processes, type ClaimedWork } from '../../src/daemon/processes.ts';
import { newDelivery } from '../../src/core/delivery/delivery.ts';
import { Claims } from '../../src/deliver/claims.ts';
import type { Deliverer } from '../../src/deliver/deliverer.ts';
import { ClaimStore, tokensOf } from '../../src/redis/leases.ts';
import { CLAIMS } from '../../src/redis/lua/leases.ts';
import { STORE_NOW } from '../../src/redis/lua/clock.ts';
import { ProcessStore } from '../../src/redis/stores/process-store.ts';
import { testProcess } from '../support/daemon.ts';
import { limitedTo } from '../support/endpoints.ts';
import { openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const stores = openStores();
afterAll(() => stores.close());

const RUN = { source: 'default', runId: 'run-1' };

/** No record of these tests changes its form. */
const stray = (why: string) => {
  throw new Error(why);
};

const idle: ClaimedWork = { takeOver: async () => undefined };

function processOf(
  id: string,
  { work = idle, uptime = () => performance.now(), processes = stores.processes } = {},
) {
  const lines: unknown[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const own = testProcess({
    id,
    stores: { ...stores, processes },
    clock: new Clock(
      stores.clock,
      { wall: Date.now, monotonic: () => performance.now(), uptime },
      log,
      () => undefined,
    ),
    log,
  });
  const info = { host: 'here', pid: 1, version: '0', startedAt: 0, sections: { rules: 'old' } };
  const guard = { suspect: () => undefined, check: () => undefined };
  const process = new Processes(own, info, guard);
  process.add(work);
  return { process, pulse: own.pulse, lines };
}

async function setClock(text: string): Promise<void> {
  await stores.redis.set(stores.keys.clock, text);
}

test('the clock of scripts does not go back when the clock of the Redis host is set back', async () => {
  const ahead = Date.now() + 300_000;
  await setClock(`0 ${ahead} 0`);
  const { now } = await stores.clock.read();
  expect(now).toBe(ahead);
  const later = await stores.clock.read();
  expect(later.now).toBeGreaterThanOrEqual(now);
  expect(later.now).toBeLessThan(now + 60_000);
  await stores.redis.del(stores.keys.clock);
});

test('the clock of scripts comes back to that of the host by a tenth of the time that passes', async () => {
  const wall = Date.now();
  // Two seconds ago it was last written, while it was five minutes ahead.
  await setClock(`300000 ${wall + 298_000} 0`);
  await stores.clock.read();
  const offset = Number((await stores.redis.get(stores.keys.clock))?.split(' ')[0]);
  expect(offset).toBeLessThanOrEqual(299_800);
  expect(offset).toBeGreaterThanOrEqual(297_000);
  await stores.redis.del(stores.keys.clock);
});

test('a step forward of the clock of the Redis host is removed once for all processes', async () => {
  const moved: number[] = [];
  const work = { ...idle, moveBack: async ({ ms }: ClockStep) => void moved.push(ms) };
  // To a clock that stands still, the clock of Redis jumps forward.
  let skippedMs = 0;
  const uptime = () => performance.now() - skippedMs;
  const [one, two] = [processOf('one', { work, uptime }), processOf('two', { work, uptime })];
  one.process.start(stray);
  two.process.start(stray);
  await waitFor(async () => (await stores.processes.counters()).size === 2);
  skippedMs = 300_000;
  const readings = async () => stores.clock.read();
  one.process.tend();
  two.process.tend();
  await waitFor(async () => (await readings()).steps === 1);
  await waitFor(() => moved.length > 0);
  one.process.tend();
  two.process.tend();
  const { now } = await readings();
  expect(Math.abs(Date.now() - 300_000 - now)).toBeLessThan(30_000);
  expect(moved).toEqual([expect.closeTo(300_000, -4)]);
  await Promise.all([one.process.stop(false), two.process.stop(false)]);
  await stores.redis.del(stores.keys.clock);
});

test('claims of a dead process are taken over within seconds, and the process is removed', async () => {
  const { redis, keys, processes } = stores;
  const claims = new ClaimStore(redis, keys.requestClaims('any'));
  const token = tokensOf('dead')();
  await redis.hset(keys.requestClaims('any'), {
    'a/1': `${token} 0`,
    'a/2': `${tokensOf('alive')()} 0`,
  });
  await processes.beat('dead');
  const found: unknown[] = [];
  let known: Promise<Map<string, string>> | undefined;
  const work = {
    ...idle,
    takeOver: async (process: string) => {
      for await (const held of claims.heldBy(process)) found.push(...held);
    },
    forgotten: () => void (known = stores.processes.counters()),
  };
  const { process, lines } = processOf('judge', { work });
  process.start(stray);
  await waitFor(async () => (await process.list()).length === 1);
  expect(await process.list()).toMatchObject([{ id: 'judge', name: 'here:1', version: '0' }]);
  await waitFor(async () => !(await processes.counters()).has('dead'));
  expect(found).toEqual([{ member: 'a/1', token }]);
  // From then on nothing is left to it.
  expect((await waitFor(() => known)).has('dead')).toBe(false);
  expect(lines).toContainEqual(expect.objectContaining({ msg: 'process.dead', process: 'dead' }));
  await process.stop(false);
  expect((await processes.counters()).size).toBe(0);
});

test('a process that is alone reads no counters but its own, and takes over from one that appeared meanwhile', async () => {
  let beats = 0;
  /** After how many heartbeats it read the counters. */
  const readings: number[] = [];
  const processes = new (class extends ProcessStore {
    override beat(id: string) {
      beats += 1;
      return super.beat(id);
    }
    override counters() {
      readings.push(beats);
      return super.counters();
    }
  })(stores.redis, stores.keys);
  const found: string[] = [];
  const work = { ...idle, takeOver: async (dead: string) => void found.push(dead) };
  const { process } = processOf('alone', { work, processes });
  process.start(stray);
  await waitFor(() => beats > 3);
  await stores.processes.show('another');
  const appearedAt = beats;
  await waitFor(async () => !(await stores.processes.counters()).has('another'));
  expect(found).toEqual(['another']);
  expect(readings.filter((at) => at > 1 && at < appearedAt)).toEqual([]);
  expect(readings).toContain(appearedAt + 1);
  await process.stop(false);
});

test('a process beats on while it takes over dead ones, one at a time', async () => {
  const { processes } = stores;
  const dead = ['dead-1', 'dead-2'];
  for (const one of dead) await processes.beat(one);
  const counter = async () => Number((await processes.counters()).get('busy'));
  let underWay = 0;
  const seen: { process: string; underWay: number }[] = [];
  const work = {
    ...idle,
    async takeOver(process: string) {
      underWay += 1;
      seen.push({ process, underWay });
      const before = await counter();
      await waitFor(async () => (await counter()) > before + 2, {
        describe: 'the heartbeat to go on',
      });
      underWay -= 1;
    },
  };
  const { process, pulse } = processOf('busy', { work });
  process.start(stray);
  await waitFor(async () => (await counter()) > 0 && (await processes.counters()).size === 1);
  expect(seen).toEqual(dead.map((one) => ({ process: one, underWay: 1 })));
  expect(pulse.isSure()).toBe(true);
  await process.stop(false);
});

test('claims of many pools are released side by side', async () => {
  const { redis, keys, outbox } = stores;
  const pools = ['one', 'two', 'three'];
  for (const pool of pools) {
    await redis.hset(keys.deliveryClaims, pool, `${tokensOf('gone')()} 0`);
  }
  const begun: string[] = [];
  const process = testProcess({
    id: 'here',
    endpoints: limitedTo(() => ({ most: 1, rate: null, deadlineMs: 1_000 })),
    stores: {
      ...stores,
      deliveries: {
        getMany: async (ids) =>
          ids.map((id) => ({
            delivery: newDelivery(RUN, { id: 'evt_1', type: 'run.failed' }, id, 0),
            version: 1,
            number: 1,
          })),
      },
      outbox: {
        replayLease: outbox.replayLease,
        async release({ pool }) {
          begun.push(pool);
          await waitFor(() => begun.length === pools.length);
          return 1;
        },
      },
    },
  });
  const work = new Claims({ process } as Deliverer);
  await work.takeOver('gone');
  expect(begun.toSorted()).toEqual(pools.toSorted());
  await redis.del(keys.deliveryClaims);
});

test('a process writes the hashes of a configuration that was put in force, and lists those of all', async () => {
  const { process: one } = processOf('one');
  one.start(stray);
  const listed = (rules: string) => [{ name: 'here:1', sections: { rules } }];
  await waitFor(async () => (await one.configurations()).length === 1);
  expect(await one.configurations()).toEqual(listed('old'));
  one.reconfigured({ rules: 'new' });
  await waitFor(async () => (await one.configurations())[0]?.sections['rules'] === 'new');

  const ended = { host: 'there', pid: 2, version: '0', startedAt: 1, skewMs: 0, sections: {} };
  await stores.processes.describe('without a counter', ended);
  expect(await one.configurations()).toEqual(listed('new'));
  await stores.processes.forget('without a counter');
  await one.stop(false);
});

test('a process counts by its own configuration at once, and has written it once it knows those of others', async () => {
  const { process: one } = processOf('one');
  const { process: two } = processOf('two');
  two.start(stray);
  await waitFor(async () => (await two.list()).length === 1);
  const rulesOf = async () =>
    new Set((await one.configurations()).map(({ sections }) => sections['rules']));
  one.reconfigured({ rules: 'new' });
  expect(await rulesOf()).toEqual(new Set(['new', 'old']));
  expect((await stores.processes.described()).get('one')?.sections).toEqual({ rules: 'new' });
  await Promise.all([one.stop(false), two.stop(false)]);
});

test('a process lists one that appeared since its last heartbeat', async () => {
  const { process: one } = processOf('one');
  one.start(stray);
  await waitFor(async () => (await one.list()).length === 1);
  const info = { host: 'there', pid: 2, version: '0', startedAt: 1, skewMs: 0, sections: {} };
  await stores.processes.describe('new', info);
  await stores.processes.beat('new');
  expect((await one.list()).map(({ id }) => id)).toEqual(['one', 'new']);
  await stores.processes.forget('new');
  await one.stop(false);
});

test('a claim ends only by its own token, and returns its due time', async () => {
  const { redis, keys } = stores;
  const run = (code: string) =>
    redis.eval(`${STORE_NOW} ${CLAIMS} ${code}`, 2, keys.requestClaims('any'), keys.clock);
  await run(`hold(KEYS[1], 'a/1', 'old.1', storeNow(KEYS[2]))`);
  await run(`hold(KEYS[1], 'a/1', 'new.1', 1700000000002)`);
  expect(await run(`return letGo(KEYS[1], 'a/1', 'old.1')`)).toBeNull();
  expect(await run(`return {holder(KEYS[1], 'a/1')}`)).toEqual(['new.1', 1_700_000_000_002, '']);
  expect(await run(`return letGo(KEYS[1], 'a/1', 'new.1')`)).toBe(1_700_000_000_002);
  expect(await run(`return holder(KEYS[1], 'a/1')`)).toBeNull();
});

test('a process leaves the records once they have another form, and may make no claims meanwhile', async () => {
  const { process: one, pulse } = processOf('one');
  const left: string[] = [];
  one.start((why) => void left.push(why));
  await waitFor(async () => (await stores.processes.counters()).has('one'));
  expect(await one.mayWork()).toBe(true);
  expect(left).toEqual([]);
  await stores.redis.set(stores.keys.schema, '99');
  await waitFor(() => left.length > 0);
  expect(left[0]).toMatch(
    /^Redis holds records of form 99, and this version of runwatch knows form/,
  );
  await waitFor(() => !pulse.isSure());
  expect(await one.mayWork()).toBe(false);
  await one.stop(true);
  await stores.redis.del(stores.keys.schema);
  await stores.processes.forget('one');
});

test('a process whose records get another form leaves with its next heartbeat, without being cut off', async () => {
  const { keys, redis, forms } = stores;
  await forms.claim('0');
  const left: string[] = [];
  const { process } = processOf('left-behind');
  process.start((why) => void left.push(why));
  await waitFor(async () => (await stores.processes.counters()).has('left-behind'));
  expect(left).toEqual([]);
  await redis.set(keys.schema, '99');
  await waitFor(() => left.length > 0);
  expect(left[0]).toMatch(/^Redis holds records of form 99, .* run version 0, which wrote them/);
  await redis.set(keys.schema, forms.newest);
  await process.stop(false);
});
