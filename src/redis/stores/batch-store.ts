import type { Redis } from 'ioredis';
import {
  batchNameKey,
  FAILED_MEMBERS,
  isActiveMember,
  isFailedMember,
  memberStatus,
  ACTIVE_MEMBERS,
  MEMBER_STATUSES,
  MOST_FAILED,
  MOST_MEMBERS,
  type Batch,
  type BatchFindings,
  type BatchName,
  type BatchState,
  type CloseReason,
  type MemberCounts,
} from '../../core/batch.ts';
import { chunksOf } from '../../core/arrays.ts';
import type { ClockStep } from '../../core/clock.ts';
import type { AuditRecord } from '../../core/audit.ts';
import type { PlannedEvent } from '../../core/delivery/planned-event.ts';
import type { Page } from '../../core/page.ts';
import type { BatchJoin, WatchChange } from '../watch-change.ts';
import { replies } from '../connection.ts';
import { isBeyond, openTimeCursor, type TimePlace } from '../cursor.ts';
import { batchIndex } from '../indexes.ts';
import { PlanKeys, type Keys } from '../keys.ts';
import { AUDIT, auditArgument } from '../lua/audit.ts';
import { STORE_NOW } from '../lua/clock.ts';
import { EVEN_IF_FULL } from '../lua/full.ts';
import { TAKE_DUE } from '../lua/times.ts';
import { countNumbers, findNumbers, readNumbers } from '../numbers.ts';
import { script } from '../script.ts';
import { PLAN_DELIVERIES, RAISE, raisedPlan } from './event-plan.ts';

/** Batches that are kept at a time. */
const MOST_BATCHES = 20_000;

/** Batches that one page is looked for in: some are of other tokens. */
const MOST_EXAMINED = 2_000;

const CHUNK = 200;

/**
 * `mayJoin(plan)` says whether a watch may join the batches that it is to join: they are as they were read.
 * `moveBatches(plan)` makes it join, and marks what has to be judged again since a member of it has moved. The
 * indexes say where the members stand by then.
 *
 * A name stands for an open batch as long as this has a record. A list of a thousand runs joins as often: what joins
 * reads one command of the batch and writes one (`bench -- batches`).
 */
export const BATCHES = `
-- What a join and the end of a member need of a batch; without a state where it has no record.
local function fieldsOfBatch(key)
  local fields = redis.call('HMGET', key, 'state', 'joined', 'expected', 'max_failed', 'idle')
  return {
    state = fields[1], joined = tonumber(fields[2]), expected = tonumber(fields[3]),
    mostFailed = fields[4], idle = fields[5],
  }
end

local function mayJoin(plan)
  for _, batch in ipairs(plan.members) do
    local join = batch.join
    if join then
      local it = fieldsOfBatch(batch.key)
      if it.state then
        if it.state ~= 'open' or it.joined >= ${MOST_MEMBERS} then return false end
        batch.fields = it
      else
        if not join.doc or (redis.call('HGET', plan.names, join.name) or '') ~= join.was then return false end
        if redis.call('ZCARD', plan.all) >= ${MOST_BATCHES} then return false end
      end
    end
  end
  return true
end

local function begin(plan, batch)
  redis.call('ZADD', plan.all, batch.join.createdAt, batch.id)
  redis.call('HSET', batch.key, 'doc', batch.join.doc, 'state', 'open', 'version', 1)
  redis.call('HSET', plan.names, batch.join.name, batch.id)
  return {state = 'open'}
end

local function joinBatch(plan, batch)
  local it = batch.fields or begin(plan, batch)
  local joined = redis.call('HINCRBY', batch.key, 'joined', 1)
  local closedBy = it.expected and joined >= it.expected and 'expected' or batch.join.closes and 'closed'
  if closedBy then
    it.state = 'closed'
    redis.call('HSET', batch.key, 'state', it.state, 'closed_by', closedBy)
  end
  return it
end

local function hasAny(indexes)
  for _, index in ipairs(indexes) do
    if redis.call('EXISTS', index) == 1 then return true end
  end
  return false
end

local function moveBatch(plan, batch, it)
  local isActive = not batch.active or hasAny(batch.active)
  if isActive and it.idle then
    redis.call('ZREM', plan.idle, batch.id)
    redis.call('HDEL', batch.key, 'idle')
  elseif not isActive then
    redis.call('ZADD', plan.idle, 'NX', storeNow(plan.clock), batch.id)
    redis.call('HSET', batch.key, 'idle', 1)
  end
  if (batch.hasFailed and it.mostFailed) or (it.state == 'closed' and not isActive) then
    redis.call('ZADD', plan.due, storeNow(plan.clock), batch.id)
  end
end

local function moveBatches(plan)
  for _, batch in ipairs(plan.members) do
    if batch.join then
      moveBatch(plan, batch, joinBatch(plan, batch))
    else
      local it = fieldsOfBatch(batch.key)
      if it.state and it.state ~= 'completed' then
        redis.call('HINCRBY', batch.key, 'version', 1)
        moveBatch(plan, batch, it)
      end
    end
  end
end
`;

