import type { Redis } from 'ioredis';
import {
  ALERT_STATES,
  groupOfAlert,
  type Alert,
  type AlertCounts,
  type AlertQuery,
  type AlertState,
} from '../../core/alert/alert.ts';
import { sum } from '../../core/arrays.ts';
import type { AlertEntry } from '../../core/alert/entry.ts';
import type { AuditRecord } from '../../core/audit.ts';
import { isSilent } from '../../core/alert/failures.ts';
import { ownersOf, type ChangedGroup } from '../../core/alert/judgement.ts';
import type { Group } from '../../core/alert/group.ts';
import type { PlannedEvent } from '../../core/delivery/planned-event.ts';
import { jsonOrNull, replies } from '../connection.ts';
import { comparePlaces, isBeyond, openTimeCursor, type TimePlace } from '../cursor.ts';
import { PlanKeys, type Keys } from '../keys.ts';
import { storeNow } from '../store-clock.ts';
import { Lease } from '../leases.ts';
import { STORE_NOW } from '../lua/clock.ts';
import { LEASE } from '../lua/leases.ts';
import { script } from '../script.ts';
import { newVersion } from '../versions.ts';
import { AUDIT, auditPlan } from '../lua/audit.ts';
import {
  deliveryPlan,
  inboxPlan,
  PLAN_DELIVERIES,
  RAISE,
  RAISE_EVENT,
  raisedPlan,
} from './event-plan.ts';

/** Work on alerts that a process has claimed. Times are milliseconds since the epoch. */
export interface AlertWork {
  now: number;
  /** For how long sources were seen while some process judged, ms; '' for all at once. */
  seenMs: ReadonlyMap<string, number>;
  /** When the next work is due, ms from now; null where nothing is due at all. */
  nextMs: number | null;
  /** Null where there is nothing to do, or another process does it. */
  claimed: { entries: string[]; due: string[]; deadlines: string[] } | null;
}

/** A group as it was read, with the version that a write must find; null where there is none. */
export interface ReadGroup {
  version: string;
  group: Group | null;
}

/** What one step writes. */
export interface AlertCommit {
  /** The claim of the process that judges; null for a change that needs none. */
  token: string | null;
  /** Groups as they were read, by key. */
  read: ReadonlyMap<string, ReadGroup>;
  changed: readonly ChangedGroup[];
  resolved: readonly Alert[];
  counts: AlertCounts;
  events: readonly PlannedEvent[];
  /** The entries of the inbox that were judged, from the first on. */
  judged?: readonly string[];
  /** Deadlines by their members: when they are judged, or null for no more. */
  deadlines?: ReadonlyMap<string, number | null>;
  /** What a user did; absent for what rules do. */
  audit?: AuditRecord | null;
}

/** The longest time between two calls in which sources were seen, ms. */
const LONGEST_GAP_MS = 15_000;

const SEEN = 'seen ';

/** Alerts read by one command. */
const CHUNK = 200;

/**
 * Claims the work of alerts, if there is any and no other process has it. The claim lasts as long as
 * its lease, which each call renews. The time for which some process has done so is counted for each source
 * that it sees: longer gaps are none of it.
 *
 * Returns [now, time seen by source, ms until something is due or -1, entries, groups due, deadlines due];
 * the last three only where there is work and the claim was got.
 */
const TAKE_WORK = script(
  'rwTakeAlertWork',
  {
    keys: ['clock', 'lease', 'inbox', 'due', 'deadlines', 'seen'],
    args: ['token', 'leaseMs', 'mostEntries', 'mostGroups', 'longestGapMs', 'sources'],
    reply: (
      reply: [
        now: string,
        seenMs: string[],
        nextMs: string,
        entries?: string[],
        due?: string[],
        deadlines?: string[],
      ],
    ) => reply,
  },
  `
${STORE_NOW}
${LEASE}
local now = storeNow(keys.clock)
local before = tonumber(redis.call('HGET', keys.seen, 'at') or now)
local gap = math.floor(now - before)
if gap >= 1000 and gap <= tonumber(args.longestGapMs) then
  for _, source in ipairs(cjson.decode(args.sources)) do
    redis.call('HINCRBY', keys.seen, 'seen ' .. source, gap)
  end
end
if gap >= 1000 or gap <= 0 then
  redis.call('HSET', keys.seen, 'at', string.format('%.0f', gap > 0 and before + gap or now))
end

local function firstOf(key)
  return tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2])
end
local first = math.min(firstOf(keys.due) or math.huge, firstOf(keys.deadlines) or math.huge)
if redis.call('LLEN', keys.inbox) > 0 then first = now end
local ms = first == math.huge and -1 or math.max(0, first - now)
local reply = {tostring(now), redis.call('HGETALL', keys.seen), tostring(ms)}
if ms ~= 0 then return reply end

local takenMs = takeLease(keys.lease, args.token, now, tonumber(args.leaseMs))
if takenMs then
  reply[3] = tostring(takenMs)
  return reply
end
reply[4] = redis.call('LRANGE', keys.inbox, 0, args.mostEntries - 1)
reply[5] = redis.call('ZRANGEBYSCORE', keys.due, '-inf', now, 'LIMIT', 0, args.mostGroups)
reply[6] = redis.call('ZRANGEBYSCORE', keys.deadlines, '-inf', now, 'LIMIT', 0, args.mostGroups)
return reply
`,
);

