import type { Redis } from 'ioredis';
import type { AuditRecord } from '../../core/audit.ts';
import { isOutstanding } from '../../core/delivery/state.ts';
import { parseWatchId, watchId, type Watch, type WatchKey } from '../../core/watch/watch.ts';
import type { WatchIdentity } from '../watch-change.ts';
import { PlanKeys, type Keys } from '../keys.ts';
import { STORE_NOW } from '../lua/clock.ts';
import { AUDIT, auditArgument } from '../lua/audit.ts';
import { EVEN_IF_FULL } from '../lua/full.ts';
import { COUNT, IS_PACKED, IS_UNCHANGED, NUMBERS } from '../lua/numbers.ts';
import { storeNow } from '../store-clock.ts';
import { isPacked, packHistory, type History } from '../history-codec.ts';
import { eventIndexes, watchIndexes } from '../indexes.ts';
import { PUT_OFF, TAKE_DUE } from '../lua/times.ts';
import { RUN_IDS, runIdPlan } from '../run-ids.ts';
import { script } from '../script.ts';
import {
  liveKeys,
  packedDeliveries,
  packPlan,
  openPacked,
  readHistory,
  readLiveHistory,
  settledAtOf,
  unpackPlan,
  type PackedWatch,
} from './history-plan.ts';
import {
  IDENTITY_LENGTH,
  readIdentity,
  readWatch,
  writeIdentity,
  writeRest,
} from './watch-record.ts';

/**
 * Events and deliveries of a watch that is packed: one with more is kept live. Bounds how long Redis is
 * busy with packing, and how much is read for one event.
 */
const MOST_PACKED = 500;

/** For how long a watch is due no more that could not be packed, unless a delivery settles, ms. */
const AGAIN_MS = 600_000;

/** For how long a process has a watch that it packs, ms. */
const LEASE_MS = 5_000;

/** How a watch is forgotten. */
export interface Forgetting {
  /** What the audit log has of it; absent where no user asked for it. */
  audit?: AuditRecord | null;
  /** It is erased as if it had never joined its batches. */
  isPurged?: boolean;
}

/** How much is packed. */
export interface PackedSize {
  watches: number;
  /** Of their records. */
  bytes: number;
}

/**
 * `kept`: it may not be packed yet. `changed`: it has, since it was read. `long`: it has too many events
 * and deliveries. `unknown`: there is no such watch.
 */
type PackResult = 'packed' | 'kept' | 'changed' | 'long' | 'unknown';

/**
 * A watch that has ended is packed once its deliveries have settled: record, events, deliveries and
 * attempts become one packed record, under the key of the watch. `history-codec.ts` packs and unpacks it.
 * Indexes, logs and delivery counters are the same in both states, so packing changes none of them.
 *
 * A record begins with version and number of the watch, 25 bytes; a packed one goes on with its form, a
 * control character.
 *
 * `writePacked(key, version, packed, totals)` writes its
 * record and counts it; `dropPacked(key, totals)` uncounts it.
 */
const PACKED = `
${IS_PACKED}
${IS_UNCHANGED}

local function dropPacked(key, totals)
  redis.call('HINCRBY', totals, 'watches', -1)
  redis.call('HINCRBY', totals, 'bytes', -redis.call('STRLEN', key))
end

local function writePacked(key, identity, packed, totals)
  local version = tonumber(string.sub(identity, 1, 12)) + 1
  local record = string.format('%012.0f', version) .. string.sub(identity, 13) .. packed
  redis.call('HINCRBY', totals, 'watches', 1)
  redis.call('HINCRBY', totals, 'bytes', #record)
  redis.call('SET', key, record)
end
`;

/** `dropDeliveries(plan)` takes deliveries of a packed watch out of log, indexes and counters. */
const DROP_DELIVERIES = `
${COUNT}
local function dropDeliveries(plan)
  for _, delivery in ipairs(plan.deliveries) do
    leaveNumber(plan.deliveryLog, delivery.indexes, delivery.number)
    count(keys.deliveryCounts, 'planned', -1)
    count(keys.deliveryCounts, delivery.count, -1)
  end
end
`;

const PACK_KEYS = [
  'watch',
  'liveEvents',
  'liveDeliveries',
  'packed',
  'deliveriesSettled',
  'packDue',
] as const;

