import type { Redis } from 'ioredis';
import { chunksOf, mapInChunks } from '../../core/arrays.ts';
import type { Delivery } from '../../core/delivery/delivery.ts';
import { DELIVERY_STATES } from '../../core/delivery/delivery.ts';
import { countedReceiver } from '../../core/delivery/receiver.ts';
import { watchOfEvent } from '../../core/event/ids.ts';
import { workflowName } from '../../core/cadence/phase.ts';
import { activeCount } from '../../core/watch/run-figures.ts';
import { parseWatchId, type Watch, type WatchKey } from '../../core/watch/watch.ts';
import { isOutage } from '../failures.ts';
import { isPacked } from '../history-codec.ts';
import { registeredIndex, runsIndex } from '../indexes.ts';
import { beginningOfWatches, countField, parseCountField, PlanKeys, type Keys } from '../keys.ts';
import { STORE_NOW } from '../lua/clock.ts';
import { EVEN_IF_FULL } from '../lua/full.ts';
import { COUNT, COUNTED, IS_PACKED, NUMBERS } from '../lua/numbers.ts';
import { script } from '../script.ts';
import { BATCHES, lossPlan } from './batch-store.ts';
import type { NumberedWatch } from './watch-store.ts';
import {
  deliveryRepair,
  entriesOf,
  eventPlan,
  liveNumber,
  missingEntries,
  missingRunIds,
  putBackRecord,
  watchPlan,
  type RepairPlan,
} from './repair-plan.ts';

/** Keys that one command of Redis scans. */
const SCANNED = 500;

/** Keys that one command asks for. */
const ASKED_AT_ONCE = 1_000;

/** Chunks of indexes that are counted at a time; an index with more is counted by itself. */
const COUNTED_CHUNKS = 2_048;

/** Times that a record is read which is written meanwhile. */
const TRIES = 3;

/** Records that are read at a time. */
const AT_ONCE = 20;

/** Records of one kind that are compared entry by entry at a time: one script each. */
const COMPARED = 10;

/** Chunks of a log or index that one step of a script reads. */
const CHUNKS = 16;

/** What a comparison of some records came to. */
export interface Repaired {
  /** Entries of logs, indexes and sorted sets that were missing. */
  missing: number;
  /** Events of live watches without a record. */
  lost: number;
  /** Why some records could not be read. */
  failures: unknown[];
}

/** What the counters count, as far as records name it. */
class Counted {
  readonly receivers = new Set<string>();
  readonly sources = new Set<string>();
  readonly tokens = new Set<string>();
  /** Active runs: the indexes of a workflow and a status, by their field. */
  readonly runs = new Map<string, [string, string]>();
  /** Packed watches, and the bytes of their records. */
  readonly packed = { watches: 0, bytes: 0 };
}

/**
 * Takes numbers out of a log, in the chunks of its further arguments, that stand for no record. It keeps those of some
 * indexes, which other comparisons count as lost. Returns how many it took out.
 */
const SWEEP_LOG = script(
  'rwSweepLog',
  { keys: ['chunks'], args: ['plan'], reply: (dropped: number) => dropped },
  `
${EVEN_IF_FULL}
${NUMBERS}
${IS_PACKED}
local plan, dropped = cjson.decode(args.plan), 0
evenIfFull(keys.chunks)

local function stands(number, value)
  if not plan.records then
    return tonumber(redis.call('GETRANGE', plan.watch .. value, 13, 24)) == number
  end
  local watch = tonumber(value)
  if not watch then return redis.call('EXISTS', plan.records .. value) == 1 end
  local name = readLog(plan.names, watch)
  if not name then return false end
  if isPacked(plan.watch .. name) then return true end
  local id = redis.call('ZRANGEBYSCORE', plan.live .. name, number, number)[1]
  return id and redis.call('EXISTS', plan.records .. id) == 1
end

local function isKept(number)
  for _, index in ipairs(plan.kept) do
    if isInIndex(index, number) then return true end
  end
end

for at = rest, #ARGV do
  local flat = redis.call('HGETALL', plan.log .. ARGV[at])
  for place = 1, #flat, 2 do
    local number = ARGV[at] * 128 + flat[place]
    if not isKept(number) and not stands(number, flat[place + 1]) then
      leaveLog(plan.log, number)
      dropped = dropped + 1
    end
  end
end
return dropped
`,
);

