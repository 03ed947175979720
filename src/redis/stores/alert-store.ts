import type { Redis } from 'ioredis';
import {
  ALERT_STATES,
  groupOfAlert,
  type Alert,
  type AlertCounts,
  type AlertQuery,
  type AlertState,
} from '../../core/alert/alert.ts';
import type { AlertEntry } from '../../core/alert/entry.ts';
import {
  ownersOf,
  type AlertCommit,
  type AlertWork,
  type ChangedGroup,
  type ReadGroup,
} from '../../core/alert/judgement.ts';
import type { Group } from '../../core/alert/group.ts';
import { jsonOrNull, replies } from '../connection.ts';
import { invalidCursor, presentEpoch, staleCursor } from '../cursor.ts';
import { declaredKeys, type Keys } from '../keys.ts';
import { Lease } from '../leases.ts';
import { newVersion } from '../versions.ts';
import { deliveryPlan, inboxPlan, raisedPlan } from './event-plan.ts';

/** The longest time between two calls in which sources were seen, ms. */
const LONGEST_GAP_MS = 15_000;

const SEEN = 'seen ';

/** Alerts read by one command. */
const CHUNK = 200;

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
    const reply = await this.redis.rwTakeAlertWork(
      keys.clock,
      keys.alertLease,
      keys.alertInbox,
      keys.alertsDue,
      keys.alertDeadlines,
      keys.alertSeen,
      token,
      leaseMs,
      entries,
      groups,
      LONGEST_GAP_MS,
      JSON.stringify(seen),
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

  /** The store's time, and for how long sources were seen. */
  async seen(): Promise<Pick<AlertWork, 'now' | 'seenMs'>> {
    const [[now], times] = await Promise.all([
      this.redis.rwReadClock(this.keys.clock),
      this.redis.hgetall(this.keys.alertSeen),
    ]);
    return { now, seenMs: seenOf(Object.entries(times)) };
  }

  /** Adds what rules have to judge, beside any change of a watch. */
  async enter(entries: readonly AlertEntry[]): Promise<void> {
    const { keys } = this;
    const inbox = {
      clock: keys.clock,
      judged: inboxPlan(keys, entries),
      ...deliveryPlan(keys, []),
    };
    await this.redis.rwRaiseEvent(...declaredKeys(keys, [], inbox), JSON.stringify(inbox));
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

  /** Whether anything is to be judged or may become due, though perhaps of no rule. */
  async hasAny(): Promise<boolean> {
    return (await this.redis.exists(this.keys.alertInbox, this.keys.alertsDue)) > 0;
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
  async commit(commit: AlertCommit): Promise<string[] | null> {
    const plan = alertPlan(this.keys, commit);
    const reply = await this.redis.rwCommitAlerts(
      ...declaredKeys(this.keys, [], plan),
      JSON.stringify(plan),
    );
    return typeof reply === 'number' ? null : reply;
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
    const { state: states = ALERT_STATES, rule, sources, order = 'newest', limit } = query;
    const from = openPlace(query.cursor);
    const epoch = presentEpoch(await this.redis.get(this.keys.epochs));
    if (from !== null && from.epoch !== epoch) throw staleCursor();
    const filters = sources?.map((source) => ({ rule, source })) ?? [{ rule }];
    const indexes = states.flatMap((state) =>
      filters.map((filter) => this.keys.alerts(state, filter)),
    );
    const pages = await Promise.all(
      indexes.map((index) => this.page(index, { order, from, limit: limit + 1 })),
    );
    const sign = order === 'newest' ? -1 : 1;
    const found = pages.flat().toSorted((a, b) => sign * compare(a, b));
    const items = await this.getMany(found.slice(0, limit).map(({ id }) => id));
    const last = found[limit - 1];
    const isLast = found.length <= limit || last === undefined;
    return { items, nextCursor: isLast ? null : placeText(epoch, last) };
  }

  /** A page of one index. Ids of the same time are in the order of their bytes. */
  private async page(
    index: string,
    { order, from, limit }: { order: 'newest' | 'oldest'; from: Place | null; limit: number },
  ): Promise<Place[]> {
    const found: Place[] = [];
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
    const alerts = ids.map((id) => ({
      id,
      key: this.keys.resolvedAlert(id),
      indexes: [this.keys.alerts('resolved'), ...indexesOf(this.keys, known.get(id))],
    }));
    const plan = { alerts };
    await this.redis.rwForgetAlerts(
      ...declaredKeys(this.keys, [alertsResolved], plan),
      JSON.stringify(plan),
    );
    return ids.length;
  }
}

interface Place {
  id: string;
  at: number;
}

function compare(a: Place, b: Place): number {
  return a.at - b.at || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

function isBeyond(place: Place, from: Place | null, order: 'newest' | 'oldest'): boolean {
  if (from === null) return true;
  return order === 'newest' ? compare(place, from) < 0 : compare(place, from) > 0;
}

function placeText(epoch: string, { id, at }: Place): string {
  return Buffer.from(`${epoch} ${at} ${id}`).toString('base64url');
}

function openPlace(cursor: string | undefined): (Place & { epoch: string }) | null {
  if (cursor === undefined) return null;
  const text = Buffer.from(cursor, 'base64url').toString();
  const [, epoch, at, id] = /^([0-9a-z]*) (\d+) (\S+)$/.exec(text) ?? [];
  if (epoch === undefined || at === undefined || id === undefined) throw invalidCursor();
  return { epoch, at: Number(at), id };
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

/** What `COMMIT_ALERTS` of `lua/alert.ts` needs. */
function alertPlan(keys: Keys, commit: AlertCommit) {
  const { read, changed, counts, events, resolved } = commit;
  const { judged = [], deadlines = new Map<string, number | null>() } = commit;
  const owners = (group: Group | null) =>
    group === null ? [] : ownersOf(group).map((owner) => keys.alertGroups(owner));
  return {
    ...(commit.token !== null && { lease: keys.alertLease, token: commit.token }),
    inbox: keys.alertInbox,
    due: keys.alertsDue,
    deadlinesKey: keys.alertDeadlines,
    alertsResolved: keys.alertsResolved,
    countsKey: keys.alertCounts,
    first: judged[0] ?? '',
    judged: judged.length,
    owners: [
      ...new Set(changed.flatMap(({ before, after }) => [...owners(before), ...owners(after)])),
    ],
    groups: changed.map(({ key, before, after, dueAt, keptMs }) => ({
      id: key,
      key: keys.alertGroup(key),
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
    moves: movesOf(keys, changed, resolved),
    resolved: resolved.map((alert) => ({
      id: alert.id,
      at: alert.resolvedAt ?? 0,
      key: keys.resolvedAlert(alert.id),
      doc: JSON.stringify(alert),
    })),
    counts: Object.entries(counts)
      .filter(([, by]) => by !== 0)
      .map(([field, by]) => ({ field, by })),
    clock: keys.clock,
    raised: raisedPlan(keys, events),
  };
}

/** The indexes that alerts leave and enter. */
function movesOf(keys: Keys, changed: readonly ChangedGroup[], resolved: readonly Alert[]) {
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
    return [{ id, startedAt, leave: indexesOf(keys, old), enter: indexesOf(keys, now) }];
  });
}

function indexesOf(keys: Keys, alert: Alert | undefined): string[] {
  if (alert === undefined) return [];
  const { state, rule, labels } = alert;
  const source = labels['source'];
  const own = source === undefined ? [] : [{ source }, { rule, source }];
  return [{}, { rule }, ...own].map((filter) => keys.alerts(state, filter));
}
