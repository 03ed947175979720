import type { Redis } from 'ioredis';
import { groupBy } from '../../core/arrays.ts';
import type { Delivery } from '../../core/delivery/delivery.ts';
import { isOutstanding } from '../../core/delivery/state.ts';
import { isOfRun, type AnyEvent, type RunwatchEvent } from '../../core/event/event.ts';
import { watchId, type Watch, type WatchKey } from '../../core/watch/watch.ts';
import { replies } from '../connection.ts';
import { isPacked, type History } from '../history-codec.ts';
import { CHUNK, chunkOf } from '../index-columns.ts';
import {
  deliveryIndexes,
  eventIndexes,
  ownEventIndexes,
  severalSources,
  watchIndexes,
} from '../indexes.ts';
import { PlanKeys, type Keys } from '../keys.ts';
import { IS_PACKED, NUMBERS } from '../lua/numbers.ts';
import { RUN_IDS, runIdPlan } from '../run-ids.ts';
import { script } from '../script.ts';
import { liveDeliveriesOf } from './event-plan.ts';
import { eventIdOf, openPacked, settledAtOf } from './history-plan.ts';
import { IDENTITY_LENGTH, readIdentity, readWatch, writeIdentity } from './watch-record.ts';

/** What must be as it was read: text within a string, or a field of a hash. */
type AsRead =
  | { key: string; from: number; text: string; isLive?: true }
  | { key: string; field: string; text: string };

/**
 * Puts back what logs, indexes and sorted sets lack of a record, unless that has changed since it was
 * read. Of a live watch, events without a record leave, and are counted as lost.
 * Returns how many entries were missing, or -1 where a record has changed; and how many events are lost.
 */
const PUT_BACK = script(
  'rwPutBack',
  {
    keys: ['damage'],
    args: ['plan'],
    reply: ([missing, lost]: [number, number]) => ({ missing, lost }),
  },
  `
${NUMBERS}
${IS_PACKED}
${RUN_IDS}
local plan, missing, lost = cjson.decode(args.plan), 0, 0

local function isAsRead(one)
  if one.field then return redis.call('HGET', one.key, one.field) == one.text end
  if one.isLive and isPacked(one.key) then return false end
  return redis.call('GETRANGE', one.key, one.from, one.from + #one.text - 1) == one.text
end

local function putInLog(log, number, value)
  local chunk = math.floor(number / 128)
  if readLog(log, number) ~= value then
    enterLog(log, number, value)
    missing = missing + 1
  end
  -- The chunk may have lost its entry alone.
  missing = missing + redis.call('ZADD', log .. 'chunks', 'NX', chunk, chunk)
end

for _, one in ipairs(plan.read) do
  if not isAsRead(one) then return {-1, 0} end
end
for _, one in ipairs(plan.logs) do putInLog(one.log, one.number, one.value) end
for _, one in ipairs(plan.indexes) do
  if not isInIndex(one.index, one.number) then
    enterIndex(one.index, one.number)
    missing = missing + 1
  end
end
for _, one in ipairs(plan.sorted) do
  missing = missing + redis.call('ZADD', one.key, 'NX', one.score, one.member)
end
for _, member in ipairs(plan.runIds and plan.runIds.members or {}) do
  if not hasRunId(plan.runIds, member) then
    enterRunId(plan.runIds, member)
    missing = missing + 1
  end
end
for _, id in ipairs(plan.live and redis.call('ZRANGE', plan.live.key, 0, -1) or {}) do
  if redis.call('EXISTS', plan.live.events .. id) == 0 then
    leaveLog(plan.live.log, tonumber(redis.call('ZSCORE', plan.live.key, id)))
    redis.call('ZREM', plan.live.key, id)
    redis.call('HINCRBY', keys.damage, 'events', 1)
    lost = lost + 1
  end
end
return {missing, lost}
`,
);

/** Puts back what is missing of a record. */
export function putBackRecord(redis: Redis, { damage }: Keys, plan: RepairPlan) {
  const { read, indexes, sorted, runIds, live } = plan;
  const further = [
    ...read.map(({ key }) => key),
    ...indexes.map(({ index }) => index),
    ...sorted.map(({ key }) => key),
    ...(runIds === undefined ? [] : [runIds.blocks]),
    ...(live === undefined ? [] : [live.key]),
  ];
  return PUT_BACK.run(redis, { damage }, { plan: JSON.stringify(plan) }, { further });
}