/**
 * Takes numbers out of an index, in the chunks of its further arguments, that are not in the log, or are `lost`. Where
 * it is that of a batch, by `lossPlan`, the batch is judged again then. Returns how many it took out.
 */
const SWEEP_INDEX = script(
  'rwSweepIndex',
  { keys: ['index'], args: ['log', 'lost?', 'batch?'], reply: (dropped: number) => dropped },
  `
${EVEN_IF_FULL}
${STORE_NOW}
${BATCHES}
evenIfFull(keys.index)
local dropped, lost = 0, {}
for _, number in ipairs(args.lost and cjson.decode(args.lost) or {}) do lost[number] = true end
for at = rest, #ARGV do
  local held, known, kept = redis.call('HGET', keys.index, ARGV[at]) or '', {}, {}
  for _, place in ipairs(redis.call('HKEYS', args.log .. ARGV[at])) do known[tonumber(place)] = true end
  for byte = 1, #held do
    local place = string.byte(held, byte)
    if known[place] and not lost[ARGV[at] * 128 + place] then kept[#kept + 1] = string.char(place) end
  end
  dropped = dropped + #held - #kept
  if #kept == 0 then
    redis.call('HDEL', keys.index, ARGV[at])
  elseif #kept < #held then
    redis.call('HSET', keys.index, ARGV[at], table.concat(kept))
  end
end
if args.batch and dropped > 0 then moveBatches(cjson.decode(args.batch)) end
return dropped
`,
);

/**
 * Takes members out of a block that stand for no watch; `watches` is how the keys of the source's watches begin. A
 * block that is not among the beginnings, as after these were lost, goes as a whole. Returns how many it took out.
 */
const SWEEP_RUN_IDS = script(
  'rwSweepRunIds',
  {
    keys: ['block', 'blocks'],
    args: ['first', 'watches'],
    reply: (dropped: number) => dropped,
  },
  `
${EVEN_IF_FULL}
evenIfFull(keys.block)
if args.first ~= '' and not redis.call('ZSCORE', keys.blocks, args.first) then
  redis.call('DEL', keys.block)
  return 0
end
local dropped = 0
for _, member in ipairs(redis.call('ZRANGE', keys.block, 0, -1)) do
  local id = string.match(member, ' (.*)$') or member
  if redis.call('EXISTS', args.watches .. id) == 0 then
    dropped = dropped + redis.call('ZREM', keys.block, member)
  end
end
if redis.call('EXISTS', keys.block) == 0 then redis.call('ZREM', keys.blocks, args.first) end
return dropped
`,
);

/**
 * Sets a counter to how many numbers are in an index, and in another, its further key, if there is one. `sum` is the
 * field of the sum that it is part of. Returns 1 where it was another number.
 */
const RECOUNT = script(
  'rwRecount',
  { keys: ['counters', 'index'], args: ['field', 'sum?'], reply: (off: number) => off },
  `
${EVEN_IF_FULL}
${COUNT}
${COUNTED}
evenIfFull(keys.counters)
local off = counted(keys.index, KEYS[further]) - tonumber(redis.call('HGET', keys.counters, args.field) or 0)
if off == 0 then return 0 end
count(keys.counters, args.field, off)
if args.sum then count(keys.counters, args.sum, off) end
return 1
`,
);

/**
 * Whether counters add up to what indexes hold, in turn, until as many chunks have been counted as may be;
 * the first in any case. Its further keys are counters and index of each, its further arguments a field and 'whole',
 * or how fields begin and 'beginning'. Returns [how many were compared, 1 where these add up].
 */
const ADD_UP = script(
  'rwAddUp',
  {
    keys: [],
    args: ['mostChunks'],
    reply: ([compared, addUp]: [number, number]) => ({ compared, addUp: addUp === 1 }),
  },
  `
${COUNTED}
local read = {}
local function sumOf(counters, field, is)
  if is == 'whole' then return tonumber(redis.call('HGET', counters, field) or 0) end
  read[counters] = read[counters] or redis.call('HGETALL', counters)
  local sum, flat = 0, read[counters]
  for at = 1, #flat, 2 do
    if string.sub(flat[at], 1, #field) == field then
      if tonumber(flat[at + 1]) < 0 then return -1 end
      sum = sum + flat[at + 1]
    end
  end
  return sum
end

local left, addUp = tonumber(args.mostChunks), 1
for at = 1, #KEYS / 2 do
  local counters, index = KEYS[2 * at - 1], KEYS[2 * at]
  local chunks = redis.call('HLEN', index)
  left = left - chunks
  if left < 0 and at > 1 then return {at - 1, addUp} end
  local held = chunks == 0 and 0 or counted(index)
  if sumOf(counters, ARGV[2 * at], ARGV[2 * at + 1]) ~= held then addUp = 0 end
end
return {#KEYS / 2, addUp}
`,
);