/** What {@link BATCHES} needs of a change; undefined where no batch has to do with it. */
export function batchPlan(
  { keys, declare, declareAll }: PlanKeys,
  { before, after, joins = [] }: WatchChange,
) {
  if (after.batches.length === 0) return undefined;
  const status = memberStatus(after);
  const was = before === null ? null : memberStatus(before.watch);
  const isActive = isActiveMember(status);
  const hasMoved = was !== null && was !== status && !(isActive && isActiveMember(was));
  const moved = after.batches.flatMap((id) => {
    const join = joins.find((one) => one.batch.id === id);
    return join === undefined && !hasMoved ? [] : [{ id, join }];
  });
  if (moved.length === 0) return undefined;
  const begins = joins.some((join) => join.was !== undefined);
  return {
    idle: declare(keys.batchesIdle),
    // A member that goes on gives no reason to judge a batch.
    ...(!isActive && { due: declare(keys.batchesDue), clock: declare(keys.clock) }),
    ...(begins && { names: declare(keys.batchNames), all: declare(keys.batches) }),
    members: moved.map(({ id, join }) => {
      return Object.assign(
        { id, key: declare(keys.batch(id)) },
        !isActive && { active: declareAll(activeIndexes(keys, id)) },
        isFailedMember(status) && { hasFailed: true },
        join !== undefined && { join: joinPlan(join) },
      );
    }),
  };
}

/** What `moveBatches` needs of a batch that has members without a record. */
export function lossPlan({ keys, declare, declareAll }: PlanKeys, id: string) {
  return {
    idle: declare(keys.batchesIdle),
    due: declare(keys.batchesDue),
    clock: declare(keys.clock),
    members: [{ id, key: declare(keys.batch(id)), active: declareAll(activeIndexes(keys, id)) }],
  };
}

function activeIndexes(keys: Keys, id: string): string[] {
  return ACTIVE_MEMBERS.map((status) => batchIndex(keys, id, status));
}

function joinPlan({ batch, was, closes = false }: BatchJoin) {
  const closing = closes ? { closes } : {};
  if (was === undefined) return closing;
  const { createdAt } = batch;
  return { ...closing, name: batchNameKey(batch), was, createdAt, doc: docOf(batch) };
}

/** What scripts read of a batch; its document has the rest. */
type ScriptFields = 'state' | 'joined' | 'expected' | 'maxFailed' | 'closedBy';

type BatchDoc = Omit<Batch, ScriptFields>;

/** What else was read of the document, a later version has added. */
function docOf(batch: Batch): string {
  const { state: _s, joined: _j, expected: _e, maxFailed: _m, closedBy: _c, ...doc } = batch;
  return JSON.stringify(doc satisfies BatchDoc);
}

/** A batch as read from the store, with the version that a write must find unchanged. */
export interface StoredBatch {
  batch: Batch;
  version: string;
}