/**
 * Writes groups that no other process has written since they were read, with their alerts, places in
 * indexes, due times, and events with their deliveries: what {@link alertPlan} makes. What was judged leaves the
 * inbox in the same step. A process that judges writes nothing once another has the claim.
 * Returns null where something has changed meanwhile, else the pools at which deliveries are due now.
 */
const COMMIT = script(
  'rwCommitAlerts',
  { keys: [], args: ['plan'], reply: (pools: string[] | 0) => (pools === 0 ? null : pools) },
  `
${PLAN_DELIVERIES}
${RAISE}
${LEASE}
${AUDIT}
local write = cjson.decode(args.plan)
if write.lease and (readLease(write.lease) or write.token) ~= write.token then return 0 end
for _, group in ipairs(write.groups) do
  if (redis.call('HGET', group.key, 'version') or '') ~= group.before then return 0 end
end
if write.judged > 0 and redis.call('LINDEX', write.inbox, 0) ~= write.first then return 0 end

local now = storeNow(write.clock)
for _, deadline in ipairs(write.deadlines) do
  if deadline.at then
    redis.call('ZADD', write.deadlinesKey, deadline.at, deadline.member)
  else
    redis.call('ZREM', write.deadlinesKey, deadline.member)
  end
end
for _, move in ipairs(write.moves) do
  for _, index in ipairs(move.leave) do redis.call('ZREM', index, move.id) end
  for _, index in ipairs(move.enter) do redis.call('ZADD', index, move.startedAt, move.id) end
end
for _, alert in ipairs(write.resolved) do
  redis.call('SET', alert.key, alert.doc)
  redis.call('ZADD', write.alertsResolved, alert.at, alert.id)
end
local pools = raise(write.raised)
audit(write.audited)
-- Groups and inbox come last: what a step that fails before has judged is judged again.
for _, group in ipairs(write.groups) do
  if group.doc then
    redis.call('HSET', group.key, 'version', group.version, 'doc', group.doc)
    if group.keptMs then
      redis.call('PEXPIRE', group.key, group.keptMs)
    else
      redis.call('PERSIST', group.key)
    end
  else
    redis.call('DEL', group.key)
  end
  for _, owner in ipairs(group.left) do redis.call('ZREM', owner, group.id) end
  for _, owner in ipairs(group.owners) do
    redis.call('ZADD', owner, group.keptMs and now + group.keptMs or 'inf', group.id)
  end
  if group.dueAt then
    redis.call('ZADD', write.due, group.dueAt, group.id)
  else
    redis.call('ZREM', write.due, group.id)
  end
end
for _, groups in ipairs(write.owners) do
  redis.call('ZREMRANGEBYSCORE', groups, '-inf', now)
  local last = redis.call('ZRANGE', groups, -1, -1, 'WITHSCORES')[2]
  if last == 'inf' then
    redis.call('PERSIST', groups)
  elseif last then
    redis.call('PEXPIRE', groups, math.ceil(last - now))
  end
end
for _, count in ipairs(write.counts) do
  redis.call('HINCRBY', write.countsKey, count.field, count.by)
end
if write.judged > 0 then redis.call('LTRIM', write.inbox, write.judged, -1) end
return pools
`,
);