/** What {@link putBackRecord} needs: where a record belongs. */
export interface RepairPlan {
  read: AsRead[];
  logs: { log: string; number: number; value: string }[];
  indexes: { index: string; number: number }[];
  sorted: { key: string; score: number; member: string }[];
  /** Of a watch. */
  runIds?: RunIdPlan['runIds'];
  /** The events of a live watch. */
  live?: { key: string; events: string; log: string };
}

type RunIdPlan = ReturnType<typeof runIdPlan>;

/** An entry of a key that a record belongs in. */
export interface PlacedEntry {
  key: string;
  /** A member of a sorted set, or a field of a hash. */
  name: string;
  isSorted: boolean;
  /** Whether what is there stands for the record. */
  holds: (value: Buffer | string) => boolean;
}

function memberOf(key: string, name: string): PlacedEntry {
  return { key, name, isSorted: true, holds: () => true };
}

/** The entries that logs, indexes and sorted sets have of a record. */
export function entriesOf({ logs, indexes, sorted }: RepairPlan): PlacedEntry[] {
  return [
    ...logs.flatMap(({ log, number, value }) => [
      {
        key: `${log}${chunkOf(number)}`,
        name: String(number % CHUNK),
        isSorted: false,
        holds: (found: Buffer | string) => String(found) === value,
      },
      memberOf(`${log}chunks`, String(chunkOf(number))),
    ]),
    ...indexes.map(({ index, number }) => ({
      key: index,
      name: String(chunkOf(number)),
      isSorted: false,
      holds: (found: Buffer | string) => found.includes(String.fromCharCode(number % CHUNK)),
    })),
    ...sorted.map(({ key, member }) => memberOf(key, member)),
  ];
}

/** The entries that are not there. Errors of the connection pass through. */
export async function missingEntries(
  redis: Redis,
  entries: readonly PlacedEntry[],
): Promise<PlacedEntry[]> {
  const pipeline = redis.pipeline();
  const byKey = [...groupBy(entries, ({ key }) => key)];
  for (const [key, own] of byKey) {
    const names = own.map(({ name }) => name);
    if (own[0]?.isSorted === true) pipeline.zmscore(key, ...names);
    else pipeline.hmgetBuffer(key, ...names);
  }
  const found = await replies<(Buffer | string | null)[]>(pipeline);
  return byKey.flatMap(([, own], at) =>
    own.filter(({ holds }, place) => {
      const value = found[at]?.[place] ?? null;
      return value === null || !holds(value);
    }),
  );
}

/** The members of a watch by which it is found that are not there. Errors of the connection pass through. */
export async function missingRunIds(redis: Redis, { runIds }: RepairPlan): Promise<string[]> {
  if (runIds === undefined) return [];
  const missing: string[] = [];
  for (const member of runIds.members) {
    const { blocks, block } = runIds;
    const [first = ''] = await redis.zrevrangebylex(blocks, `[${member}`, '-', 'LIMIT', 0, 1);
    if ((await redis.zscore(block + first, member)) === null) missing.push(member);
  }
  return missing;
}

/** A watch with its plan. */
export interface PlannedWatch {
  watch: Watch;
  plan: RepairPlan;
  /** Those that are packed with it. */
  deliveries: Delivery[];
}

/** Where a watch belongs; of a packed one, also its events and deliveries. */
export function watchPlan(keys: Keys, key: WatchKey, record: Buffer): PlannedWatch {
  if (isPacked(record)) {
    const { watch, history } = openPacked(key, record);
    const deliveries = history.deliveries.map(({ delivery }) => delivery);
    return { watch, plan: packedPlan(keys, watch, history), deliveries };
  }
  const { watch, ...identity } = readWatch(key, record.toString());
  const id = watchId(watch);
  const plan = aloneIn(keys, watch, writeIdentity(identity));
  if (watch.endedAt !== null) {
    plan.sorted.push({ key: keys.packDue, score: watch.endedAt, member: id });
  }
  const live = { key: keys.liveEvents(id), events: keys.event(''), log: keys.eventLog };
  return { watch, plan: { ...plan, live }, deliveries: [] };
}

