import { randomUUID } from 'node:crypto';
import { planDeliveries, type Attempt, type Delivery } from '../../src/core/delivery/delivery.ts';
import type { RunwatchEvent } from '../../src/core/event/event.ts';
import { deliveryId } from '../../src/core/event/ids.ts';
import type { Subscription, Watch } from '../../src/core/watch/watch.ts';
import { NO_POLLS, recordPoll, type PollHistory } from '../../src/core/watch/poll-history.ts';
import { packHistory, type History } from '../../src/redis/history-codec.ts';
import { deliveryIndexes, eventIndexes, watchIndexes } from '../../src/redis/indexes.ts';
import { countField, PlanKeys, type Keys } from '../../src/redis/keys.ts';
import { NUMBERS } from '../../src/redis/lua/numbers.ts';
import { RUN_IDS, runIdPlan } from '../../src/redis/run-ids.ts';
import { observeContext, newWatch, snapshot } from '../../test/support/builders.ts';
import { observe } from '../../src/core/watch/observe.ts';
import type { openStores } from '../../test/support/stores.ts';

const OPS: Subscription = { kind: 'endpoint', endpoint: 'ops' };
export const WORKFLOWS = Array.from({ length: 50 }, () => randomUUID());
const CUSTOMERS = 1_000;
const LIMITS = { most: 4, rate: null, deadlineMs: 15_000 };

/** Statuses of a run in turn, and which of its events are delivered. */
export interface RunShape {
  statuses: { status: string; progress: number }[];
  delivered: readonly string[];
  /** Polls of the run, most of which change nothing. */
  polls: number;
  /** What becomes of these deliveries; `none` leaves them pending. */
  end?: 'dead' | 'none';
}

/** Five events, two deliveries. */
export const FULL: RunShape = {
  statuses: [
    { status: 'queued', progress: 0 },
    { status: 'running', progress: 0 },
    { status: 'running', progress: 40 },
    { status: 'awaiting_human_feedback', progress: 40 },
    { status: 'completed', progress: 40 },
  ],
  delivered: ['run.awaiting_human_feedback', 'run.completed'],
  polls: 60,
};

/** One event, one delivery. */
export const SHORT: RunShape = {
  statuses: [{ status: 'completed', progress: 100 }],
  delivered: ['run.completed'],
  polls: 8,
};

/** A run that goes on, with its start as event and as many polls as a watch keeps. */
export const ACTIVE: RunShape = {
  statuses: [
    { status: 'queued', progress: 0 },
    { status: 'running', progress: 0 },
  ],
  delivered: [],
  polls: 60,
};

/** Another end than the usual one, with an event that could not be delivered. */
export const FAILED: RunShape = {
  statuses: [
    { status: 'running', progress: 0 },
    { status: 'failed', progress: 40 },
  ],
  delivered: ['run.failed'],
  polls: 8,
  end: 'dead',
};

type Stores = ReturnType<typeof openStores>;

/** A run of its own workflow, with two metadata keys. */
function newRun(at: number): Watch {
  const registeredAt = Date.now();
  return newWatch({
    runId: randomUUID(),
    subscriptions: [OPS],
    metadata: { team: `team-${at % 5}`, customer: `customer-${(at * 7) % CUSTOMERS}` },
    registeredAt,
    changedAt: registeredAt,
    timeoutAt: registeredAt + 7 * 86_400_000,
  });
}