/** Forgets alerts that have resolved. */
const FORGET = script(
  'rwForgetAlerts',
  { keys: ['resolved'], args: ['alerts'] },
  `
for _, alert in ipairs(cjson.decode(args.alerts)) do
  for _, index in ipairs(alert.indexes) do redis.call('ZREM', index, alert.id) end
  redis.call('DEL', alert.key)
  redis.call('ZREM', keys.resolved, alert.id)
end
`,
);

/** Alerts of a rule and of sources; of all where these are not given. */
type AlertSet = Pick<AlertQuery, 'rule' | 'sources'>;

/** Alerts in Redis, with the groups that they belong to. Errors of the connection pass through. */
export class AlertStore {
  /** The right to judge, of one process at a time. */
  readonly lease: Lease;

  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {
    this.lease = new Lease(redis, keys, keys.alertLease);
  }

  /**
   * Whether anything is to be judged, now or later. Asked all day, it takes one command. Where nothing is, no group waits
   * for an event, so that the time in which sources were seen need not be counted.
   */
  async hasWork(): Promise<boolean> {
    const { alertInbox, alertsDue, alertDeadlines } = this.keys;
    return (await this.redis.exists(alertInbox, alertsDue, alertDeadlines)) > 0;
  }

  /**
   * Claims what is to be judged, and what is due.
   * @param seen the sources that this process sees: no event of theirs is missing; '' where it sees all
   */
  async take(
    token: string,
    {
      leaseMs,
      entries,
      groups,
      seen,
    }: { leaseMs: number; entries: number; groups: number; seen: readonly string[] },
  ): Promise<AlertWork> {
    const { keys } = this;
    const reply = await TAKE_WORK.run(
      this.redis,
      {
        clock: keys.clock,
        lease: keys.alertLease,
        inbox: keys.alertInbox,
        due: keys.alertsDue,
        deadlines: keys.alertDeadlines,
        seen: keys.alertSeen,
      },
      {
        token,
        leaseMs,
        mostEntries: entries,
        mostGroups: groups,
        longestGapMs: LONGEST_GAP_MS,
        sources: JSON.stringify(seen),
      },
    );
    const [now, times, ms, inbox, due, deadlines] = reply;
    return {
      now: Number(now),
      seenMs: seenOf(pairsOf(times)),
      nextMs: Number(ms) < 0 ? null : Number(ms),
      claimed:
        inbox === undefined ? null : { entries: inbox, due: due ?? [], deadlines: deadlines ?? [] },
    };
  }

  /**
   * The store's time, and for how long sources were seen.
   * @param sources those that this process sees: what the next {@link take} will count for them counts
   */
  async seen(sources: readonly string[]): Promise<Pick<AlertWork, 'now' | 'seenMs'>> {
    const [now, times] = await Promise.all([
      storeNow(this.redis, this.keys),
      this.redis.hgetall(this.keys.alertSeen),
    ]);
    const seenMs = seenOf(Object.entries(times));
    const gapMs = Math.max(0, now - Number(times['at'] ?? now));
    if (gapMs > LONGEST_GAP_MS) return { now, seenMs };
    for (const source of sources) seenMs.set(source, (seenMs.get(source) ?? 0) + gapMs);
    return { now, seenMs };
  }

  /** Adds what rules have to judge, beside any change of a watch. */
  async enter(entries: readonly AlertEntry[]): Promise<void> {
    const planKeys = new PlanKeys(this.keys);
    const effects = JSON.stringify({
      clock: planKeys.declare(this.keys.clock),
      judged: inboxPlan(planKeys, entries),
      ...deliveryPlan(planKeys, []),
    });
    await RAISE_EVENT.run(this.redis, {}, { effects }, { further: planKeys.declared });
  }

  /** Which form of each deadline rule has been applied to the runs that go on. */
  async appliedDeadlines(): Promise<Record<string, string>> {
    return this.redis.hgetall(this.keys.alertDeadlineRules);
  }

  /** Sets deadlines of runs that go on, by their members. */
  async setDeadlines(deadlines: ReadonlyMap<string, number>): Promise<void> {
    const flat = [...deadlines].flatMap(([member, at]) => [Math.round(at), member]);
    if (flat.length > 0) await this.redis.zadd(this.keys.alertDeadlines, ...flat);
  }

  /** Notes the forms of the deadline rules that are applied, and forgets those of others. */
  async noteDeadlines(forms: Readonly<Record<string, string>>): Promise<void> {
    const { alertDeadlineRules: key } = this.keys;
    const transaction = this.redis.multi().del(key);
    if (Object.keys(forms).length > 0) transaction.hset(key, forms);
    await replies(transaction);
  }