/** A batch by the fields of its record; null without a document. */
export function readBatch(fields: Record<string, string>): StoredBatch | null {
  const { version, state, joined, expected, max_failed: maxFailed, closed_by: by, doc } = fields;
  if (version === undefined || doc === undefined) return null;
  const batch: Batch = {
    ...(JSON.parse(doc) as BatchDoc),
    state: state as BatchState,
    joined: Number(joined),
    expected: expected === undefined ? null : Number(expected),
    maxFailed: maxFailed === undefined ? null : Number(maxFailed),
    closedBy: (by ?? null) as CloseReason | null,
  };
  return { batch, version: `${version}/${joined}` };
}

/**
 * `versionOf(key)` is a batch's version as it is read: a join moves the number of runs alone. `writeBatch(key, fields)`
 * sets fields, of which some are there only where they are set.
 */
const WRITE_FIELDS = `
local function versionOf(key)
  local version, joined = unpack(redis.call('HMGET', key, 'version', 'joined'))
  return version and version .. '/' .. joined
end

local function writeBatch(key, fields)
  local set = {}
  for name, value in pairs(fields) do
    if value == '' then
      redis.call('HDEL', key, name)
    else
      set[#set + 1] = name
      set[#set + 1] = value
    end
  end
  redis.call('HSET', key, unpack(set))
  redis.call('HINCRBY', key, 'version', 1)
end
`;

function fieldsOf(batch: Batch): string {
  return JSON.stringify({
    state: batch.state,
    expected: batch.expected === null ? '' : String(batch.expected),
    max_failed: batch.maxFailed === null ? '' : String(batch.maxFailed),
    closed_by: batch.closedBy ?? '',
    doc: docOf(batch),
  });
}

/**
 * Writes a batch, if it is as it was read, or begins one in place of the one whose id was read by its name. It is
 * judged at once. Says whether it was written.
 */
const WRITE_BATCH = script(
  'rwWriteBatch',
  {
    keys: ['batch', 'batchNames', 'batches', 'batchesDue', 'batchesIdle', 'batchWebhooks', 'clock'],
    args: [
      'id',
      'name',
      'fields',
      'createdAt',
      'mostBatches',
      'hasWebhook',
      'version?',
      'was?',
      'audited?',
    ],
    reply: (written: number) => written === 1,
  },
  `
${AUDIT}
${STORE_NOW}
${WRITE_FIELDS}
local now = storeNow(keys.clock)
if args.version then
  if versionOf(keys.batch) ~= args.version then return 0 end
else
  if (redis.call('HGET', keys.batchNames, args.name) or '') ~= (args.was or '') then return 0 end
  if redis.call('ZCARD', keys.batches) >= tonumber(args.mostBatches) then return 0 end
  redis.call('ZADD', keys.batches, args.createdAt, args.id)
  redis.call('ZADD', keys.batchesIdle, now, args.id)
  redis.call('HSET', keys.batch, 'joined', 0, 'idle', 1)
end
redis.call('ZADD', keys.batchesDue, now, args.id)
if args.hasWebhook == '1' then
  redis.call('ZADD', keys.batchWebhooks, args.createdAt, args.id)
else
  redis.call('ZREM', keys.batchWebhooks, args.id)
end
writeBatch(keys.batch, cjson.decode(args.fields))
if not args.version then redis.call('HSET', keys.batchNames, args.name, args.id) end
if args.audited then audit(cjson.decode(args.audited)) end
return 1
`,
);

/**
 * Writes what a batch was found to be, with the events that follow, if neither it nor a member has moved since it was
 * read. Returns null where it has, else the pools at which deliveries are due now.
 */