/** Where a watch belongs by itself. */
function aloneIn(keys: Keys, watch: Watch, identity: string): RepairPlan & RunIdPlan {
  const { number } = readIdentity(identity);
  const member = String(number);
  const { changedAt, endedAt } = watch;
  return {
    read: [{ key: keys.watch(watch), from: 0, text: identity }],
    logs: [{ log: keys.watchNames, number, value: watchId(watch) }],
    indexes: watchIndexes(keys, watch).map((index) => ({ index, number })),
    sorted: [
      { key: keys.watchesChanged, score: changedAt, member },
      ...(endedAt === null ? [] : [{ key: keys.watchesEnded, score: endedAt, member }]),
    ],
    ...runIdPlan(new PlanKeys(keys), watch),
  };
}

function packedPlan(keys: Keys, watch: Watch, history: History): RepairPlan {
  const { read, logs, indexes, sorted, runIds } = aloneIn(keys, watch, history.identity);
  const member = String(readIdentity(history.identity).number);
  const { settledAt } = settledAtOf(history);
  for (const { place, body } of history.events) {
    logs.push({ log: keys.eventLog, number: place, value: member });
    const of = eventIndexes(keys, JSON.parse(body) as RunwatchEvent);
    indexes.push(...of.map((index) => ({ index, number: place })));
  }
  for (const { number, delivery } of history.deliveries) {
    logs.push({ log: keys.deliveryLog, number, value: member });
    indexes.push(...deliveryIndexes(keys, delivery).map((index) => ({ index, number })));
  }
  if (settledAt !== undefined) {
    sorted.push({ key: keys.deliveriesSettled, score: settledAt, member });
  }
  return { read, logs, indexes, sorted, runIds };
}

/** The number of a live watch as it stands in the beginning of a record; null where it is not live. */
export function liveNumber(beginning: Buffer): string | null {
  if (beginning.length <= IDENTITY_LENGTH || isPacked(beginning)) return null;
  return String(readIdentity(beginning.toString('latin1')).number);
}

/** A record that belongs to a live watch, or to none. */
interface OwnedRecord {
  /** Its number. */
  number: number;
  /** The number of its watch; null where it is about no run. */
  owner: string | null;
}

/** Where a live event belongs. */
export function eventPlan(
  keys: Keys,
  body: string,
  { number, owner, watch }: OwnedRecord & { watch: WatchKey | null },
): RepairPlan {
  const event = JSON.parse(body) as AnyEvent;
  const id = eventIdOf(body);
  const of = isOfRun(event) ? eventIndexes(keys, event) : ownEventIndexes(keys, event);
  const sources = isOfRun(event) ? null : severalSources(event);
  return {
    read: [
      { key: keys.event(id), field: 'place', text: String(number) },
      ...owned(keys, watch, owner),
    ],
    logs: [{ log: keys.eventLog, number, value: owner ?? id }],
    indexes: of.map((index) => ({ index, number })),
    sorted: [
      watch === null
        ? { key: keys.ownEvents, score: Date.parse(event.timestamp), member: id }
        : { key: keys.liveEvents(watchId(watch)), score: number, member: id },
      ...(sources === null
        ? []
        : [{ key: keys.batchSources, score: Date.parse(event.timestamp), member: sources }]),
    ],
  };
}

/** Where a live delivery belongs, but for its order and its due time, which another comparison puts right. */
export function deliveryRepair(
  keys: Keys,
  delivery: Delivery,
  { version, number, owner }: OwnedRecord & { version: string },
): RepairPlan {
  const { id, state, deliveredAt, last, createdAt } = delivery;
  const settledAt = deliveredAt ?? last?.at ?? createdAt;
  return {
    read: [
      { key: keys.delivery(id), field: 'version', text: version },
      ...owned(keys, owner === null ? null : delivery, owner),
    ],
    logs: [{ log: keys.deliveryLog, number, value: owner ?? id }],
    indexes: deliveryIndexes(keys, delivery).map((index) => ({ index, number })),
    sorted: [
      { key: liveDeliveriesOf(keys, delivery), score: number, member: id },
      ...(isOutstanding(state)
        ? []
        : [{ key: keys.deliveriesSettled, score: settledAt, member: id }]),
    ],
  };
}

/** Its watch is live and has the same number. */
function owned(keys: Keys, watch: WatchKey | null, owner: string | null): AsRead[] {
  if (watch === null || owner === null) return [];
  const from = IDENTITY_LENGTH - NUMBER_WIDTH;
  const text = owner.padStart(NUMBER_WIDTH, '0');
  return [{ key: keys.watch(watch), from, text, isLive: true }];
}

/** Digits of the number in the identity of a watch. */
const NUMBER_WIDTH = 12;