  /** Groups by their keys, each with the version that a write must find. */
  async groups(wanted: readonly string[]): Promise<Map<string, ReadGroup>> {
    if (wanted.length === 0) return new Map();
    const pipeline = this.redis.pipeline();
    for (const group of wanted) pipeline.hmget(this.keys.alertGroup(group), 'version', 'doc');
    const found = await replies<[string | null, string | null]>(pipeline);
    return new Map(
      wanted.map((key, at) => {
        const [version, doc] = found[at] ?? [null, null];
        return [key, { version: version ?? '', group: jsonOrNull(doc) as Group | null }];
      }),
    );
  }

  /** How many groups there are of some owners: see `ownersOf` of `core/alert/judgement.ts`. */
  async groupCounts(owners: readonly string[]): Promise<Map<string, number>> {
    if (owners.length === 0) return new Map();
    const pipeline = this.redis.pipeline();
    for (const owner of owners) pipeline.zcard(this.keys.alertGroups(owner));
    const counts = await replies<number>(pipeline);
    return new Map(owners.map((owner, at) => [owner, counts[at] ?? 0]));
  }

  /** One atomic step. @returns the pools at which deliveries are due now; null on a conflict */
  commit(commit: AlertCommit): Promise<string[] | null> {
    const planKeys = new PlanKeys(this.keys);
    const plan = JSON.stringify(alertPlan(planKeys, commit));
    return COMMIT.run(this.redis, {}, { plan }, { further: planKeys.declared });
  }

  /** Makes groups due now. */
  async expedite(groups: readonly string[]): Promise<void> {
    const flat = groups.flatMap((group) => [0, group]);
    if (flat.length > 0) await this.redis.zadd(this.keys.alertsDue, ...flat);
  }

  async get(id: string): Promise<Alert | null> {
    return (await this.getMany([id]))[0] ?? null;
  }

  /** Alerts by their ids, in order; those that are gone are missing. */
  async getMany(ids: readonly string[]): Promise<Alert[]> {
    if (ids.length === 0) return [];
    const pipeline = this.redis.pipeline();
    for (const id of ids) {
      pipeline.hget(this.keys.alertGroup(groupOfAlert(id) ?? ''), 'doc');
      pipeline.get(this.keys.resolvedAlert(id));
    }
    const found = await replies<string | null>(pipeline);
    return ids.flatMap((id, at) => {
      const group = jsonOrNull(found[2 * at] ?? null) as Group | null;
      if (group?.open?.alert.id === id) return [group.open.alert];
      return (jsonOrNull(found[2 * at + 1] ?? null) as Alert | null) ?? [];
    });
  }

  /** Newest first unless asked otherwise. Throws RunwatchError `invalid_cursor`, `stale_cursor`. */
  async list(query: AlertQuery): Promise<{ items: Alert[]; nextCursor: string | null }> {
    const { state = ALERT_STATES, rule, sources, order = 'newest', limit, cursor, ...rest } = query;
    rest satisfies Record<string, never>;
    const { from, cursorAt } = await openTimeCursor(this.redis, this.keys, cursor);
    const indexes = state.flatMap((one) => this.indexes(one, { rule, sources }));
    const pages = await Promise.all(
      indexes.map((index) => this.page(index, { order, from, limit: limit + 1 })),
    );
    const sign = order === 'newest' ? -1 : 1;
    const found = pages.flat().toSorted((a, b) => sign * comparePlaces(a, b));
    const items = await this.getMany(found.slice(0, limit).map(({ id }) => id));
    const last = found[limit - 1];
    const isLast = found.length <= limit || last === undefined;
    return { items, nextCursor: isLast ? null : cursorAt(last) };
  }

  /** The indexes that together hold the alerts in a state. */
  private indexes(state: AlertState, { rule, sources }: AlertSet): string[] {
    const filters = sources?.map((source) => ({ rule, source })) ?? [{ rule }];
    return filters.map((filter) => this.keys.alerts(state, filter));
  }

  /** How many alerts there are in each state, of a rule and of sources where these are given. */
  async countByState(asked: AlertSet): Promise<Record<AlertState, number>> {
    const counts = await Promise.all(
      ALERT_STATES.map(async (state) => {
        const sizes = this.indexes(state, asked).map((index) => this.redis.zcard(index));
        return [state, sum(await Promise.all(sizes))] as const;
      }),
    );
    return Object.fromEntries(counts) as Record<AlertState, number>;
  }