const SETTLE_BATCH = script(
  'rwSettleBatch',
  {
    keys: ['batch', 'batchesDue', 'batchesIdle', 'batchWebhooks', 'clock'],
    args: ['id', 'version', 'isIdle', 'isOver', 'fields?', 'effects?'],
    reply: (pools: string[] | null) => pools,
  },
  `
${EVEN_IF_FULL}
${PLAN_DELIVERIES}
${RAISE}
${WRITE_FIELDS}
if versionOf(keys.batch) ~= args.version then return false end
if not args.effects then evenIfFull(keys.clock) end
local pools = args.effects and raise(cjson.decode(args.effects)) or {}
if args.isIdle == '1' then
  redis.call('ZADD', keys.batchesIdle, 'NX', storeNow(keys.clock), args.id)
  redis.call('HSET', keys.batch, 'idle', 1)
else
  redis.call('ZREM', keys.batchesIdle, args.id)
  redis.call('HDEL', keys.batch, 'idle')
end
redis.call('ZREM', keys.batchesDue, args.id)
if args.isOver == '1' then redis.call('ZREM', keys.batchWebhooks, args.id) end
if args.fields then writeBatch(keys.batch, cjson.decode(args.fields)) end
return pools
`,
);

const LISTED_KEYS = [
  'batch',
  'batchNames',
  'batches',
  'batchesDue',
  'batchesIdle',
  'batchWebhooks',
] as const;

/** `unlist(id, name)` takes a batch out of all that names it: the name only where that still stands for it. */
const UNLIST = `
local function unlist(id, name)
  if name and redis.call('HGET', keys.batchNames, name) == id then redis.call('HDEL', keys.batchNames, name) end
  for _, set in ipairs({keys.batchesDue, keys.batchesIdle, keys.batches, keys.batchWebhooks}) do
    redis.call('ZREM', set, id)
  end
end
`;

/** Forgets a batch. Its members are watched as before. */
const FORGET_BATCH = script(
  'rwForgetBatch',
  {
    keys: LISTED_KEYS,
    args: ['id', 'name', 'audited?'],
  },
  `
${AUDIT}
${EVEN_IF_FULL}
${UNLIST}
evenIfFull(keys.batch)
if args.audited and redis.call('EXISTS', keys.batch) == 1 then audit(cjson.decode(args.audited)) end
unlist(args.id, args.name)
redis.call('DEL', keys.batch)
`,
);

/**
 * Takes a batch that was read without a record out of all that names it, unless it has one by now, as `readBatch` wants
 * it: a registration that comes again may have begun it anew with the same id.
 */
const DROP_BATCH = script(
  'rwDropBatch',
  {
    keys: LISTED_KEYS,
    args: ['id', 'name?'],
  },
  `
${EVEN_IF_FULL}
${UNLIST}
evenIfFull(keys.batch)
local version, doc = unpack(redis.call('HMGET', keys.batch, 'version', 'doc'))
if not version or not doc then unlist(args.id, args.name) end
`,
);

/**
 * Moves back the times that batches were marked with while the clock was ahead. But for a lease, which does no harm
 * where it ends early, none is marked with a time to come. So what is ahead of the clock was marked then, and nothing
 * moves twice. What was marked within a step was so moments ago, and counts from now: two steps may have been taken out
 * as one, and an hour without an active run must not be over too soon. From what was marked within a long lead, that
 * is taken.
 */
const MOVE_BATCHES_BACK = script(
  'rwMoveBatchesBack',
  { keys: ['batchesDue', 'batchesIdle', 'clock'], args: ['ms', 'from'] },
  `
${EVEN_IF_FULL}
${STORE_NOW}
evenIfFull(keys.clock)
local now = storeNow(keys.clock)
local isStep = tonumber(args.from) > now
for _, set in ipairs({keys.batchesDue, keys.batchesIdle}) do
  local ahead = redis.call('ZRANGEBYSCORE', set, '(' .. now, '+inf', 'WITHSCORES')
  for at = 1, #ahead, 2 do
    local moved = isStep and now or math.min(now, ahead[at + 1] - args.ms)
    redis.call('ZADD', set, moved, ahead[at])
  end
end
`,
);

/** Makes batches due that have had no active member since a time. */
const WAKE_IDLE = script(
  'rwWakeIdleBatches',
  { keys: ['batchesIdle', 'batchesDue'], args: ['before', 'now', 'most'] },
  `
for _, id in ipairs(redis.call('ZRANGEBYSCORE', keys.batchesIdle, '-inf', args.before, 'LIMIT', 0, args.most)) do
  redis.call('ZADD', keys.batchesDue, 'NX', args.now, id)
end
`,
);