/**
 * Derives logs, indexes, sorted sets and counters from the records again, after some of them were lost.
 * Each step is bounded, and does no harm where nothing was lost. Errors of the connection pass through.
 */
export class RepairStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /**
   * Puts back what is missing of the records that one step through all keys finds.
   * @param cursor '0' begins
   * @param since events about no run that are older are due to be forgotten
   * @returns the cursor to go on with, '0' at the end
   */
  async step(
    cursor: string,
    since: number,
    counted = new Counted(),
  ): Promise<Repaired & { next: string }> {
    const { next, records } = await this.scanRecords(cursor);
    return { ...(await this.putBackAll(records, since, counted)), next };
  }

  /**
   * Puts back what is missing of some watches, and of the records that one step through all keys finds. Of
   * packed watches, which are most of what is kept, it asks whether all keys are there that they belong in,
   * and compares the entries of one; only where these are not there it goes through them. Of other records it
   * compares some.
   * @param cursor '0' begins
   * @param since as in {@link step}
   * @returns the cursor to go on with, '0' at the end
   */
  async compareSome(
    cursor: string,
    watches: readonly WatchKey[],
    since: number,
  ): Promise<Repaired & { next: string }> {
    const { next, records } = await this.scanRecords(cursor);
    const { plans, failures, others } = await this.plansOfPacked([...watches, ...records.watches]);
    const suspect = (await this.areThere([...plans.values()])) ? [] : [...plans.keys()];
    const found = {
      watches: [...someOf(others), ...suspect],
      events: someOf(records.events),
      deliveries: someOf(records.deliveries),
    };
    const total = await this.putBackAll(found, since);
    return { ...total, failures: [...failures, ...total.failures], next };
  }

  private async scanRecords(cursor: string): Promise<{ next: string; records: Records }> {
    const { keys } = this;
    const [next, found] = await this.scan(cursor, `${keys.queuePrefix}:*`);
    const records = {
      watches: namesAfter(beginningOfWatches(keys), found).map(parseWatchId),
      events: namesAfter(keys.event(''), found),
      deliveries: namesAfter(keys.delivery(''), found),
    };
    return { next, records };
  }

  private async putBackAll(
    { watches, events, deliveries }: Records,
    since: number,
    counted = new Counted(),
  ): Promise<Repaired> {
    const total = await this.putBack(watches, counted);
    await this.noting(total, events, (id) => this.putBackEvent(id, since));
    await this.noting(total, deliveries, (id) => this.putBackDelivery(id, counted));
    return total;
  }

  /** Where those watches belong that are packed; the others; and why some cannot be read. */
  private async plansOfPacked(watches: readonly WatchKey[]) {
    const plans = new Map<WatchKey, RepairPlan>();
    const others: WatchKey[] = [];
    const failures: unknown[] = [];
    const keys = watches.map((watch) => this.keys.watch(watch));
    const texts = keys.length === 0 ? [] : await this.redis.mgetBuffer(keys);
    for (const [at, watch] of watches.entries()) {
      const record = texts[at] ?? null;
      try {
        if (record === null || !isPacked(record)) others.push(watch);
        else plans.set(watch, watchPlan(this.keys, watch, record).plan);
      } catch (error) {
        failures.push(error);
      }
    }
    return { plans, others, failures };
  }

  /** Whether all keys are there that records belong in, and the entries of one. */
  private async areThere(plans: readonly RepairPlan[]): Promise<boolean> {
    const names = new Set(plans.flatMap(entriesOf).map(({ key }) => key));
    for (const some of chunksOf([...names], ASKED_AT_ONCE)) {
      if ((await this.redis.exists(some)) < some.length) return false;
    }
    // A key that was begun anew is there, but lacks what it had.
    const [first] = plans;
    if (first === undefined) return true;
    const missing = await missingEntries(this.redis, entriesOf(first));
    return missing.length === 0 && (await missingRunIds(this.redis, first)).length === 0;
  }

  /** Puts back what is missing of some watches. */
  async putBack(watches: readonly WatchKey[], counted = new Counted()): Promise<Repaired> {
    const total: Repaired = { missing: 0, lost: 0, failures: [] };
    await this.noting(total, watches, (key) => this.putBackWatch(key, counted));
    return total;
  }

  /** Goes through all records, drops what points to none, and counts anew. */
  async all(since: number): Promise<Repaired & { dropped: number; recounted: number }> {
    const counted = new Counted();
    const total: Repaired = { missing: 0, lost: 0, failures: [] };
    let cursor = '0';
    do {
      const { next, ...found } = await this.step(cursor, since, counted);
      add(total, found);
      cursor = next;
    } while (cursor !== '0');
    const dropped =
      (await this.sweepLogs()) + (await this.sweepIndexes()) + (await this.sweepRunIds());
    const { planned: _sum, ...counts } = await this.redis.hgetall(this.keys.deliveryCounts);
    for (const field of Object.keys(counts)) {
      counted.receivers.add(parseCountField(field).endpoint);
    }
    const recounted = (await this.recount(counted)) + (await this.recountPacked(counted));
    return { ...total, dropped, recounted };
  }

  /**
   * Compares counters of sources, tokens and states of deliveries with the indexes that they count, as many
   * as one step of Redis may count.
   * @param from the counter to begin with, by its place among them
   * @returns whether these add up, and the place of the next one
   */
  async compareCounters(from: number): Promise<{ addUp: boolean; next: number }> {
    const { redis, keys } = this;
    const [sources, tokens] = await Promise.all([
      redis.hkeys(keys.watchSources),
      redis.hkeys(keys.watchesOfTokens),
    ]);
    const counters = [
      ...sources.map((name) => [keys.watchSources, keys.watches('source', name), name, 'whole']),
      ...tokens.map((name) => [keys.watchesOfTokens, registeredIndex(keys, name), name, 'whole']),
      ...DELIVERY_STATES.map((state) => [
        keys.deliveryCounts,
        keys.deliveries('state', state),
        countField({ state, endpoint: '' }),
        'beginning',
      ]),
    ];
    const areLost = sources.length === 0 && (await redis.exists(keys.watchesChanged)) === 1;
    if (areLost) return { addUp: false, next: 0 };
    const first = from < counters.length ? from : 0;
    const named = counters.slice(first);
    const { compared, addUp } = await ADD_UP.run(
      redis,
      {},
      { mostChunks: COUNTED_CHUNKS },
      {
        further: named.flatMap(([counter = '', index = '']) => [counter, index]),
        rest: named.flatMap(([, , field = '', is = '']) => [field, is]),
      },
    );
    return { addUp, next: (first + compared) % counters.length };
  }

  private async scan(cursor: string, pattern: string): Promise<[string, string[]]> {
    return this.redis.scan(cursor, 'MATCH', pattern, 'COUNT', SCANNED);
  }

  /** Puts back what is missing of some records, several at a time. */
  private async noting<Name>(
    total: Repaired,
    names: readonly Name[],
    putBack: (name: Name) => Promise<Put>,
  ): Promise<void> {
    const put = await mapInChunks(names, AT_ONCE, (name) => tried(() => putBack(name)));
    for (const one of put) add(total, one);
  }

  private async putBackWatch(key: WatchKey, counted: Counted): Promise<Put> {
    const record = await this.redis.getBuffer(this.keys.watch(key));
    if (record === null) return NOTHING;
    const { watch, plan, deliveries } = watchPlan(this.keys, key, record);
    this.noteWatch(watch, counted);
    for (const { endpoint } of deliveries) counted.receivers.add(countedReceiver(endpoint));
    if (isPacked(record)) {
      counted.packed.watches += 1;
      counted.packed.bytes += record.length;
    }
    return putBackRecord(this.redis, this.keys, plan);
  }

  private async putBackEvent(id: string, since: number): Promise<Put> {
    const [place, body] = await this.redis.hmget(this.keys.event(id), 'place', 'body');
    if (!place || !body) return NOTHING;
    const watch = watchOfEvent(id);
    const owner = watch && (await this.numberOf(watch));
    const isDue = watch === null && Date.parse((JSON.parse(body) as Timed).timestamp) < since;
    if (isDue || (watch !== null && owner === null)) return NOTHING;
    return putBackRecord(
      this.redis,
      this.keys,
      eventPlan(this.keys, body, { number: Number(place), owner, watch }),
    );
  }

  private async putBackDelivery(id: string, counted: Counted): Promise<Put> {
    const fields = ['version', 'number', 'doc'] as const;
    const [version, number, doc] = await this.redis.hmget(this.keys.delivery(id), ...fields);
    if (!version || !doc) return NOTHING;
    const delivery = JSON.parse(doc) as Delivery;
    counted.receivers.add(countedReceiver(delivery.endpoint));
    const owner = delivery.runId === '' ? null : await this.numberOf(delivery);
    if (delivery.runId !== '' && owner === null) return NOTHING;
    return putBackRecord(
      this.redis,
      this.keys,
      deliveryRepair(this.keys, delivery, { version, number: Number(number), owner }),
    );
  }

  /** The number of a live watch; null where there is none. */
  private async numberOf(watch: WatchKey): Promise<string | null> {
    return liveNumber(await this.redis.getrangeBuffer(this.keys.watch(watch), 0, 25));
  }

  private noteWatch(watch: Watch, { sources, tokens, runs }: Counted): void {
    const { keys } = this;
    const { source } = watch;
    sources.add(source);
    for (const token of watch.registeredBy) tokens.add(token);
    const count = activeCount(watch);
    if (count === null) return;
    const { workflowId, status } = count;
    runs.set(`${workflowName({ source, workflowId })} ${status}`, [
      runsIndex(keys, source, status),
      keys.watches('workflow', workflowId),
    ]);
  }

  private async sweepLogs(): Promise<number> {
    const { keys } = this;
    const watch = beginningOfWatches(keys);
    const names = keys.watchNames;
    const outstanding = ['pending', 'parked'].map((state) => keys.deliveries('state', state));
    const logs = [
      { log: names, kept: [keys.watches('state', 'active')] },
      { log: keys.eventLog, kept: [], records: keys.event(''), live: keys.liveEvents('') },
      {
        log: keys.deliveryLog,
        kept: outstanding,
        records: keys.delivery(''),
        live: keys.liveDeliveries(''),
      },
    ];
    let dropped = 0;
    for (const one of logs) {
      const chunks = `${one.log}chunks`;
      const plan = JSON.stringify({ ...one, watch, names });
      for (const rest of chunksOf(await this.redis.zrange(chunks, 0, '-1'), CHUNKS)) {
        const behind = { further: one.kept, rest };
        dropped += await SWEEP_LOG.run(this.redis, { chunks }, { plan }, behind);
      }
    }
    return dropped;
  }

  private async sweepIndexes(): Promise<number> {
    const { keys } = this;
    let dropped = 0;
    for (const [indexes, log] of [
      [keys.watches(), keys.watchNames],
      [keys.events(), keys.eventLog],
      [keys.deliveries(), keys.deliveryLog],
    ] as const) {
      for await (const index of this.keysThatBegin(`${indexes}:`)) {
        dropped += await this.sweepIndex(index, log);
      }
    }
    return dropped;
  }

  private async *keysThatBegin(beginning: string): AsyncIterable<string> {
    let cursor = '0';
    do {
      const [next, found] = await this.scan(cursor, `${beginning}*`);
      yield* found;
      cursor = next;
    } while (cursor !== '0');
  }

  /** Takes active watches without a record out of their batches, which may complete without them. */
  async leaveBatches(lost: readonly NumberedWatch[]): Promise<void> {
    if (lost.length === 0) return;
    const numbers = JSON.stringify(lost.map(({ number }) => number));
    const { watchNames } = this.keys;
    for await (const index of this.keysThatBegin(this.keys.watches('batch', ''))) {
      await this.sweepIndex(index, watchNames, numbers);
    }
  }

  private async sweepIndex(index: string, log: string, lost?: string): Promise<number> {
    const planKeys = new PlanKeys(this.keys);
    const [beginning, behind = ''] = index.split(this.keys.watches('batch', ''));
    const [id = ''] = behind.split(':');
    const batch = beginning === '' ? JSON.stringify(lossPlan(planKeys, id)) : undefined;
    const further = planKeys.declared;
    let dropped = 0;
    for (const rest of chunksOf(await this.redis.hkeys(index), CHUNKS)) {
      const about = { log, lost, batch };
      dropped += await SWEEP_INDEX.run(this.redis, { index }, about, { further, rest });
    }
    return dropped;
  }

  private async sweepRunIds(): Promise<number> {
    const { redis, keys } = this;
    let dropped = 0;
    const beginning = keys.runIds('');
    for await (const block of this.keysThatBegin(beginning)) {
      const [source = '', ...first] = block.slice(beginning.length).split(':');
      const watches = `${beginningOfWatches(keys)}${source}/`;
      const blocks = keys.runIdBlocks(source);
      const about = { first: first.join(':'), watches };
      dropped += await SWEEP_RUN_IDS.run(redis, { block, blocks }, about);
    }
    return dropped;
  }

  /** Counts anew what counters and records name. @returns how many counters were off */
  private async recount({ receivers, sources, tokens, runs }: Counted): Promise<number> {
    const { redis, keys } = this;
    const [knownSources, knownTokens] = await Promise.all([
      redis.hkeys(keys.watchSources),
      redis.hkeys(keys.watchesOfTokens),
    ]);
    let off = 0;
    const recount = async (
      field: string,
      { counters, sum }: { counters: string; sum?: string },
      [index, ...further]: [string, ...string[]],
    ) => {
      off += await RECOUNT.run(redis, { counters, index }, { field, sum }, { further });
    };
    for (const source of new Set([...sources, ...knownSources])) {
      await recount(source, { counters: keys.watchSources }, [keys.watches('source', source)]);
    }
    for (const token of new Set([...tokens, ...knownTokens])) {
      await recount(token, { counters: keys.watchesOfTokens }, [registeredIndex(keys, token)]);
    }
    for (const [field, indexes] of runs) {
      await recount(field, { counters: keys.activeRuns }, indexes);
    }
    for (const endpoint of receivers) {
      for (const state of DELIVERY_STATES) {
        const counters = { counters: keys.deliveryCounts, sum: 'planned' };
        await recount(countField({ state, endpoint }), counters, [
          keys.deliveries('state', state),
          keys.deliveries('endpoint', endpoint),
        ]);
      }
    }
    return off;
  }

  /** Counts packed watches anew where that was lost. Those that are packed meanwhile are few. */
  private async recountPacked({ packed }: Counted): Promise<number> {
    const held = await this.redis.hget(this.keys.packed, 'watches');
    if (packed.watches === 0 || Number(held) > 0) return 0;
    await this.redis.hset(this.keys.packed, packed);
    return 1;
  }
}

