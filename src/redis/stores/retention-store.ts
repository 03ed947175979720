import type { Redis } from 'ioredis';
import type { StoredDelivery } from '../../core/delivery/delivery.ts';
import { isOutstanding } from '../../core/delivery/state.ts';
import type { OwnEvent } from '../../core/event/event.ts';
import { parseWatchId, watchId, type WatchKey } from '../../core/watch/watch.ts';
import { deliveryIndexes, eventIndexes, ownEventIndexes } from '../indexes.ts';
import { countField, PlanKeys, type Keys } from '../keys.ts';
import { replies } from '../connection.ts';
import { isOutage } from '../failures.ts';
import { COUNT, IS_UNCHANGED, NUMBERS } from '../lua/numbers.ts';
import { PUT_OFF } from '../lua/times.ts';
import { script } from '../script.ts';
import { liveDeliveriesOf } from './event-plan.ts';
import { IDENTITY_LENGTH, isOverLive } from './watch-record.ts';
import type { DeliveryStore } from './delivery-store.ts';
import { HistoryReader } from './history-reader.ts';
import type { Forgetting, HistoryStore } from './history-store.ts';

/** Events about no run that are kept: of alerts, and about runwatch itself. */
const MOST_OWN_EVENTS = 100_000;

/** Things forgotten in one go; `daemon/janitor.ts` says how often, and what is past its retention. */
const CHUNK = 200;

/** Watches forgotten at a time: one after the other, round trips would bound how many a day can have. */
const AT_ONCE = 20;

/** Tries to forget a watch that other processes change meanwhile. */
const TRIES = 3;

/** What one go of forgetting came to. */
export interface Forgotten {
  forgotten: number;
  /** False once nothing is left, or nothing that may go yet. */
  mayGoOn: boolean;
  /** Why some could not be forgotten, such as a record that cannot be read. */
  failures: unknown[];
}

const NOTHING: Forgotten = { forgotten: 0, mayGoOn: false, failures: [] };

/** A settled delivery: live, or of a packed watch, by its number. */
type Settled = { at: number } & ({ stored: StoredDelivery } | { watch: WatchKey; number: number });

/** Forgets events of a live watch, unless it has changed since it was read. Says whether they are forgotten. */
const FORGET_EVENTS = script(
  'rwForgetEvents',
  { keys: ['liveEvents'], args: ['plan'], reply: (forgotten: number) => forgotten === 1 },
  `
${NUMBERS}
${IS_UNCHANGED}
local plan = cjson.decode(args.plan)
if not isUnchanged(plan.watch.key, plan.watch.identity) then return 0 end
for _, event in ipairs(plan.events) do
  leaveNumber(plan.eventLog, event.indexes, event.place)
  redis.call('DEL', event.key)
  redis.call('ZREM', keys.liveEvents, event.id)
end
return 1
`,
);

/** Forgets events that are about no run. The text of one is kept while it has deliveries. */
const FORGET_OWN_EVENTS = script(
  'rwForgetOwnEvents',
  { keys: ['ownEvents'], args: ['plan'] },
  `
${NUMBERS}
local plan = cjson.decode(args.plan)
for _, event in ipairs(plan.events) do
  if redis.call('ZSCORE', keys.ownEvents, event.id) then
    if event.place then leaveNumber(plan.eventLog, event.indexes, event.place) end
    if redis.call('EXISTS', event.live) == 0 then redis.call('DEL', event.key) end
    redis.call('ZREM', keys.ownEvents, event.id)
  end
end
`,
);

/**
 * Forgets live deliveries that have settled; those that are pending, or unknown, are kept. Those of a watch alone are
 * forgotten only while it is as it was read. Returns how many were forgotten.
 */
const FORGET_DELIVERIES = script(
  'rwForgetDeliveries',
  {
    keys: ['deliveriesSettled', 'deliveryCounts', 'ownEvents'],
    args: ['plan'],
    reply: (forgotten: number) => forgotten,
  },
  `
${NUMBERS}
${COUNT}
${IS_UNCHANGED}
local plan = cjson.decode(args.plan)
local forgotten = 0
if plan.watch and not isUnchanged(plan.watch.key, plan.watch.identity) then return 0 end
for _, delivery in ipairs(plan.deliveries) do
  local version, number = unpack(redis.call('HMGET', delivery.key, 'version', 'number'))
  local isUnchanged = version == delivery.version and number == delivery.number
  if isUnchanged and redis.call('ZSCORE', keys.deliveriesSettled, delivery.id) then
    leaveNumber(plan.deliveryLog, delivery.indexes, number)
    redis.call('ZREM', delivery.live, delivery.id)
    -- The text of an event that has left the log goes with the last of its deliveries.
    if delivery.event ~= '' and redis.call('EXISTS', delivery.live) == 0
      and not redis.call('ZSCORE', keys.ownEvents, delivery.eventId) then
      redis.call('DEL', delivery.event)
    end
    count(keys.deliveryCounts, 'planned', -1)
    count(keys.deliveryCounts, delivery.count, -1)
    redis.call('DEL', delivery.key, delivery.attempts)
    redis.call('ZREM', keys.deliveriesSettled, delivery.id)
    forgotten = forgotten + 1
  end
end
return forgotten
`,
);

