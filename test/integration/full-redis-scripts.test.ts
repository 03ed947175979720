import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { AuditRecord } from '../../src/core/audit.ts';
import type { Alert } from '../../src/core/alert/alert.ts';
import { noCounts } from '../../src/core/alert/alert.ts';
import {
  newDelivery,
  postponed,
  replayed,
  withheld,
  type StoredDelivery,
} from '../../src/core/delivery/delivery.ts';
import { pause } from '../../src/core/delivery/endpoint-state.ts';
import { newBatch } from '../../src/core/batch.ts';
import { observe } from '../../src/core/watch/observe.ts';
import type { Write } from '../../src/redis/migrations.ts';
import type { Subscription, WatchKey } from '../../src/core/watch/watch.ts';
import { endWatch } from '../../src/watches/end.ts';
import { newMark, newWatch, NOON, observeContext, snapshot } from '../support/builders.ts';
import { testProcess } from '../support/daemon.ts';
import { callsOf, scriptNames, startShadow } from '../support/full-redis.ts';
import { NEXT } from '../support/next-form.ts';
import { testRedis } from '../support/redis.ts';
import { closeSource, openStores } from '../support/stores.ts';

const place = testRedis();
const stores = openStores(place);
const { redis, keys, watches, events, deliveries, history, outbox, requests, alerts } = stores;
let shadow: Awaited<ReturnType<typeof startShadow>>;

beforeAll(async () => {
  shadow = await startShadow(place.prefix);
});
afterAll(async () => {
  await stores.close();
  await shadow.stop();
});
beforeEach(async () => void (await redis.del(...(await stores.keysLeft()), 'none')));

/**
 * What a script is to a Redis that is full. One that `frees` leaves less than there was. One that
 * `passes` takes no memory, and what frees some needs it. One that `reads` changes nothing. All of
 * these are admitted. One that `grows` may be refused, as a whole.
 */
type Kind = 'frees' | 'passes' | 'reads' | 'grows';

/** The last call of the script is the one that is made again. */
type Case = [script: string, kind: Kind, what: string, act: () => Promise<unknown>];

const SOURCE = 'default';
const KEY: WatchKey = { source: SOURCE, runId: 'run-1' };
const LATER = NOON + 10 * 365 * 86_400_000;
const HOUR = 3_600_000;
const CONTRADICTED = { changes: ['run-1'], contradictedAt: NOON, since: null };
const AUDITED: AuditRecord = {
  id: 'aud_1',
  at: NOON,
  by: 'ops',
  via: 'api',
  action: 'run.stop',
  target: 'default/run-1',
  sources: [SOURCE],
  details: {},
};
const MIGRATING = { token: 'p.1', name: 'here:1', version: '1' };
const BATCH = newBatch('1', { sources: null, name: 'nightly' }, NOON);
const LIST = { source: SOURCE, workflowId: null };
const ops: Subscription = { kind: 'endpoint', endpoint: 'ops' };
const limits = { most: 4, rate: null, deadlineMs: 15_000 };
const limit = { requests: 10, perMs: 1_000 };
const pool = { pool: 'ops', limits };

/** Writes the last chunk of a step of a migration. */
async function writeChunk(step: number, writes: readonly Write[]): Promise<void> {
  await stores.forms.claim('0');
  await stores.forms.take(MIGRATING);
  await stores.forms.begin(NEXT, [1, 1, 1], MIGRATING, []);
  await redis.hset(keys.form, 'step', step);
  const at = { step, cursor: '', handled: 0 };
  const chunk = { cursor: null, handled: 1, writes, unreadable: [] };
  expect(await stores.forms.write(NEXT, at, chunk, MIGRATING)).not.toBeNull();
}

async function aBatch() {
  expect(await stores.batches.begin(BATCH, '')).toBe(true);
  return (await stores.batches.read(BATCH.id))!;
}