/** Packs a watch, if neither it nor a delivery of it has changed since they were read. Says whether it is packed now. */
const PACK = script(
  'rwPack',
  {
    keys: PACK_KEYS,
    args: ['identity', 'record', 'plan'],
    reply: (packed: number) => packed === 1,
  },
  `
${EVEN_IF_FULL}
${PACKED}
local plan = cjson.decode(args.plan)
if not isUnchanged(keys.watch, args.identity) or isPacked(keys.watch) then return 0 end
if redis.call('ZCARD', keys.liveEvents) ~= #plan.events then return 0 end
if redis.call('ZCARD', keys.liveDeliveries) ~= #plan.deliveries then return 0 end
for _, delivery in ipairs(plan.deliveries) do
  local version, number = unpack(redis.call('HMGET', delivery.key, 'version', 'number'))
  if version ~= delivery.version or number ~= delivery.number then return 0 end
end
evenIfFull(keys.watch)
if plan.settledAt then redis.call('ZADD', keys.deliveriesSettled, plan.settledAt, plan.number) end
-- What goes into the record is deleted once the record is there: a step may fail in between.
writePacked(keys.watch, args.identity, args.record, keys.packed)
for _, key in ipairs(plan.events) do redis.call('DEL', key) end
for _, delivery in ipairs(plan.deliveries) do
  redis.call('DEL', delivery.key, delivery.attempts)
  redis.call('ZREM', keys.deliveriesSettled, delivery.id)
end
redis.call('DEL', keys.liveEvents, keys.liveDeliveries)
redis.call('ZREM', keys.packDue, plan.member)
return 1
`,
);

/**
 * Unpacks a watch, unless it has changed since it was read: it has the same version, events and
 * deliveries as before, and is due for packing again.
 */
const UNPACK = script(
  'rwUnpack',
  {
    keys: [...PACK_KEYS, 'clock'],
    args: ['identity', 'rest', 'plan'],
  },
  `
${STORE_NOW}
${PACKED}
local plan = cjson.decode(args.plan)
if not isUnchanged(keys.watch, args.identity) or not isPacked(keys.watch) then return 0 end
for _, event in ipairs(plan.events) do
  redis.call('HSET', event.key, 'place', event.place, 'body', event.body)
  redis.call('ZADD', keys.liveEvents, event.place, event.id)
end
redis.call('ZREM', keys.deliveriesSettled, plan.number)
for _, delivery in ipairs(plan.deliveries) do
  redis.call('HSET', delivery.key, 'version', delivery.version, 'number', delivery.number,
    'doc', delivery.doc, 'event', delivery.event)
  redis.call('DEL', delivery.attempts)
  for _, attempt in ipairs(delivery.attemptTexts) do
    redis.call('RPUSH', delivery.attempts, attempt)
  end
  redis.call('ZADD', keys.liveDeliveries, delivery.number, delivery.id)
  redis.call('ZADD', keys.deliveriesSettled, delivery.settledAt, delivery.id)
end
redis.call('ZADD', keys.packDue, storeNow(keys.clock), plan.member)
-- The record last: until then all of it is in the packed one.
dropPacked(keys.watch, keys.packed)
redis.call('SET', keys.watch, args.identity .. args.rest)
return 1
`,
);

/**
 * Writes a packed watch anew, unless it has changed since it was read, perhaps without some of its
 * deliveries. Says whether it was written.
 */
const REPACK = script(
  'rwRepack',
  {
    keys: ['watch', 'packed', 'deliveriesSettled', 'deliveryCounts'],
    args: ['identity', 'record', 'plan', 'audited?'],
    reply: (written: number) => written === 1,
  },
  `
${EVEN_IF_FULL}
${NUMBERS}
${PACKED}
${DROP_DELIVERIES}
${AUDIT}
local plan = cjson.decode(args.plan)
if not isUnchanged(keys.watch, args.identity) or not isPacked(keys.watch) then return 0 end
evenIfFull(keys.packed)
redis.call('ZREM', keys.deliveriesSettled, plan.number)
if plan.settledAt then redis.call('ZADD', keys.deliveriesSettled, plan.settledAt, plan.number) end
dropDeliveries(plan)
dropPacked(keys.watch, keys.packed)
if args.audited then audit(cjson.decode(args.audited)) end
writePacked(keys.watch, args.identity, args.record, keys.packed)
return 1
`,
);