/**
 * Forgets what has been over for long. What is pending is never forgotten. Each step is about one watch,
 * or a bounded number of deliveries. Errors of the connection pass through.
 */
export class RetentionStore {
  private readonly reader: HistoryReader;

  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
    private readonly stores: { history: HistoryStore; deliveries: DeliveryStore },
  ) {
    this.reader = new HistoryReader(redis, keys);
  }

  /** When the watch ended that is forgotten next, ms since the epoch; null where none has ended. */
  async oldestEnd(): Promise<number | null> {
    const [, at] = await this.redis.zrange(this.keys.watchesEnded, 0, '0', 'WITHSCORES');
    return at === undefined ? null : Number(at);
  }

  /** Forgets deliveries that settled before a time. */
  async forgetDeliveries(before: number): Promise<Forgotten> {
    const { deliveriesSettled } = this.keys;
    const members = await this.redis.zrangebyscore(
      deliveriesSettled,
      '-inf',
      before,
      'WITHSCORES',
      'LIMIT',
      0,
      CHUNK,
    );
    return this.forgetSettled(members, { until: before, most: Infinity });
  }

  /** Forgets the longest settled deliveries beyond a number that is kept. */
  async forgetDeliveriesBeyond(kept: number): Promise<Forgotten> {
    const { planned, byState } = await this.stores.deliveries.counts();
    const surplus = planned - byState.pending - byState.parked - kept;
    if (surplus <= 0) return NOTHING;
    const { deliveriesSettled } = this.keys;
    const members = await this.redis.zrange(deliveriesSettled, 0, String(CHUNK - 1), 'WITHSCORES');
    // Those of packed watches that settled after the last of these have others before them.
    const until = members.length < 2 * CHUNK ? Infinity : Number(members.at(-1));
    return this.forgetSettled(members, { until, most: surplus });
  }

  /** Forgets events about no run that were written before a time, and the oldest beyond a number. */
  async forgetOwnEvents(before: number): Promise<Forgotten> {
    const { ownEvents, eventLog } = this.keys;
    const surplus = (await this.redis.zcard(ownEvents)) - MOST_OWN_EVENTS;
    const [old, beyond] = await Promise.all([
      this.redis.zrangebyscore(ownEvents, '-inf', before, 'LIMIT', 0, CHUNK),
      surplus > 0 ? this.redis.zrange(ownEvents, 0, String(Math.min(surplus, CHUNK) - 1)) : [],
    ]);
    const ids = [...new Set([...old, ...beyond])];
    if (ids.length === 0) return NOTHING;
    const pipeline = this.redis.pipeline();
    for (const id of ids) pipeline.hmget(this.keys.event(id), 'place', 'body');
    const found = await replies<[string | null, string | null]>(pipeline);
    const planKeys = new PlanKeys(this.keys);
    const { declare, declareAll } = planKeys;
    const events = ids.map((id, at) => {
      const [place, body] = found[at] ?? [null, null];
      const indexes = body === null ? [] : ownEventIndexes(this.keys, JSON.parse(body) as OwnEvent);
      return {
        id,
        key: declare(this.keys.event(id)),
        live: declare(this.keys.deliveriesOfEvent(id)),
        indexes: declareAll(indexes),
        ...(place !== null && { place: Number(place) }),
      };
    });
    await FORGET_OWN_EVENTS.run(
      this.redis,
      { ownEvents },
      { plan: JSON.stringify({ eventLog, events }) },
      { further: planKeys.declared },
    );
    return { forgotten: ids.length, mayGoOn: ids.length >= CHUNK, failures: [] };
  }

  /**
   * Forgets watches that ended before a time, with their events and deliveries.
   * @param againAfterMs for how long a watch that must remain, or fails, is deferred, so that it does not
   *   stand in the way of the others
   */
  async forgetWatches(before: number, againAfterMs: number): Promise<Forgotten> {
    const { watchesEnded } = this.keys;
    const ended = await this.redis.zrangebyscore(watchesEnded, '-inf', before, 'LIMIT', 0, CHUNK);
    const watches = await this.watchesOf(ended);
    const failures: unknown[] = [];
    let forgotten = 0;
    for (let at = 0; at < ended.length; at += AT_ONCE) {
      const some = ended.slice(at, at + AT_ONCE);
      const gone = await Promise.all(
        some.map(async (number, index) => {
          const watch = watches[at + index] ?? null;
          const result =
            watch === null
              ? 'unknown'
              : await this.forget(watch, { number }).catch(notedIn(failures, 'kept'));
          if (result === 'unknown') await this.redis.zrem(watchesEnded, number);
          if (result !== 'kept') return result;
          const again = { member: number, at: before + againAfterMs };
          await PUT_OFF.run(this.redis, { times: watchesEnded }, again);
          return result;
        }),
      );
      forgotten += gone.filter((result) => result === 'forgotten').length;
    }
    return { forgotten, mayGoOn: ended.length === CHUNK, failures };
  }

  /**
   * Forgets a watch with its events and deliveries; `kept` while it is active, or a delivery is
   * outstanding. It is packed first, whatever its size, so that it goes by one step.
   * @param number of the watch that is meant; one that was registered again since is `kept`
   */
  async forget(
    key: WatchKey,
    { number, ...by }: { number?: string } & Forgetting = {},
  ): Promise<'forgotten' | 'kept' | 'unknown'> {
    const { history } = this.stores;
    for (let tries = 0; tries < TRIES; tries += 1) {
      if (number !== undefined && (await history.numberOf(key)) !== number) return 'kept';
      const result = await history.pack(key, { isForced: true });
      if (result === 'kept' || result === 'unknown') return result;
      if (result === 'long' && !(await this.shorten(key))) return 'kept';
      if (result !== 'packed') continue;
      if (await this.forgetPacked(key, number, by)) return 'forgotten';
    }
    return 'kept';
  }

  private async forgetPacked(
    key: WatchKey,
    number: string | undefined,
    by: Forgetting,
  ): Promise<boolean> {
    const { history } = this.stores;
    const packed = await history.packed(key);
    if (packed === null || (number !== undefined && packed.number !== number)) return false;
    return history.forget(packed, by);
  }

  /**
   * Forgets the settled deliveries and the events of a live watch that has too many to be packed. Says whether all
   * are: what is registered again meanwhile is left alone.
   */
  private async shorten(key: WatchKey): Promise<boolean> {
    const head = await this.redis.getrange(this.keys.watch(key), 0, IDENTITY_LENGTH);
    if (!isOverLive(head)) return false;
    const watch = { key: this.keys.watch(key), identity: head.slice(0, IDENTITY_LENGTH) };
    const all = { order: 'oldest' as const, limit: CHUNK };
    for (;;) {
      const { items } = await this.reader.deliveries([key], { ...all, matches: () => true });
      if (items.some(({ item }) => isOutstanding(item.delivery.state))) return false;
      if (items.length === 0) break;
      const forgotten = await this.forgetLive(
        items.map(({ item }) => item),
        watch,
      );
      if (forgotten === 0) return false;
    }
    for (;;) {
      const { items } = await this.reader.events([key], { ...all, matches: () => true });
      if (items.length === 0) return true;
      const planKeys = new PlanKeys(this.keys);
      const { declare, declareAll } = planKeys;
      const events = items.map(({ number, item }) => ({
        id: item.id,
        key: declare(this.keys.event(item.id)),
        place: number,
        indexes: declareAll(eventIndexes(this.keys, item)),
      }));
      declare(watch.key);
      const isForgotten = await FORGET_EVENTS.run(
        this.redis,
        { liveEvents: this.keys.liveEvents(watchId(key)) },
        { plan: JSON.stringify({ eventLog: this.keys.eventLog, events, watch }) },
        { further: planKeys.declared },
      );
      if (!isForgotten) return false;
    }
  }

  /** The watches of numbers; null for those that there are no more. */
  private async watchesOf(numbers: readonly string[]): Promise<(WatchKey | null)[]> {
    const pipeline = this.redis.pipeline();
    for (const number of numbers) {
      const place = Number(number);
      const chunk = `${this.keys.watchNames}${Math.floor(place / 128)}`;
      pipeline.hget(chunk, String(place % 128));
    }
    const names = await replies<string | null>(pipeline);
    return names.map((name) => (name === null ? null : parseWatchId(name)));
  }

  /** Forgets what is left of settled deliveries, also of those without a record. */
  private async forgetSettled(
    flat: readonly string[],
    { until, most }: { until: number; most: number },
  ): Promise<Forgotten> {
    const members = flat.filter((_, at) => at % 2 === 0);
    const failures: unknown[] = [];
    const { found, lost } = await this.settledAmong(flat, until, failures);
    if (lost.length > 0) await this.redis.zrem(this.keys.deliveriesSettled, ...lost);
    const oldest = found.sort((a, b) => a.at - b.at).slice(0, most);
    const live = oldest.flatMap((one) => ('stored' in one ? [one.stored] : []));
    let forgotten = await this.forgetLive(live);
    for (const { watch, numbers } of byWatch(oldest)) {
      const packed = await this.stores.history.packed(watch);
      if (packed === null) continue;
      forgotten += await this.stores.history.dropDeliveries(packed, numbers);
    }
    const mayGoOn = members.length === CHUNK && forgotten + lost.length > 0;
    return { forgotten, mayGoOn, failures };
  }

  /** Deliveries that settled by a time, and members that stand for none any more. */
  private async settledAmong(flat: readonly string[], until: number, failures: unknown[]) {
    const numbers: string[] = [];
    const ids = new Map<string, number>();
    for (let at = 0; at < flat.length; at += 2) {
      const member = flat[at] ?? '';
      if (/^\d+$/.test(member)) numbers.push(member);
      else ids.set(member, Number(flat[at + 1]));
    }
    const live = await this.liveAmong(ids, failures);
    const watches = await this.watchesOf(numbers);
    const found: Settled[] = live.found;
    for (const watch of watches) {
      const packed =
        watch === null
          ? null
          : await this.stores.history.packed(watch).catch(notedIn(failures, null));
      for (const { number, settledAt } of packed?.history.deliveries ?? []) {
        const at = settledAt ?? 0;
        if (watch !== null && at <= until) found.push({ watch, number, at });
      }
    }
    return { found, lost: [...live.lost, ...numbers.filter((_, at) => watches[at] === null)] };
  }

  private async liveAmong(settledAt: ReadonlyMap<string, number>, failures: unknown[]) {
    const found: Settled[] = [];
    const lost: string[] = [];
    await Promise.all(
      [...settledAt].map(async ([id, at]) => {
        const stored = await this.stores.deliveries
          .get(id)
          .catch(notedIn(failures, 'unread' as const));
        if (stored === null) lost.push(id);
        else if (stored !== 'unread') found.push({ stored, at });
      }),
    );
    return { found, lost };
  }

  /** @param watch that all of them belong to: they are forgotten only while it is as it was read */
  private async forgetLive(
    deliveries: readonly StoredDelivery[],
    watch?: { key: string; identity: string },
  ): Promise<number> {
    if (deliveries.length === 0) return 0;
    const planKeys = new PlanKeys(this.keys);
    const { declare, declareAll } = planKeys;
    if (watch !== undefined) declare(watch.key);
    const plan = JSON.stringify({
      watch,
      deliveryLog: this.keys.deliveryLog,
      deliveries: deliveries.map(({ delivery, version, number }) => ({
        id: delivery.id,
        version: String(version),
        number: String(number),
        key: declare(this.keys.delivery(delivery.id)),
        attempts: declare(this.keys.attempts(delivery.id)),
        event: delivery.runId === '' ? declare(this.keys.event(delivery.eventId)) : '',
        eventId: delivery.eventId,
        live: declare(liveDeliveriesOf(this.keys, delivery)),
        indexes: declareAll(deliveryIndexes(this.keys, delivery)),
        count: countField(delivery),
      })),
    });
    const further = planKeys.declared;
    return FORGET_DELIVERIES.run(this.redis, this.keys, { plan }, { further });
  }
}

/** Notes an error in place of a result, so that the rest is done. An outage stops it all the same. */
function notedIn<Instead>(failures: unknown[], instead: Instead): (error: unknown) => Instead {
  return (error) => {
    if (error instanceof Error && isOutage(error)) throw error;
    failures.push(error);
    return instead;
  };
}

/** The numbers of deliveries of packed watches, by watch. */
function byWatch(settled: readonly Settled[]): { watch: WatchKey; numbers: Set<number> }[] {
  const found = new Map<string, { watch: WatchKey; numbers: Set<number> }>();
  for (const one of settled) {
    if ('stored' in one) continue;
    const id = watchId(one.watch);
    const entry = found.get(id) ?? { watch: one.watch, numbers: new Set() };
    entry.numbers.add(one.number);
    found.set(id, entry);
  }
  return [...found.values()];
}