/** Writes a run and its deliveries as the daemon does. */
export async function writeRun(stores: Stores, shape: RunShape, at: number): Promise<Watch> {
  const { watches, deliveries, outbox } = stores;
  const key = newRun(at);
  await watches.commit({ before: null, after: key, events: [], deliveries: [] });
  const version = randomUUID();
  const planned: Delivery[] = [];
  for (const [step, { status, progress }] of shape.statuses.entries()) {
    const now = Date.now() + step;
    const before = await watches.get(key);
    if (before === null) throw new Error('the watch was not written');
    const run = snapshotOf(key, { status, progress, at, now, version });
    const seen = observe(before.watch, { kind: 'run', run }, observeContext(now));
    const some = planDeliveries(seen.watch, seen.events, [OPS], {
      wants: (_endpoint, type) => shape.delivered.includes(type),
      now,
    });
    planned.push(...some);
    const pollHistory =
      step === 0 ? historyOf(shape.polls - shape.statuses.length, now) : undefined;
    const after = { ...seen.watch, ...(pollHistory && { pollHistory }) };
    await watches.commit({ before, after, events: seen.events, deliveries: some });
  }
  if (shape.end === 'none') return key;
  for (const { id } of planned) {
    const before = await deliveries.get(id);
    if (before === null) throw new Error('the delivery was not written');
    const now = Date.now();
    const isDead = shape.end === 'dead';
    const attempt: Attempt = {
      at: now,
      status: isDead ? 500 : 204,
      error: isDead ? { code: 'http_status', message: 'status 500' } : null,
      durationMs: 7,
      response: '',
      phases: [null, 6, 1],
    };
    const after: Delivery = {
      ...before.delivery,
      state: shape.end ?? 'delivered',
      attemptCount: 1,
      step: 1,
      nextAttemptAt: null,
      deliveredAt: isDead ? null : now,
      last: attempt,
    };
    await outbox.recordAttempt({ before, after, attempt, limits: LIMITS, now });
  }
  return key;
}

/** Polls as a cadence makes them, with the odd delay of a request and of its start. */
function historyOf(polls: number, now: number): PollHistory {
  let [history, at] = [NO_POLLS, now];
  for (let poll = 0; poll < polls; poll += 1) {
    at += 2_000 + Math.round(Math.random() * 20_000);
    const durationMs = 20 + Math.round(Math.random() * 60);
    const lagMs = Math.round(Math.random() * 20);
    history = recordPoll(history, { at, mode: 'single', outcome: 'run', durationMs, lagMs }, now);
  }
  return history;
}

interface SnapshotOptions {
  status: string;
  progress: number;
  at: number;
  now: number;
  /** The version of the workflow: a run has one. */
  version: string;
}

function snapshotOf(
  { runId: id, registeredAt }: Watch,
  { status, progress, at, now, version }: SnapshotOptions,
) {
  const iso = (ms: number) => new Date(ms).toISOString();
  return snapshot({
    id,
    workflow_id: WORKFLOWS[at % WORKFLOWS.length] ?? '',
    group_id: WORKFLOWS[0] ?? '',
    workflow_version_id: version,
    status,
    progress,
    created_at: iso(registeredAt - 60_000),
    started_at: iso(registeredAt - 50_000),
    finished_at: status === 'completed' ? iso(now) : null,
    source: 'api',
    observed_at: iso(now),
  });
}

/**
 * Writes packed runs as packing leaves them, many at a time.
 *
 * ARGV  keys as JSON, then for each run plan as JSON and packed record
 */
const FILL = `
${NUMBERS}
${RUN_IDS}
local keys = cjson.decode(ARGV[1])
for at = 2, #ARGV, 2 do
  local plan = cjson.decode(ARGV[at])
  local number = plan.number
  local record = string.format('%012.0f %012.0f', 9, number) .. ARGV[at + 1]
  redis.call('SET', plan.watch, record)
  redis.call('HINCRBY', keys.packed, 'watches', 1)
  redis.call('HINCRBY', keys.packed, 'bytes', #record)
  enterLog(keys.names, number, plan.member)
  enterRun(plan.runIds)
  for _, index in ipairs(plan.indexes) do enterIndex(index, number) end
  redis.call('ZADD', keys.ended, plan.at, number)
  redis.call('ZADD', keys.settled, plan.at, number)
  redis.call('ZADD', keys.changed, plan.at, number)
  for _, event in ipairs(plan.events) do
    enterLog(keys.eventLog, event.number, number)
    for _, index in ipairs(event.indexes) do enterIndex(index, event.number) end
  end
  for _, delivery in ipairs(plan.deliveries) do
    enterLog(keys.deliveryLog, delivery.number, number)
    for _, index in ipairs(delivery.indexes) do enterIndex(index, delivery.number) end
    redis.call('HINCRBY', keys.deliveryCounts, 'planned', 1)
    redis.call('HINCRBY', keys.deliveryCounts, delivery.count, 1)
  end
  redis.call('HINCRBY', keys.sources, 'default', 1)
end
`;

/** Runs written by one call of the script. */
const FILL_CHUNK = 200;

export interface Sample {
  watch: Watch;
  history: History;
}