/** The names of records that may have lost what points to them. */
interface Records {
  watches: WatchKey[];
  events: string[];
  deliveries: string[];
}

/** What was put back of one record. */
type Put = Pick<Repaired, 'missing' | 'lost'>;

const NOTHING: Put = { missing: 0, lost: 0 };

/** A record that is written meanwhile is read again. An outage stops it all the same. */
async function tried(putBack: () => Promise<Put>): Promise<Repaired> {
  try {
    for (let tries = 0; tries < TRIES; tries += 1) {
      const put = await putBack();
      if (put.missing >= 0) return { ...put, failures: [] };
    }
    return { ...NOTHING, failures: [] };
  } catch (error) {
    if (error instanceof Error && isOutage(error)) throw error;
    return { ...NOTHING, failures: [error] };
  }
}

interface Timed {
  timestamp: string;
}

function add(total: Repaired, { missing, lost, failures }: Repaired): void {
  total.missing += missing;
  total.lost += lost;
  total.failures.push(...failures);
}

/** What goes on behind a beginning, of the keys that have it. */
/** As many as are compared at a time, beginning anywhere. */
function someOf<Name>(names: readonly Name[]): Name[] {
  const from = Math.floor(Math.random() * Math.max(1, names.length - COMPARED + 1));
  return names.slice(from, from + COMPARED);
}

function namesAfter(beginning: string, found: readonly string[]): string[] {
  return found.filter((key) => key.startsWith(beginning)).map((key) => key.slice(beginning.length));
}