/** Which batches a listing means. */
export interface BatchFilter {
  state?: readonly BatchState[] | undefined;
  /** Those that belong to these alone; absent for all. */
  sources?: readonly string[] | undefined;
}

/** Whether a batch belongs to some sources alone. */
export function isOfSources(batch: BatchName, sources: readonly string[] | undefined): boolean {
  if (sources === undefined) return true;
  return batch.sources?.every((source) => sources.includes(source)) ?? false;
}

/** Whether a batch may yet notify a webhook of its own. */
export function hasLiveWebhook({ state, subscriptions }: Batch): boolean {
  return state !== 'completed' && (subscriptions ?? []).some(({ kind }) => kind === 'webhook');
}

/** Batches in Redis. Errors of the connection pass through. */
export class BatchStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  async read(id: string): Promise<StoredBatch | null> {
    return readBatch(await this.redis.hgetall(this.keys.batch(id)));
  }

  /**
   * The batches that names stand for now, completed or not; null for those that stand for none. Where
   * the record of a batch is lost, its name is freed: what begins the next one compares that it is.
   */
  async named(names: readonly BatchName[]): Promise<(StoredBatch | null)[]> {
    if (names.length === 0) return [];
    const fields = names.map(batchNameKey);
    const ids = await this.redis.hmget(this.keys.batchNames, ...fields);
    return Promise.all(
      ids.map(async (id, at) => {
        const stored = id === null ? null : await this.read(id);
        if (id !== null && stored === null) await this.drop(id, fields[at]);
        return stored;
      }),
    );
  }

  /** Whether there is room for another one. */
  async hasRoom(): Promise<boolean> {
    return (await this.redis.zcard(this.keys.batches)) < MOST_BATCHES;
  }

  /**
   * Begins a batch, unless its name has come to stand for another since it was read.
   * @param was the id of the one that the name stood for, '' for none
   */
  begin(batch: Batch, was: string): Promise<boolean> {
    return this.write(batch, { was });
  }

  /** Writes a batch anew. @returns false where it is not as it was read any more */
  replace(
    { version }: StoredBatch,
    after: Batch,
    audit: AuditRecord | null = null,
  ): Promise<boolean> {
    return this.write(after, { version }, audit);
  }

  private write(
    batch: Batch,
    as: { version: string } | { was: string },
    audit: AuditRecord | null = null,
  ): Promise<boolean> {
    const about = { id: batch.id, name: batchNameKey(batch), createdAt: batch.createdAt };
    const { audited, further } = auditArgument(this.keys, audit);
    return WRITE_BATCH.run(
      this.redis,
      { ...this.keysOf(batch.id), clock: this.keys.clock },
      {
        ...about,
        fields: fieldsOf(batch),
        mostBatches: MOST_BATCHES,
        hasWebhook: hasLiveWebhook(batch) ? 1 : 0,
        audited,
        ...as,
      },
      { further },
    );
  }

  /** Forgets a batch, whatever its state. */
  async forget(batch: Batch, audit: AuditRecord | null = null): Promise<void> {
    const { audited, further } = auditArgument(this.keys, audit);
    const about = { id: batch.id, name: batchNameKey(batch), audited };
    await FORGET_BATCH.run(this.redis, this.keysOf(batch.id), about, { further });
  }

  /** Takes a run that is purged out of the failed ones of a batch. */
  async forgetRun(id: string, watch: string): Promise<void> {
    for (;;) {
      const stored = await this.read(id);
      const outcome = stored?.batch.outcome ?? null;
      if (stored === null || outcome === null || !outcome.failed.includes(watch)) return;
      const failed = outcome.failed.filter((one) => one !== watch);
      if (await this.replace(stored, { ...stored.batch, outcome: { ...outcome, failed } })) return;
    }
  }

  /** Forgets completed batches: those that completed before a time, and the first beyond a number. */
  async forgetOld({ before, keep }: { before: number; keep: number }): Promise<number> {
    const { redis, keys } = this;
    const surplus = (await redis.zcard(keys.batches)) - keep;
    const old = await redis.zcount(keys.batches, '-inf', `(${before}`);
    // None of the others can have completed before that time.
    const most = Math.max(old, surplus);
    if (most <= 0) return 0;
    const ids = await redis.zrange(keys.batches, 0, String(most - 1));
    const beyond = new Set(ids.slice(0, Math.max(0, surplus)));
    let forgotten = 0;
    for (const some of chunksOf(ids, CHUNK)) {
      for (const { batch } of await this.readAll(some)) {
        const { id, completedAt } = batch;
        if (completedAt === null || (completedAt >= before && !beyond.has(id))) continue;
        await this.forget(batch);
        forgotten += 1;
      }
    }
    return forgotten;
  }

  /** Newest first. Throws RunwatchError `invalid_cursor`, `stale_cursor`. */
  async list(
    { state, sources, ...rest }: BatchFilter,
    { limit, cursor }: { limit: number; cursor?: string | undefined },
  ): Promise<Page<Batch>> {
    rest satisfies Record<string, never>;
    const { from, cursorAt } = await openTimeCursor(this.redis, this.keys, cursor);
    const items: Batch[] = [];
    let last = from;
    for (let examined = 0; examined < MOST_EXAMINED;) {
      const places = await this.placesBefore(last);
      const found = await this.readAll(places.map(({ id }) => id));
      const byId = new Map(found.map(({ batch }) => [batch.id, batch]));
      for (const place of places) {
        if (items.length === limit) return { items, nextCursor: last && cursorAt(last) };
        last = place;
        const batch = byId.get(place.id);
        if (batch === undefined || !isOfSources(batch, sources)) continue;
        if (state === undefined || state.includes(batch.state)) items.push(batch);
      }
      examined += places.length;
      if (places.length === 0) return { items, nextCursor: null };
    }
    return { items, nextCursor: last && cursorAt(last) };
  }

  /** The places behind one, newest first. */
  private async placesBefore(last: TimePlace | null): Promise<TimePlace[]> {
    const { redis, keys } = this;
    const places: TimePlace[] = [];
    for (let offset = 0; ; offset += CHUNK) {
      const flat = await redis.zrevrangebyscore(
        keys.batches,
        last?.at ?? '+inf',
        '-inf',
        'WITHSCORES',
        'LIMIT',
        offset,
        CHUNK,
      );
      for (let at = 0; at < flat.length; at += 2) {
        const place = { id: flat[at] ?? '', at: Number(flat[at + 1]) };
        if (isBeyond(place, last, 'newest')) places.push(place);
      }
      // All of one time may have been shown.
      if (places.length > 0 || flat.length < 2 * CHUNK) return places;
    }
  }

  /** Batches with a webhook of their own that have not completed, the newest first, a chunk at a time. */
  async *withWebhooks(chunk: number): AsyncIterable<Batch[]> {
    const { redis, keys } = this;
    const ids = await redis.zrevrange(keys.batchWebhooks, 0, '-1');
    for (const some of chunksOf(ids, chunk)) {
      yield (await this.readAll(some)).map(({ batch }) => batch);
    }
  }

  /** Those of the ids that are kept, in the order of the ids. */
  async readAll(ids: readonly string[]): Promise<StoredBatch[]> {
    if (ids.length === 0) return [];
    const pipeline = this.redis.pipeline();
    for (const id of ids) pipeline.hgetall(this.keys.batch(id));
    const found = await replies<Record<string, string>>(pipeline);
    return found.flatMap((fields) => readBatch(fields) ?? []);
  }

  /** Takes batches that are to be judged, for this process alone. */
  async takeDue(
    now: number,
    { idleSince, leaseMs, most }: { idleSince: number; leaseMs: number; most: number },
  ): Promise<string[]> {
    const { batchesDue, batchesIdle } = this.keys;
    // With nothing to do, which is asked all day, one command is enough.
    if ((await this.redis.exists(batchesDue, batchesIdle)) === 0) return [];
    const idle = await this.redis.zcount(batchesIdle, '-inf', idleSince);
    if (idle > 0) {
      const about = { before: idleSince, now, most };
      await WAKE_IDLE.run(this.redis, { batchesIdle, batchesDue }, about);
    }
    if ((await this.redis.zcount(batchesDue, '-inf', now)) === 0) return [];
    return TAKE_DUE.run(this.redis, { times: batchesDue }, { now, leaseMs, most });
  }

  /** Moves what was marked while the store's clock was ahead; again does no harm. */
  async moveBack({ ms, from }: ClockStep): Promise<void> {
    const { batchesDue, batchesIdle, clock } = this.keys;
    await MOVE_BATCHES_BACK.run(this.redis, { batchesDue, batchesIdle, clock }, { ms, from });
  }

  /** Batches that have had no active member since a time, the longest first; completed ones are not among them. */
  async idle(before: number, most: number): Promise<{ batch: Batch; since: number }[]> {
    const flat = await this.redis.zrangebyscore(
      this.keys.batchesIdle,
      '-inf',
      before,
      'WITHSCORES',
      'LIMIT',
      0,
      most,
    );
    const since = new Map<string, number>();
    for (let at = 0; at < flat.length; at += 2) since.set(flat[at] ?? '', Number(flat[at + 1]));
    const found = await this.readAll([...since.keys()]);
    return found.map(({ batch }) => ({ batch, since: since.get(batch.id) ?? before }));
  }

  /** Where the members of a batch stand. */
  async find(id: string): Promise<BatchFindings> {
    const { redis, keys } = this;
    const [byStatus, failed, since] = await Promise.all([
      this.count(id),
      this.failed(id),
      redis.zscore(keys.batchesIdle, id),
    ]);
    return { byStatus, failed, idleSince: since === null ? null : Number(since) };
  }

  private async count(id: string): Promise<MemberCounts> {
    const counts = await Promise.all(
      MEMBER_STATUSES.map(async (status) => {
        return [status, await countNumbers(this.redis, batchIndex(this.keys, id, status))] as const;
      }),
    );
    return Object.fromEntries(counts.filter(([, count]) => count > 0));
  }

  /** The watches of the members that failed, by their registration. */
  private async failed(id: string): Promise<string[]> {
    const { redis, keys } = this;
    const fields = [FAILED_MEMBERS.map((status) => batchIndex(keys, id, status))];
    const query = { kind: 'watch', fields, order: 'oldest' } as const;
    const { numbers } = await findNumbers(redis, keys, query, MOST_FAILED);
    if (numbers.length === 0) return [];
    return (await readNumbers(redis, keys, 'name', numbers)).map(({ watch }) => watch);
  }

  /**
   * Writes what a batch was found to be, and the events that follow.
   * @param isIdle whether it is open and has no active member
   * @returns the pools at which deliveries are due now; null where it, or a member, has moved since it was read
   */
  settle(
    { batch, version }: StoredBatch,
    { after, isIdle, events }: { after: Batch; isIdle: boolean; events: readonly PlannedEvent[] },
  ): Promise<string[] | null> {
    const { keys } = this;
    const planKeys = new PlanKeys(keys);
    const effects = events.length === 0 ? undefined : JSON.stringify(raisedPlan(planKeys, events));
    const fields = after === batch ? undefined : fieldsOf(after);
    const isOver = after.state === 'completed';
    return SETTLE_BATCH.run(
      this.redis,
      { ...this.keysOf(batch.id), clock: keys.clock },
      { id: batch.id, version, isIdle: isIdle ? 1 : 0, isOver: isOver ? 1 : 0, fields, effects },
      { further: planKeys.declared },
    );
  }

  /**
   * Takes a batch without a record out of all that names it.
   * @param name under which it was found, as a key; absent where it was found otherwise
   */
  async drop(id: string, name?: string): Promise<void> {
    await DROP_BATCH.run(this.redis, this.keysOf(id), { id, name });
  }

  private keysOf(id: string) {
    const { batchNames, batches, batchesDue, batchesIdle, batchWebhooks } = this.keys;
    const own = { batch: this.keys.batch(id) };
    return { ...own, batchNames, batches, batchesDue, batchesIdle, batchWebhooks };
  }
}