  /** A page of one index. Ids of the same time are in the order of their bytes. */
  private async page(
    index: string,
    { order, from, limit }: { order: 'newest' | 'oldest'; from: TimePlace | null; limit: number },
  ): Promise<TimePlace[]> {
    const found: TimePlace[] = [];
    let skip = 0;
    while (found.length < limit) {
      const flat = await this.read(index, { order, at: from?.at ?? null, skip });
      for (let at = 0; at < flat.length; at += 2) {
        const place = { id: flat[at] ?? '', at: Number(flat[at + 1]) };
        if (isBeyond(place, from, order) && found.length < limit) found.push(place);
      }
      if (flat.length < 2 * CHUNK) break;
      skip += CHUNK;
    }
    return found;
  }

  private read(
    index: string,
    { order, at, skip }: { order: 'newest' | 'oldest'; at: number | null; skip: number },
  ): Promise<string[]> {
    return order === 'newest'
      ? this.redis.zrevrangebyscore(index, at ?? '+inf', '-inf', 'WITHSCORES', 'LIMIT', skip, CHUNK)
      : this.redis.zrangebyscore(index, at ?? '-inf', '+inf', 'WITHSCORES', 'LIMIT', skip, CHUNK);
  }

  /** How many alerts of some rules there are in a state. */
  async countByRule(
    rules: readonly string[],
  ): Promise<{ rule: string; state: AlertState; count: number }[]> {
    const pairs = rules.flatMap((rule) => ALERT_STATES.map((state) => ({ rule, state })));
    if (pairs.length === 0) return [];
    const pipeline = this.redis.pipeline();
    for (const { rule, state } of pairs) pipeline.zcard(this.keys.alerts(state, { rule }));
    const counts = await replies<number>(pipeline);
    return pairs.map(({ rule, state }, at) => ({ rule, state, count: counts[at] ?? 0 }));
  }

  /** What became of all matching events. */
  async counts(): Promise<Partial<AlertCounts> & { lost?: number }> {
    const fields = await this.redis.hgetall(this.keys.alertCounts);
    return Object.fromEntries(Object.entries(fields).map(([name, n]) => [name, Number(n)]));
  }

  /** Forgets alerts that resolved before a time, and the oldest beyond a number. */
  async forget({ before, keep }: { before: number; keep: number }): Promise<number> {
    const { alertsResolved } = this.keys;
    const surplus = (await this.redis.zcard(alertsResolved)) - keep;
    const [old, beyond] = await Promise.all([
      this.redis.zrangebyscore(alertsResolved, '-inf', before, 'LIMIT', 0, CHUNK),
      surplus > 0 ? this.redis.zrange(alertsResolved, 0, String(Math.min(surplus, CHUNK) - 1)) : [],
    ]);
    const ids = [...new Set([...old, ...beyond])];
    if (ids.length === 0) return 0;
    const known = new Map((await this.getMany(ids)).map((alert) => [alert.id, alert]));
    const planKeys = new PlanKeys(this.keys);
    const { declare, declareAll } = planKeys;
    const alerts = ids.map((id) => ({
      id,
      key: declare(this.keys.resolvedAlert(id)),
      indexes: declareAll([this.keys.alerts('resolved'), ...indexesOf(this.keys, known.get(id))]),
    }));
    await FORGET.run(
      this.redis,
      { resolved: alertsResolved },
      { alerts: JSON.stringify(alerts) },
      { further: planKeys.declared },
    );
    return ids.length;
  }
}

/** For how long the message of an alert is remembered after its last change, ms. */
const KEPT_MS = 30 * 86_400_000;

/** Which message at a destination shows an alert, so that the next one updates it. */
export class AlertMessageStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  async get(endpoint: string, alertId: string): Promise<string | null> {
    return this.redis.get(this.keys.alertMessage(endpoint, alertId));
  }

  async put(endpoint: string, alertId: string, message: string): Promise<void> {
    await this.redis.set(this.keys.alertMessage(endpoint, alertId), message, 'PX', KEPT_MS);
  }
}