/** Writes a run of a shape and packs it, to make others like it. */
export async function sampleOf(stores: Stores, shape: RunShape): Promise<Sample> {
  const key = await writeRun(stores, shape, 0);
  await stores.history.pack(key);
  const packed = await stores.history.packed(key);
  if (packed === null) throw new Error('the run was not packed');
  return packed;
}

/** Where the next run that is filled in begins. */
interface Filled {
  watches: number;
  events: number;
  deliveries: number;
}

/** Writes so many packed runs like some that were there, in turn. One ended each 8 s until now. */
export async function fillWith(
  stores: Stores,
  samples: readonly Sample[],
  count: number,
): Promise<void> {
  const { redis, keys } = stores;
  const names = JSON.stringify({
    packed: keys.packed,
    names: keys.watchNames,
    ended: keys.watchesEnded,
    settled: keys.deliveriesSettled,
    changed: keys.watchesChanged,
    eventLog: keys.eventLog,
    deliveryLog: keys.deliveryLog,
    deliveryCounts: keys.deliveryCounts,
    sources: keys.watchSources,
  });
  const filled: Filled = { watches: 0, events: 0, deliveries: 0 };
  let last: Promise<unknown> = Promise.resolve();
  while (filled.watches < count) {
    const args: (string | Buffer)[] = [];
    for (const end = Math.min(filled.watches + FILL_CHUNK, count); filled.watches < end;) {
      const sample = samples[filled.watches % samples.length];
      if (sample === undefined) throw new Error('there is no sample');
      const at = Date.now() - (count - filled.watches) * 8_640;
      args.push(...runLike(keys, sample, { filled, at }));
    }
    await last;
    last = redis.eval(FILL, 0, names, ...args);
  }
  await last;
  await redis.mset(
    keys.watchNumber,
    filled.watches,
    keys.eventPlace,
    filled.events,
    keys.deliveryNumber,
    filled.deliveries,
  );
}

function runLike(
  keys: Keys,
  { watch, history }: Sample,
  { filled, at }: { filled: Filled; at: number },
): [string, Buffer] {
  filled.watches += 1;
  const number = filled.watches;
  const runId = randomUUID();
  const metadata = newRun(number).metadata;
  const workflow = WORKFLOWS[number % WORKFLOWS.length] ?? '';
  const later = at - watch.changedAt;
  const renamed = (text: string) =>
    text
      .replaceAll(watch.runId, runId)
      .replaceAll(shortId(watch.runId), shortId(runId))
      .replaceAll(watch.run?.workflow_id ?? '', workflow)
      .replaceAll(JSON.stringify(watch.metadata), JSON.stringify(metadata))
      .replaceAll(String(watch.registeredAt), String(watch.registeredAt + later))
      .replaceAll(TIME, (time) => new Date(Date.parse(time) + later).toISOString());
  const events = history.events.map(({ body }) => {
    filled.events += 1;
    return { place: filled.events, body: renamed(body) };
  });
  const deliveries = history.deliveries.map((kept) => {
    const copy = JSON.parse(renamed(JSON.stringify(kept))) as typeof kept;
    const { eventId, endpoint } = copy.delivery;
    filled.deliveries += 1;
    copy.number = filled.deliveries;
    copy.settledAt = at;
    copy.delivery.id = deliveryId(eventId, endpoint);
    copy.delivery.createdAt += later;
    return copy;
  });
  const packed = packHistory({ rest: renamed(history.rest), events, deliveries });
  const like = {
    ...watch,
    runId,
    metadata,
    changedAt: at,
    run: watch.run && { ...watch.run, workflow_id: workflow },
  };
  const plan = {
    number,
    at,
    watch: keys.watch(like),
    member: `default/${runId}`,
    ...runIdPlan(new PlanKeys(keys), like),
    indexes: watchIndexes(keys, like),
    events: events.map(({ place, body }) => ({
      number: place,
      indexes: eventIndexes(keys, JSON.parse(body) as RunwatchEvent),
    })),
    deliveries: deliveries.map(({ number: place, delivery }) => ({
      number: place,
      indexes: deliveryIndexes(keys, delivery),
      count: countField(delivery),
    })),
  };
  return [JSON.stringify(plan), packed];
}

const TIME = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g;

function shortId(runId: string): string {
  return Buffer.from(runId.replaceAll('-', ''), 'hex').toString('base64url');
}