/** Registers runs, which are to be polled within a time. */
async function register(runIds: readonly string[] = ['run-1'], withinMs = 0): Promise<void> {
  for (const runId of runIds) {
    const after = newWatch({ source: SOURCE, runId, subscriptions: [ops] });
    const schedule = { does: 'enter', withinMs, kind: 'watch' } as const;
    await watches.commit({ before: null, after, events: [], deliveries: [], schedule });
  }
}

/** Registers a run and polls it until it has a status; deliveries go to these endpoints. */
async function aRun({
  key = KEY,
  status = 'failed',
  to = ['ops'],
}: { key?: WatchKey; status?: string; to?: string[] } = {}) {
  await register([key.runId]);
  const before = (await watches.get(key))!;
  const run = snapshot({ id: key.runId, status });
  const seen = observe(before.watch, { kind: 'run', run }, observeContext(NOON));
  const planned = to.map((endpoint) => newDelivery(seen.watch, seen.events[0]!, endpoint, NOON));
  const change = { before, after: seen.watch, events: seen.events, deliveries: planned };
  const ended = seen.watch.state === 'active' ? {} : { schedule: { does: 'leave' as const } };
  await watches.commit({ ...change, ...ended });
  return { events: seen.events, ids: planned.map(({ id }) => id) };
}

async function stored(id: string): Promise<StoredDelivery> {
  return (await deliveries.get(id))!;
}

async function skip(id: string): Promise<void> {
  const before = await stored(id);
  const after = withheld(before.delivery, 'skipped');
  expect(await outbox.withhold({ before, after, limits, now: NOON })).not.toBe('delivery');
}

/** Puts a delivery off for an hour. */
async function postpone(id: string): Promise<void> {
  const before = await stored(id);
  const after = postponed(before.delivery, NOON + HOUR);
  await outbox.withhold({ before, after, limits, now: NOON });
}

/** A run that has ended, with its deliveries settled. */
async function aSettledRun(to = ['ops', 'chat']) {
  const run = await aRun({ to });
  for (const id of run.ids) await skip(id);
  return run;
}

async function aPackedRun() {
  await aSettledRun();
  expect(await history.pack(KEY)).toBe('packed');
  return (await history.packed(KEY))!;
}

/** More events than are packed. */
async function aLongRun(): Promise<void> {
  await aRun({ to: [] });
  const before = (await watches.get(KEY))!;
  const [first] = (await events.list({ runs: [KEY] }, { limit: 1 })).items;
  const event = first!.event as Parameters<typeof watches.commit>[0]['events'][number];
  const more = Array.from({ length: 501 }, (_, at) => ({ ...event, id: `${event.id}${at}` }));
  await watches.commit({ before, after: before.watch, events: more, deliveries: [] });
}

/** Drops what points to settled deliveries that were lost. */
async function aLostDelivery(): Promise<void> {
  const { ids } = await aSettledRun();
  await redis.del(ids.map((id) => keys.delivery(id)));
  expect(await stores.repairs.all(NOON)).toMatchObject({ missing: 0, failures: [] });
}

async function claimDelivery(): Promise<void> {
  const found = await outbox.claim({ ...pool, most: 1, token: 'p.1', askedAt: 0 });
  expect(found.claims).toHaveLength(1);
}

const claimPoll = () =>
  requests.claim(SOURCE, {
    token: 'p',
    most: 1,
    limit,
    leaseMs: 10_000,
    roundMs: 0,
  });

const claimed = { member: KEY.runId, token: 'p.1' };

async function aClaimedPoll(): Promise<void> {
  await register();
  expect((await claimPoll()).claimed).toHaveLength(1);
}

async function raise(): Promise<string> {
  const id = `evt_${newMark()}`;
  const event = { id, type: 'endpoint.failing', timestamp: new Date(NOON).toISOString() };
  const body = JSON.stringify({ ...event, data: { endpoint: 'ops' } });
  await events.raise({ id, body, deliveries: [] });
  return id;
}