function pairsOf(flat: readonly string[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (let at = 0; at < flat.length; at += 2) pairs.push([flat[at] ?? '', flat[at + 1] ?? '']);
  return pairs;
}

function seenOf(times: readonly (readonly [string, string])[]): Map<string, number> {
  return new Map(
    times.flatMap(([field, ms]) =>
      field.startsWith(SEEN) ? [[field.slice(SEEN.length), Number(ms)] as const] : [],
    ),
  );
}

/** A group of which nothing is due is kept for this long at the most, ms. */
const LONGEST_KEPT_MS = 30 * 86_400_000;

/** What {@link COMMIT} needs. */
function alertPlan(planKeys: PlanKeys, commit: AlertCommit) {
  const { keys, declare } = planKeys;
  const { read, changed, counts, events, resolved } = commit;
  const { judged = [], deadlines = new Map<string, number | null>() } = commit;
  const owners = (group: Group | null) =>
    group === null ? [] : ownersOf(group).map((owner) => declare(keys.alertGroups(owner)));
  return {
    ...(commit.token !== null && { lease: declare(keys.alertLease), token: commit.token }),
    inbox: declare(keys.alertInbox),
    due: declare(keys.alertsDue),
    deadlinesKey: declare(keys.alertDeadlines),
    alertsResolved: declare(keys.alertsResolved),
    countsKey: declare(keys.alertCounts),
    first: judged[0] ?? '',
    judged: judged.length,
    owners: [
      ...new Set(changed.flatMap(({ before, after }) => [...owners(before), ...owners(after)])),
    ],
    groups: changed.map(({ key, before, after, dueAt, keptMs }) => ({
      id: key,
      key: declare(keys.alertGroup(key)),
      left: owners(before).filter((owner) => !owners(after).includes(owner)),
      owners: owners(after),
      before: read.get(key)?.version ?? '',
      version: newVersion(),
      ...(after !== null && { doc: JSON.stringify(after) }),
      ...(dueAt === null
        ? { keptMs: Math.ceil(Math.min(keptMs, LONGEST_KEPT_MS)) }
        : { dueAt: Math.ceil(dueAt) }),
    })),
    deadlines: [...deadlines].map(([member, at]) =>
      at === null ? { member } : { member, at: Math.ceil(at) },
    ),
    moves: movesOf(planKeys, changed, resolved),
    resolved: resolved.map((alert) => ({
      id: alert.id,
      at: alert.resolvedAt ?? 0,
      key: declare(keys.resolvedAlert(alert.id)),
      doc: JSON.stringify(alert),
    })),
    counts: Object.entries(counts)
      .filter(([, by]) => by !== 0)
      .map(([field, by]) => ({ field, by })),
    clock: declare(keys.clock),
    raised: raisedPlan(planKeys, events),
    audited: auditPlan(planKeys, commit.audit),
  };
}

/** The indexes that alerts leave and enter. */
function movesOf(
  { keys, declareAll }: PlanKeys,
  changed: readonly ChangedGroup[],
  resolved: readonly Alert[],
) {
  const [before, after] = [new Map<string, Alert>(), new Map<string, Alert>()];
  for (const group of changed) {
    if (group.before?.open) before.set(group.before.open.alert.id, group.before.open.alert);
    if (group.after?.open) after.set(group.after.open.alert.id, group.after.open.alert);
  }
  for (const alert of resolved) after.set(alert.id, alert);
  return [...new Set([...before.keys(), ...after.keys()])].flatMap((id) => {
    const [old, now] = [before.get(id), after.get(id)];
    if (old?.state === now?.state) return [];
    const startedAt = now?.startedAt ?? 0;
    return [
      {
        id,
        startedAt,
        leave: declareAll(indexesOf(keys, old)),
        enter: declareAll(indexesOf(keys, now)),
      },
    ];
  });
}

function indexesOf(keys: Keys, alert: Alert | undefined): string[] {
  return alert === undefined ? [] : alertIndexes(keys, alert);
}

/** The indexes that an alert belongs in. */
export function alertIndexes(keys: Keys, alert: Alert): string[] {
  const { state, rule, labels } = alert;
  const source = labels['source'];
  const ofRule = [{ rule }, ...(source === undefined ? [] : [{ rule, source }])];
  const ofAll = [{}, ...(source === undefined ? [] : [{ source }])];
  const filters = isSilent(rule) ? ofRule : [...ofAll, ...ofRule];
  return filters.map((filter) => keys.alerts(state, filter));
}