/** Forgets a packed watch with all that belongs to it, unless it has changed since it was read. Says whether it is gone. */
const FORGET_PACKED = script(
  'rwForgetPacked',
  {
    keys: [
      'watch',
      'packed',
      'deliveriesSettled',
      'deliveryCounts',
      'watchSources',
      'watchesEnded',
      'watchesChanged',
      'goneChecks',
    ],
    args: ['identity', 'plan', 'audited?'],
    reply: (forgotten: number) => forgotten === 1,
  },
  `
${EVEN_IF_FULL}
${NUMBERS}
${RUN_IDS}
${PACKED}
${DROP_DELIVERIES}
${AUDIT}
local plan = cjson.decode(args.plan)
if not isUnchanged(keys.watch, args.identity) or not isPacked(keys.watch) then return 0 end
evenIfFull(keys.packed)
redis.call('ZREM', keys.deliveriesSettled, plan.number)
dropDeliveries(plan)
for _, event in ipairs(plan.events) do leaveNumber(plan.eventLog, event.indexes, event.place) end
leaveRun(plan.runIds)
leaveNumber(plan.names, plan.indexes, plan.number)
for _, batch in ipairs(plan.batches) do
  if tonumber(redis.call('HGET', batch, 'joined') or 0) > 0 then
    redis.call('HINCRBY', batch, 'joined', -1)
    redis.call('HINCRBY', batch, 'version', 1)
  end
end
redis.call('ZREM', keys.watchesEnded, plan.number)
redis.call('ZREM', keys.watchesChanged, plan.number)
redis.call('ZREM', keys.goneChecks, plan.member)
count(keys.watchSources, plan.source, -1)
dropPacked(keys.watch, keys.packed)
if args.audited then audit(cjson.decode(args.audited)) end
redis.call('DEL', keys.watch)
return 1
`,
);

/** Drops a watch from those that are due for packing, unless it has been registered again. */
const DROP_PACK_DUE = script(
  'rwDropPackDue',
  { keys: ['watch', 'packDue'], args: ['id'] },
  `
if redis.call('EXISTS', keys.watch) == 0 then redis.call('ZREM', keys.packDue, args.id) end
`,
);

/**
 * Packs watches that have ended, once their deliveries have settled, and unpacks them. Each is one step or none. Errors of the connection pass through.
 */