const RESOLVED: Alert = {
  id: 'alr_0123456789abcdef0123_0123456789',
  rule: 'failed-runs',
  labels: {},
  state: 'resolved',
  severity: 'error',
  owner: null,
  annotations: {},
  count: 3,
  runsTotal: 3,
  runs: [],
  startedAt: NOON,
  updatedAt: NOON,
  resolvedAt: NOON,
  reason: null,
  acknowledged: null,
  notified: [],
};

const resolve = () =>
  alerts.commit({
    token: null,
    read: new Map(),
    changed: [],
    resolved: [RESOLVED],
    counts: noCounts(),
    events: [],
  });

async function anInbox(): Promise<void> {
  await redis.rpush(keys.alertInbox, 'one', 'two');
}

const held = { process: 'p', isRelied: true, nodes: null };

const CASES: Case[] = [
  [
    'rwCompareDeliveries',
    'grows',
    'a delivery that is not due',
    async () => {
      await aRun();
      await redis.del(keys.due('ops'));
      expect(await outbox.compare(undefined, 10)).toMatchObject({ placed: 1 });
    },
  ],
  [
    'rwDropNumber',
    'grows',
    'a watch without a record',
    async () => {
      await register();
      await redis.del(keys.watch(KEY));
      await watches.dropLost(await watches.lost(10));
      expect(await watches.countActive()).toBe(0);
    },
  ],
  ['rwReadClock', 'reads', 'the clock', () => stores.clock.read()],
  [
    'rwTakeOutStep',
    'grows',
    'a step of the clock',
    () => stores.clock.takeOut({ ms: 5_000, isLead: false }, 0),
  ],
  [
    'rwTakeMigration',
    'passes',
    'the right to migrate',
    async () => void (await stores.forms.take(MIGRATING)),
  ],
  [
    'rwBeginMigration',
    'passes',
    'a migration that begins',
    async () => {
      await stores.forms.claim('0');
      await stores.forms.take(MIGRATING);
      expect(await stores.forms.begin(NEXT, [1], MIGRATING, [])).toEqual([]);
    },
  ],
  [
    'rwWriteChunk',
    'grows',
    'a chunk that a migration writes',
    () => writeChunk(0, [['SET', keys.watchNumber, '1'.repeat(100)]]),
  ],
  [
    'rwWriteChunk',
    'frees',
    'a chunk that a migration frees',
    async () => {
      await redis.set(keys.watchNumber, '1'.repeat(4_096));
      await writeChunk(2, [['DEL', keys.watchNumber]]);
    },
  ],
  [
    'rwEndMigration',
    'frees',
    'a migration that ends',
    async () => {
      await writeChunk(2, []);
      expect(await stores.forms.end(NEXT, MIGRATING)).toBe(true);
    },
  ],
  ['rwTakeLease', 'grows', 'a lease', () => alerts.lease.take('p.1', 5_000)],
  [
    'rwEndLease',
    'frees',
    'a lease that ends',
    async () => {
      await alerts.lease.take('p.1', 5_000);
      await alerts.lease.end('p.1');
    },
  ],
  ['rwCommitWatch', 'grows', 'a registration', () => register()],
  ['rwCommitWatch', 'grows', 'a poll that ends a run', () => aRun({ to: ['ops', 'chat'] })],
  [
    'rwCommitWatch',
    'passes',
    'a watch that a user ends',
    async () => {
      await aRun({ status: 'running', to: [] });
      const process = testProcess({ stores, now: () => NOON });
      expect(await endWatch(process, KEY)).toBe(true);
    },
  ],
  ['rwClaimRequests', 'grows', 'a claim of a poll', aClaimedPoll],
  [
    'rwReleaseClaims',
    'passes',
    'polls given back',
    async () => {
      await aClaimedPoll();
      await requests.release(SOURCE, [claimed], { inMs: 0 });
    },
  ],
  [
    'rwRenewClaim',
    'grows',
    'a claim for another lease',
    async () => {
      await aClaimedPoll();
      await requests.renew(SOURCE, claimed, 60_000);
    },
  ],
  [
    'rwExpedite',
    'grows',
    'polls due now',
    async () => {
      await register(['run-1', 'run-2'], HOUR);
      await requests.expedite(SOURCE, ['run-1', 'run-2']);
    },
  ],
  [
    'rwDefer',
    'grows',
    'polls put off',
    async () => {
      await register(['run-1', 'run-2'], HOUR);
      const due = await requests.dueTimes(SOURCE, ['run-1', 'run-2']);
      const moves = due.map((from, at) => {
        return { member: `run-${at + 1}`, from: from!, to: from! + HOUR };
      });
      await requests.defer(SOURCE, moves);
    },
  ],
  [
    'rwEnterMissing',
    'grows',
    'polls that are missing',
    () => requests.enterMissing(SOURCE, 'watch', ['run-1', 'run-2']),
  ],
  [
    'rwEnterWithin',
    'grows',
    'pages to be read',
    () => requests.enterWithin(SOURCE, 'list', [{ member: ' page', withinMs: 5 }]),
  ],
  [
    'rwSurvey',
    'reads',
    'a survey of the schedule',
    async () => {
      await register();
      await requests.survey(SOURCE);
    },
  ],
  [
    'rwMoveBack',
    'grows',
    'due times moved back',
    async () => {
      await register(['run-1', 'run-2'], HOUR);
      await requests.moveBack(SOURCE, { ms: 5_000, from: Date.now() });
    },
  ],
  [
    'rwClaim',
    'grows',
    'a claim of a delivery',
    async () => {
      await aRun();
      await claimDelivery();
    },
  ],
  [
    'rwReleaseDeliveries',
    'passes',
    'deliveries given back',
    async () => {
      const { ids } = await aRun();
      await claimDelivery();
      await outbox.release(pool, [{ id: ids[0]!, token: 'p.1' }]);
    },
  ],
  [
    'rwMoveDeliveriesBack',
    'grows',
    'deliveries moved back',
    async () => {
      const { ids } = await aRun();
      await postpone(ids[0]!);
      await outbox.moveBack(pool, { ms: HOUR / 2, from: 0 });
    },
  ],
  [
    'rwDuePools',
    'reads',
    'pools that are due',
    async () => {
      await aRun();
      await outbox.duePools(10);
    },
  ],
  [
    'rwRetryReceiver',
    'grows',
    'a receiver tried again',
    async () => {
      const { ids } = await aRun();
      await postpone(ids[0]!);
      await outbox.retry('ops', limits);
    },
  ],
  [
    'rwRecordAttempt',
    'grows',
    'the result of an attempt',
    async () => {
      const { ids } = await aRun();
      await claimDelivery();
      const before = await stored(ids[0]!);
      const after = { ...before.delivery, state: 'delivered' as const, deliveredAt: NOON };
      const attempt = { at: NOON, status: 204, error: null, durationMs: 4, response: '' };
      const step = { before, after, token: 'p.1', attempt, limits, now: NOON };
      expect(await outbox.recordAttempt(step)).toMatchObject({ claims: [] });
    },
  ],
  [
    'rwWithholdDelivery',
    'passes',
    'a delivery that is skipped',
    async () => {
      const { ids } = await aRun();
      await skip(ids[0]!);
    },
  ],
  [
    'rwPostponeDeliveries',
    'passes',
    'deliveries that wait for a name',
    async () => {
      const { ids } = await aRun();
      await claimDelivery();
      const before = await stored(ids[0]!);
      const after = postponed(before.delivery, NOON + 300);
      const step = { before, after, token: 'p.1', limits, now: NOON };
      expect(await outbox.postpone([step])).toMatchObject({ left: [] });
    },
  ],
  [
    'rwRequeueDelivery',
    'grows',
    'a delivery made again',
    async () => {
      const { ids } = await aSettledRun();
      const before = await stored(ids[0]!);
      const after = replayed(before.delivery, NOON);
      expect(await outbox.requeue({ before, after, limits, now: NOON })).toBe(true);
    },
  ],
  [
    'rwWriteEndpoint',
    'grows',
    'the state of an endpoint',
    async () => {
      const before = await stores.endpointStates.get('ops');
      const after = pause(before.state);
      await stores.endpointStates.write(before, after, { limits, now: NOON });
    },
  ],
  [
    'rwAdmitRequest',
    'grows',
    'a permit',
    () => stores.budgets.admit(SOURCE, { request: 'one', limit }),
  ],
  [
    'rwSettleRequest',
    'grows',
    'a permit of an answered request',
    async () => {
      await stores.budgets.admit(SOURCE, { request: 'one', limit });
      await stores.budgets.settle(SOURCE, { request: 'one', limit });
    },
  ],
  [
    'rwRenewPermit',
    'grows',
    'a permit kept for longer',
    async () => {
      await stores.budgets.admit(SOURCE, { request: 'one', limit });
      await stores.budgets.renew(SOURCE, { request: 'one', limit: { requests: 1, perMs: HOUR } });
    },
  ],
  [
    'rwGiveBackPermit',
    'frees',
    'a permit of a request that was not sent',
    async () => {
      const paced = { requests: 1, perMs: HOUR };
      await stores.budgets.admit(SOURCE, { request: 'one', limit: paced });
      await stores.budgets.giveBack(SOURCE, { request: 'one', limit: paced });
    },
  ],
  [
    'rwReadStatistics',
    'grows',
    'what was learned, and its use',
    async () => {
      const of = keys.statistics('default/workflow-1');
      await redis.hset(of, 'version', 1);
      const workflow = { source: SOURCE, workflowId: 'workflow-1' };
      await stores.statistics.read([workflow], { isUse: true });
    },
  ],
  ['rwTakeStream', 'grows', 'a stream', () => stores.streams.take(SOURCE, 'run-1', 'p', 10)],
  [
    'rwNoteStream',
    'grows',
    'a note of a stream',
    async () => {
      await register(['run-1'], HOUR);
      await stores.streams.take(SOURCE, 'run-1', 'p', 10);
      await stores.streams.note(SOURCE, 'run-1', { held, move: { to: 'earlier', inMs: 0 } });
    },
  ],
  [
    'rwReleaseStreams',
    'passes',
    'streams given back',
    async () => {
      await register(['run-1'], HOUR);
      await stores.streams.take(SOURCE, 'run-1', 'p', 10);
      const given = { process: 'p', runIds: ['run-1'] };
      await stores.streams.release(SOURCE, given, { reads: 'all', everyMs: 5 });
    },
  ],
  [
    'rwAddReport',
    'grows',
    'a report of a stream',
    () => {
      const report = { workflowId: 'workflow-1', kind: 'hint', isReported: true } as const;
      return stores.streams.addReport(SOURCE, report);
    },
  ],
  [
    'rwPutBounded',
    'grows',
    'names of nodes',
    () => stores.nodeNames.put(SOURCE, 'workflow-1', new Map([['a', 'b']])),
  ],
  [
    'rwDropBatch',
    'frees',
    'a batch without a record',
    async () => {
      const { batch } = await aBatch();
      await redis.del(keys.batch(batch.id));
      expect(await stores.batches.named([batch])).toEqual([null]);
      expect(await redis.exists(keys.batchNames)).toBe(0);
    },
  ],
  [
    'rwReplaceField',
    'grows',
    'a rotated secret',
    () => stores.endpointSecrets.replace('ops', null, 'sealed'),
  ],
  [
    'rwShowProcess',
    'grows',
    'a process that appears beside another',
    async () => {
      await stores.processes.show('one');
      await stores.processes.show('another');
    },
  ],
  [
    'rwPutSource',
    'grows',
    'a source that is closed',
    () => closeSource(stores.sources, SOURCE, NOON),
  ],
  [
    'rwPutSource',
    'frees',
    'a source that answers again',
    async () => {
      await closeSource(stores.sources, SOURCE, NOON);
      const read = await stores.sources.read(SOURCE);
      await stores.sources.put(SOURCE, read, null, { isProbe: true, openSince: null, access: '' });
    },
  ],
  [
    'rwTakeGone',
    'passes',
    'watches due for packing',
    async () => {
      await aSettledRun();
      expect(await history.takeDue(LATER, 10)).toHaveLength(1);
    },
  ],
  [
    'rwMoveCursor',
    'grows',
    'the cursor of a list',
    async () => {
      await redis.hset(keys.requestClaims(SOURCE), ' page', 'p.1 0 ');
      const cursor = { at: '2026-01-01T00:00:00.000Z' } as unknown as Parameters<
        typeof stores.discoveries.moveCursor
      >[2];
      await stores.discoveries.moveCursor(LIST, { member: ' page', token: 'p.1' }, cursor);
    },
  ],
  [
    'rwAddDeliveries',
    'grows',
    'deliveries to another endpoint',
    async () => {
      const { events: seen } = await aRun();
      const { watch } = (await watches.get(KEY))!;
      await outbox.add([newDelivery(watch, seen[0]!, 'chat', NOON)]);
    },
  ],
  [
    'rwForgetDeliveries',
    'frees',
    'deliveries past their retention',
    async () => {
      await aSettledRun();
      expect(await stores.retention.forgetDeliveries(LATER)).toMatchObject({ forgotten: 2 });
    },
  ],
  ['rwTurnState', 'grows', 'overdue polls', () => requests.noteOverdue(SOURCE, true, null)],
  [
    'rwReplaceState',
    'grows',
    'a contradiction',
    () => stores.consistencies.put({ source: SOURCE, before: '', after: CONTRADICTED }, null),
  ],
  ['rwRaiseEvent', 'grows', 'an event about runwatch', raise],
  [
    'rwRenewEpoch',
    'grows',
    'a new epoch',
    () =>
      stores.epochs.renew([], ['abcdefgh'], { event: null, damage: { deliveries: 0, events: 0 } }),
  ],
  [
    'rwReadNumbers',
    'reads',
    'a listing',
    async () => {
      await aRun();
      await watches.list({}, { limit: 10 });
    },
  ],
  [
    'rwChunkStarts',
    'reads',
    'a listing by time',
    async () => {
      await aRun();
      await events.list({ since: NOON }, { limit: 10 });
    },
  ],
  [
    'rwFindRunIds',
    'reads',
    'runs by a part of their ids',
    async () => {
      await aRun();
      await stores.lookup.find({ kind: 'run', prefix: 'ru', limit: 5 });
    },
  ],
  [
    'rwCountNumbers',
    'reads',
    'a count',
    async () => {
      await aRun({ status: 'running', to: [] });
      expect(await watches.countActive()).toBe(1);
    },
  ],
  [
    'rwReadHistory',
    'reads',
    'a timeline',
    async () => {
      await aRun();
      await stores.timelines.read(KEY);
    },
  ],
  [
    'rwReadPart',
    'reads',
    'events of a run',
    async () => {
      await aRun();
      await events.list({ runs: [KEY] }, { limit: 5 });
    },
  ],
  [
    'rwReadOne',
    'reads',
    'an event',
    async () => {
      const { events: seen } = await aRun();
      expect(await events.body(seen[0]!.id)).not.toBeNull();
    },
  ],
  ['rwPack', 'frees', 'a watch that is packed', aPackedRun],
  [
    'rwDropPackDue',
    'frees',
    'a watch that is due for packing, and gone',
    async () => {
      await redis.zadd(keys.packDue, NOON, 'default/run-1');
      expect(await history.pack(KEY)).toBe('unknown');
    },
  ],
  [
    'rwPutOff',
    'passes',
    'a watch that may not be packed yet',
    async () => {
      await aRun();
      expect(await history.pack(KEY)).toBe('kept');
    },
  ],
  [
    'rwUnpack',
    'grows',
    'a watch that is unpacked',
    async () => {
      await aPackedRun();
      await history.unpack(KEY);
    },
  ],
  [
    'rwRepack',
    'frees',
    'deliveries of a packed watch',
    async () => {
      const found = await aPackedRun();
      const [first] = found.history.deliveries;
      expect(await history.dropDeliveries(found, new Set([first!.number]))).toBe(1);
    },
  ],
  [
    'rwForgetPacked',
    'frees',
    'a packed watch',
    async () => {
      const found = await aPackedRun();
      expect(await history.forget(found)).toBe(true);
    },
  ],
  [
    'rwForgetEvents',
    'frees',
    'events of a long run',
    async () => {
      await aLongRun();
      expect(await stores.retention.forget(KEY)).toBe('forgotten');
    },
  ],
  [
    'rwForgetOwnEvents',
    'frees',
    'events about runwatch',
    async () => {
      await raise();
      await raise();
      expect(await stores.retention.forgetOwnEvents(LATER)).toMatchObject({ forgotten: 2 });
    },
  ],
  [
    'rwPutBack',
    'grows',
    'an index that was lost',
    async () => {
      await aRun();
      await redis.del(keys.watchesChanged);
      expect(await stores.repairs.putBack([KEY])).toMatchObject({ missing: 1, failures: [] });
    },
  ],
  ['rwSweepLog', 'passes', 'deliveries without a record', aLostDelivery],
  ['rwSweepIndex', 'passes', 'indexes of deliveries without a record', aLostDelivery],
  [
    'rwSweepRunIds',
    'passes',
    'the id of a run without a record',
    async () => {
      await aRun();
      await redis.del(keys.watch(KEY));
      await stores.repairs.all(NOON);
      expect(await redis.exists(keys.runIds(SOURCE, ''))).toBe(0);
    },
  ],
  [
    'rwRecount',
    'passes',
    'a counter that is off',
    async () => {
      await aRun();
      // The counter that is counted last.
      await redis.hset(keys.deliveryCounts, 'superseded ops', 7);
      expect(await stores.repairs.all(NOON)).toMatchObject({ recounted: 1 });
    },
  ],
  [
    'rwAddUp',
    'reads',
    'the sum of counters',
    async () => {
      await aRun();
      expect(await stores.repairs.compareCounters(0)).toEqual({ addUp: true, next: 0 });
    },
  ],
  [
    'rwTakeAlertWork',
    'grows',
    'a claim of alerts',
    async () => {
      await anInbox();
      await alerts.take('p.1', { leaseMs: 5_000, entries: 10, groups: 10, seen: ['default'] });
    },
  ],
  ['rwCommitAlerts', 'grows', 'a resolved alert', resolve],
  [
    'rwForgetAlerts',
    'frees',
    'alerts past their retention',
    async () => {
      await resolve();
      expect(await alerts.forget({ before: LATER, keep: 10 })).toBe(1);
    },
  ],
  [
    'rwAddSilence',
    'grows',
    'a silence',
    () => {
      const about = { id: 'sil_1', matchers: {}, by: 'ana', comment: '', key: null };
      return stores.silences.add({ ...about, startsAt: NOON, until: LATER, createdAt: NOON });
    },
  ],
  ['rwWriteBatch', 'grows', 'a batch', () => aBatch()],
  [
    'rwCommitWatch',
    'grows',
    'a run that begins a batch',
    async () => {
      const after = newWatch({ batches: [BATCH.id] });
      const joins = [{ batch: BATCH, was: '' }];
      await watches.commit({ before: null, after, events: [], deliveries: [], joins });
      expect((await stores.batches.read(BATCH.id))?.batch.joined).toBe(1);
    },
  ],
  [
    'rwSettleBatch',
    'grows',
    'a batch that completes, with its event',
    async () => {
      const before = await aBatch();
      const after = { ...before.batch, state: 'completed' as const };
      const body = '{"id":"evt_1","type":"batch.completed","data":{}}';
      const judged = { after, isIdle: false, events: [{ id: 'evt_1', body, deliveries: [] }] };
      expect(await stores.batches.settle(before, judged)).toEqual([]);
    },
  ],
  [
    'rwWakeIdleBatches',
    'grows',
    'batches without an active run',
    async () => {
      await aBatch();
      await redis.del(keys.batchesDue);
      const taken = { idleSince: LATER, leaseMs: 1, most: 10 };
      expect(await stores.batches.takeDue(LATER, taken)).toEqual([BATCH.id]);
    },
  ],
  [
    'rwMoveBatchesBack',
    'passes',
    'a batch that was marked while the clock was ahead',
    async () => {
      await aBatch();
      const ahead = Date.now() + HOUR;
      await redis.zadd(keys.batchesDue, ahead, BATCH.id);
      await stores.batches.moveBack({ ms: HOUR, from: ahead });
      expect(Number(await redis.zscore(keys.batchesDue, BATCH.id))).toBeLessThan(ahead);
    },
  ],
  [
    'rwForgetBatch',
    'frees',
    'a batch',
    async () => {
      await stores.batches.forget((await aBatch()).batch);
      expect(await stores.batches.read(BATCH.id)).toBeNull();
    },
  ],
  [
    'rwReplaceField',
    'grows',
    'the end of a silence by a user',
    async () => {
      const about = { id: 'sil_1', matchers: {}, by: 'ana', comment: '', key: null };
      const silence = { ...about, startsAt: NOON, until: LATER, createdAt: NOON };
      await stores.silences.add(silence);
      await stores.silences.replace(silence, { ...silence, until: NOON }, AUDITED);
    },
  ],
  ['rwAppendAudit', 'passes', 'what a user does', () => stores.audit.append(AUDITED)],
  ['rwBeginAnswer', 'grows', 'a request', () => stores.answers.begin('one', 'record', HOUR)],
  [
    'rwKeepAnswer',
    'grows',
    'an answer',
    async () => {
      await stores.answers.begin('one', 'begun', HOUR);
      await stores.answers.keep('one', 'begun', 'record', HOUR);
    },
  ],
  [
    'rwReleaseAnswer',
    'frees',
    'an answer that is given no more',
    async () => {
      await stores.answers.begin('one', 'begun', HOUR);
      await stores.answers.release('one', 'begun');
    },
  ],
];

/** The clock is written by the scripts that read it, unless that was done within the second. */
const CLOCKS = [
  ['a clock that is written again', 5_000],
  ['a clock that was just written', 0],
] as const;

test('every script says what it is to a full Redis', async () => {
  expect([...new Set(CASES.map(([script]) => script))].sort()).toEqual(await scriptNames());
});

describe.each(CLOCKS)('a full Redis with %s', (_, clockAgeMs) => {
  test.each(CASES)('%s, which %s: %s', async (script, kind, _what, act) => {
    const call = (await callsOf(stores, script, act)).at(-1)!;
    const whole = await shadow.makeAgain(call, { isFull: false, clockAgeMs });
    const full = await shadow.makeAgain(call, { isFull: true, clockAgeMs });
    expect(whole.isChanged).toBe(kind !== 'reads');
    if (full.isRefused) expect(full.isChanged).toBe(false);
    else expect(full.after).toBe(whole.after);
    if (kind !== 'grows') expect(full.isRefused).toBe(false);
    if (kind === 'frees') expect(full.grownBytes).toBeLessThan(0);
  });
});