export class HistoryStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** Takes watches that have been due for packing since a time, for this process alone. */
  async takeDue(since: number, most: number): Promise<WatchKey[]> {
    const ids = await TAKE_DUE.run(
      this.redis,
      { times: this.keys.packDue },
      { now: since, leaseMs: LEASE_MS, most },
    );
    return ids.map(parseWatchId);
  }

  /**
   * Packs a watch, if it has ended and nothing is outstanding.
   * @param isForced also the watch of a gone run that is still checked
   */
  async pack(
    key: WatchKey,
    { isForced = false }: { isForced?: boolean } = {},
  ): Promise<PackResult> {
    const result = await this.tryPack(key, isForced);
    if (result === 'unknown') {
      const keys = { watch: this.keys.watch(key), packDue: this.keys.packDue };
      await DROP_PACK_DUE.run(this.redis, keys, { id: watchId(key) });
    }
    if (result !== 'kept' && result !== 'long') return result;
    await this.putOff(key, AGAIN_MS);
    // The last delivery may have settled in between: that made the watch due, and is undone.
    const now = await this.tryPack(key, isForced);
    if (now === 'changed') await this.putOff(key, 0);
    return now;
  }

  private async putOff(key: WatchKey, ms: number): Promise<void> {
    const now = await storeNow(this.redis, this.keys);
    const member = watchId(key);
    await PUT_OFF.run(this.redis, { times: this.keys.packDue }, { member, at: now + ms });
  }

  private async tryPack(key: WatchKey, isForced: boolean): Promise<PackResult> {
    const { keys } = this;
    const [record, events, deliveries] = await readHistory(this.redis, keys, key, MOST_PACKED);
    if (record === undefined) return 'unknown';
    if (isPacked(record)) return 'packed';
    const { watch } = readWatch(key, record.toString());
    if (watch.state === 'active') return 'kept';
    if (events === undefined || deliveries === undefined) return 'long';
    const history = readLiveHistory(record, events, deliveries);
    if (history.deliveries.some(({ delivery }) => isOutstanding(delivery.state))) return 'kept';
    if (!isForced && (await this.isChecked(watch))) return 'kept';
    const planKeys = new PlanKeys(keys);
    const plan = JSON.stringify(packPlan(planKeys, watch, history));
    const isPackedNow = await PACK.run(
      this.redis,
      this.packKeys(key),
      { identity: history.identity, record: packHistory(history), plan },
      { further: planKeys.declared },
    );
    return isPackedNow ? 'packed' : 'changed';
  }

  /** A run that is gone is still looked for. */
  private async isChecked(watch: Watch): Promise<boolean> {
    if (watch.state !== 'gone') return false;
    return (await this.redis.zscore(this.keys.goneChecks, watchId(watch))) !== null;
  }

  /** The number of a watch in either state; null where there is none. */
  async numberOf(key: WatchKey): Promise<string | null> {
    const identity = await this.redis.getrange(this.keys.watch(key), 0, IDENTITY_LENGTH - 1);
    return identity === '' ? null : String(readIdentity(identity).number);
  }

  /** The watch as it is packed; null where it is live, or there is none. */
  async packed(key: WatchKey): Promise<PackedWatch | null> {
    const record = await this.redis.getBuffer(this.keys.watch(key));
    return record === null || !isPacked(record) ? null : openPacked(key, record);
  }

  /** Makes a packed watch live again, with the same version. One that is live is left as it is. */
  async unpack(key: WatchKey): Promise<void> {
    const found = await this.packed(key);
    if (found === null) return;
    const { history } = found;
    const planKeys = new PlanKeys(this.keys);
    const plan = JSON.stringify(unpackPlan(planKeys, found));
    await UNPACK.run(
      this.redis,
      { ...this.packKeys(key), clock: this.keys.clock },
      { identity: history.identity, rest: history.rest, plan },
      { further: planKeys.declared },
    );
  }

  /**
   * Writes a change of the watch alone into its packed record.
   * @param audit what the audit log has of it; null where no user asked for it
   * @returns false where it has changed
   */
  async rewrite(
    before: WatchIdentity,
    after: Watch,
    audit: AuditRecord | null = null,
  ): Promise<boolean> {
    const found = await this.packed(after);
    if (found === null || found.history.identity !== writeIdentity(before)) return false;
    const { history } = found;
    const rest = writeRest(after, history.identity + history.rest);
    return this.repack(found, { ...history, rest }, [], audit);
  }

  /** Forgets deliveries of a packed watch, by their numbers. @returns how many */
  async dropDeliveries(found: PackedWatch, numbers: ReadonlySet<number>): Promise<number> {
    const { history } = found;
    const dropped = history.deliveries.filter(({ number }) => numbers.has(number));
    const deliveries = history.deliveries.filter(({ number }) => !numbers.has(number));
    const isWritten = await this.repack(found, { ...history, deliveries }, dropped);
    return isWritten ? dropped.length : 0;
  }

  private repack(
    { watch, number, history: { identity } }: PackedWatch,
    after: History,
    dropped: History['deliveries'],
    audit: AuditRecord | null = null,
  ): Promise<boolean> {
    const { keys } = this;
    const planKeys = new PlanKeys(keys);
    const plan = JSON.stringify({
      number,
      ...settledAtOf(after),
      ...packedDeliveries(planKeys, dropped),
    });
    const { audited, further } = auditArgument(keys, audit);
    const { packed, deliveriesSettled, deliveryCounts } = keys;
    return REPACK.run(
      this.redis,
      { watch: keys.watch(watch), packed, deliveriesSettled, deliveryCounts },
      { identity, record: packHistory(after), plan, audited },
      { further: [...planKeys.declared, ...further] },
    );
  }

  /**
   * Forgets a packed watch with its events and deliveries.
   * @returns false where it has changed
   */
  forget(
    { watch, number, history }: PackedWatch,
    { audit = null, isPurged = false }: Forgetting = {},
  ): Promise<boolean> {
    const { keys } = this;
    const planKeys = new PlanKeys(keys);
    const { declare, declareAll } = planKeys;
    const left = isPurged ? watch.batches : [];
    const plan = JSON.stringify({
      number,
      member: watchId(watch),
      source: watch.source,
      names: keys.watchNames,
      ...runIdPlan(planKeys, watch),
      indexes: declareAll(watchIndexes(keys, watch)),
      batches: left.map((id) => declare(keys.batch(id))),
      eventLog: keys.eventLog,
      events: history.events.map(({ place, body }) => ({
        place,
        indexes: declareAll(eventIndexes(keys, JSON.parse(body))),
      })),
      ...packedDeliveries(planKeys, history.deliveries),
    });
    const { audited, further } = auditArgument(keys, audit);
    const { packed, deliveriesSettled, deliveryCounts, watchSources } = keys;
    const { watchesEnded, watchesChanged, goneChecks } = keys;
    return FORGET_PACKED.run(
      this.redis,
      {
        watch: keys.watch(watch),
        packed,
        deliveriesSettled,
        deliveryCounts,
        watchSources,
        watchesEnded,
        watchesChanged,
        goneChecks,
      },
      { identity: history.identity, plan, audited },
      { further: [...planKeys.declared, ...further] },
    );
  }

  async size(): Promise<PackedSize> {
    const [watches, bytes] = await this.redis.hmget(this.keys.packed, 'watches', 'bytes');
    return { watches: Number(watches ?? 0), bytes: Number(bytes ?? 0) };
  }

  private packKeys(key: WatchKey) {
    const { packed, deliveriesSettled, packDue } = this.keys;
    return { ...liveKeys(this.keys, key), packed, deliveriesSettled, packDue };
  }
}
