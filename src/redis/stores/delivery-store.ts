import type { Redis } from 'ioredis';
import {
  DELIVERY_STATES,
  noDeliveries,
  sourcesOfDelivery,
  type Attempt,
  type Delivery,
  type DeliveryFilter,
  type DeliveryState,
  type StoredDelivery,
} from '../../core/delivery/delivery.ts';
import { isOutstanding } from '../../core/delivery/state.ts';
import { shownReceiver, type Receiver } from '../../core/delivery/receiver.ts';
import { watchOfDelivery, watchOfEvent } from '../../core/event/ids.ts';
import type { CountedPage } from '../../core/page.ts';
import { watchId, type WatchKey } from '../../core/watch/watch.ts';
import { openCursor } from '../cursor.ts';
import { receiverNames } from '../indexes.ts';
import { parseCountField, type Keys } from '../keys.ts';
import {
  countedNumbers,
  filterFields,
  findNumbers,
  MOST_COUNTED,
  readableSources,
  readNumbers,
  walkNumbers,
  type NumberQuery,
} from '../numbers.ts';
import type { NumberedId } from './outbox-store.ts';
import { HistoryReader, readRows } from './history-reader.ts';
import type { HistoryStore } from './history-store.ts';
import { isWithin, numbersSince, numbersWithin, type TimeRange } from './number-times.ts';

type StoredFilter = DeliveryFilter & TimeRange;

interface PageOptions {
  limit: number;
  cursor?: string | undefined;
}

/** Deliveries read to count those to one receiver, and how many of them in one go. */
const COUNTED_AT_MOST = 10_000;
const COUNTED_AT_ONCE = 500;

/** Deliveries to an endpoint that are in one state. */
export interface Backlog {
  endpoint: string;
  count: number;
  /** There are more. */
  isCapped: boolean;
  /** When the oldest was created, ms since the epoch; null for none. */
  oldest: number | null;
}

/** How many deliveries there are. Those by state always add up to the planned ones. */
export interface DeliveryCounts {
  /** Pairs of event and subscription. */
  planned: number;
  byState: Record<DeliveryState, number>;
  byEndpoint: Map<string, Record<DeliveryState, number>>;
}

/** Deliveries in Redis. Errors of the connection pass through. */
export class DeliveryStore {
  private readonly reader: HistoryReader;

  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
    private readonly history: HistoryStore,
  ) {
    this.reader = new HistoryReader(redis, keys);
  }

  async get(id: string): Promise<StoredDelivery | null> {
    const hash = this.keys.delivery(id);
    const found = await this.reader.one(hash, watchOfDelivery(id), ['version', 'number', 'doc']);
    if (found === null) return null;
    if (found.is === 'live') {
      const [version, number, doc = ''] = found.fields;
      return {
        version: Number(version),
        number: Number(number),
        delivery: JSON.parse(doc) as Delivery,
      };
    }
    const kept = found.history.deliveries.find(({ delivery }) => delivery.id === id);
    if (kept === undefined) return null;
    const { version, number, delivery } = kept;
    return { version, number, delivery };
  }

  async getMany(ids: readonly string[]): Promise<(StoredDelivery | null)[]> {
    return Promise.all(ids.map((id) => this.get(id)));
  }

  /** What was tried so far; once a watch is packed, answers are kept of dead deliveries alone. */
  async attempts(id: string): Promise<Attempt[]> {
    const texts = await this.redis.lrange(this.keys.attempts(id), 0, -1);
    if (texts.length > 0) return texts.map((text) => JSON.parse(text) as Attempt);
    const watch = watchOfDelivery(id);
    const packed = watch === null ? null : await this.history.packed(watch);
    return packed?.history.deliveries.find(({ delivery }) => delivery.id === id)?.attempts ?? [];
  }

  /** The oldest outstanding deliveries of a watch. */
  async outstandingOf(watch: WatchKey, limit: number): Promise<StoredDelivery[]> {
    const { items } = await this.reader.deliveries([watch], {
      order: 'oldest',
      limit,
      matches: ({ delivery }) => isOutstanding(delivery.state),
    });
    return items.map(({ item }) => item);
  }

  /** Newest first. Throws RunwatchError `invalid_cursor`, `stale_cursor`. */
  async list(filter: StoredFilter, { limit, cursor }: PageOptions): Promise<CountedPage<Delivery>> {
    const { redis, keys } = this;
    const { from, cursorAt } = await openCursor(redis, keys, keys.deliveryNumber, cursor);
    const isOfFew = filter.runs !== undefined || filter.eventId !== undefined;
    const found = isOfFew
      ? await this.ofFew(filter, { limit, from })
      : await this.ofAll(filter, { limit, from });
    const { items, next, total, isCapped } = found;
    return {
      items: items.map(({ item: { delivery } }) => delivery),
      nextCursor: next === null ? null : cursorAt(next),
      total,
      isCapped,
    };
  }

  private async ofAll(filter: StoredFilter, page: { limit: number; from: string | undefined }) {
    const { redis, keys } = this;
    const query = { ...page, ...(await this.queryOf(filter)) };
    const { numbers, ...found } = await countedNumbers(redis, keys, query);
    const rows = await readNumbers(redis, keys, 'delivery', numbers);
    return { items: readRows('delivery', rows), ...found };
  }

  private async queryOf(filter: Omit<StoredFilter, 'runs' | 'eventId'>) {
    const { redis, keys } = this;
    const { state = DELIVERY_STATES, endpoint, sources, since, until, ...rest } = filter;
    rest satisfies Record<string, never>;
    const endpoints = endpoint === undefined ? undefined : [endpoint];
    return {
      kind: 'delivery' as const,
      fields: filterFields(keys.deliveries, {
        state,
        endpoint: endpoints,
        source: await readableSources(redis, keys, sources),
      }),
      within: await numbersWithin(redis, keys, { since, until }),
    };
  }

  /** Of one event, or of some runs: so few that all are read. */
  private async ofFew(
    filter: StoredFilter,
    { limit, from }: { limit: number; from: string | undefined },
  ) {
    const { items, next } = await this.allOfFew(filter);
    const left = items.filter(({ number }) => from === undefined || number < Number(from));
    const page = left.slice(0, limit);
    return {
      items: page,
      next: left.length > limit ? String(page.at(-1)?.number ?? 0) : null,
      total: items.length,
      isCapped: next !== null,
    };
  }

  private async allOfFew(filter: StoredFilter) {
    const { runs = [], eventId } = filter;
    const ofEvent = eventId === undefined ? null : watchOfEvent(eventId);
    if (eventId !== undefined && ofEvent === null) return this.ofSystemEvent(eventId, filter);
    const watches = ofEvent === null ? runs : [ofEvent];
    const matches = ({ delivery }: StoredDelivery) => isWanted(delivery, filter);
    return this.reader.deliveries(watches, { order: 'newest', limit: MOST_COUNTED, matches });
  }

  /** These are never packed, and few: a system event goes to each endpoint once. */
  private async ofSystemEvent(eventId: string, filter: StoredFilter) {
    const flat = await this.redis.zrange(
      this.keys.deliveriesOfEvent(eventId),
      0,
      '-1',
      'WITHSCORES',
    );
    const ids = flat.filter((_, at) => at % 2 === 0);
    const found = await this.getMany(ids);
    const items = found.flatMap((item, at) => {
      const number = Number(flat[2 * at + 1]);
      return item !== null && isWanted(item.delivery, filter) ? [{ number, item }] : [];
    });
    return { items: items.sort((a, b) => b.number - a.number), next: null };
  }

  /** When the oldest delivery was created that waits for an endpoint; null for none. */
  async oldestWaiting(endpoint: string, sources?: readonly string[]): Promise<number | null> {
    const waiting = ['pending', 'parked'] as const;
    return this.oldest(
      await this.queryOf({ state: waiting, endpoint, ...(sources && { sources }) }),
    );
  }

  /** The deliveries to an endpoint in a state that were created since a time: up to 10,000. */
  async backlog(state: DeliveryState, endpoint: string, since: number): Promise<Backlog> {
    const { redis, keys } = this;
    const filter = { state: [state], endpoint };
    const query = { ...(await this.queryOf(filter)), order: 'newest' as const };
    const { numbers, next } = await findNumbers(redis, keys, query, MOST_COUNTED);
    const oldest = await this.createdAt(numbers.slice(-1));
    if (oldest !== null && oldest < since) {
      const young = await numbersSince(redis, keys, { numbers, since });
      const first = await this.createdAt(young.slice(-1));
      return { endpoint, count: young.length, isCapped: false, oldest: first };
    }
    const isCapped = next !== null;
    return {
      endpoint,
      count: numbers.length,
      isCapped,
      oldest: isCapped ? await this.oldest(await this.queryOf({ ...filter, since })) : oldest,
    };
  }

  private async oldest(query: Omit<NumberQuery, 'order'>): Promise<number | null> {
    const walk = { ...query, order: 'oldest' as const };
    const { numbers } = await findNumbers(this.redis, this.keys, walk, 1);
    return this.createdAt(numbers);
  }

  /** When the first of some deliveries was created; null for none. */
  private async createdAt(numbers: readonly number[]): Promise<number | null> {
    const rows = await readNumbers(this.redis, this.keys, 'delivery', numbers);
    const [first] = readRows('delivery', rows);
    return first?.item.delivery.createdAt ?? null;
  }

  /** Deliveries that were created within a time, the newest first, a chunk of ids and endpoints at a time. */
  async *created(
    filter: Omit<StoredFilter, 'runs' | 'eventId'>,
    chunk: number,
  ): AsyncIterable<(NumberedId & Pick<Delivery, 'endpoint'>)[]> {
    const query = await this.queryOf(filter);
    let from: string | undefined;
    do {
      const walk = { ...query, order: 'newest' as const, limit: chunk, from };
      const { rows, next } = await walkNumbers(this.redis, this.keys, walk);
      yield readRows('delivery', rows).map(({ number, item: { delivery } }) => ({
        id: delivery.id,
        number: String(number),
        endpoint: delivery.endpoint,
      }));
      from = next ?? undefined;
    } while (from !== undefined);
  }

  /**
   * Deliveries to a webhook of watches, by state: of the newest 10,000. The counters have one entry for
   * all of them together.
   * @param receivers those of its sources, which are shown alike
   */
  async countsAt(receivers: readonly Receiver[]): Promise<Record<DeliveryState, number>> {
    const counts = noDeliveries();
    const endpoint = shownReceiver(receivers[0] ?? '');
    let from: string | undefined;
    const query = { ...(await this.queryOf({ endpoint })), order: 'newest' as const };
    for (let counted = 0; counted < COUNTED_AT_MOST; counted += COUNTED_AT_ONCE) {
      const walk = { ...query, limit: COUNTED_AT_ONCE, from };
      const { rows, next } = await walkNumbers(this.redis, this.keys, walk);
      // Two URLs may share a masked form.
      const own = readRows('delivery', rows).filter(({ item }) =>
        receivers.includes(item.delivery.endpoint),
      );
      for (const { item } of own) counts[item.delivery.state] += 1;
      if (next === null) break;
      from = next;
    }
    return counts;
  }

  /**
   * Deliveries to one endpoint, as it is shown, by state: up to 10,000 of each.
   * @param sources those whose deliveries count; undefined for all
   */
  async countsWithin(
    sources: readonly string[] | undefined,
    endpoint: string,
  ): Promise<Record<DeliveryState, number>> {
    const counts = noDeliveries();
    for (const state of DELIVERY_STATES) {
      const query = await this.queryOf({ state: [state], endpoint, ...(sources && { sources }) });
      counts[state] = (await countedNumbers(this.redis, this.keys, { ...query, limit: 1 })).total;
    }
    return counts;
  }

  async counts(): Promise<DeliveryCounts> {
    const { planned = '0', ...counts } = await this.redis.hgetall(this.keys.deliveryCounts);
    const total: DeliveryCounts = {
      planned: Number(planned),
      byState: noDeliveries(),
      byEndpoint: new Map(),
    };
    for (const [field, count] of Object.entries(counts)) {
      const { state, endpoint } = parseCountField(field);
      const own = total.byEndpoint.get(endpoint) ?? noDeliveries();
      own[state] += Number(count);
      total.byState[state] += Number(count);
      total.byEndpoint.set(endpoint, own);
    }
    return total;
  }
}

function isWanted(
  delivery: Delivery,
  { state, sources, runs, eventId, endpoint, since, until, ...rest }: StoredFilter,
): boolean {
  rest satisfies Record<string, never>;
  return (
    isWithin(delivery.createdAt, { since, until }) &&
    (state === undefined || state.includes(delivery.state)) &&
    (sources === undefined || isOf(delivery, sources)) &&
    (runs === undefined || runs.some((run) => watchId(run) === watchId(delivery))) &&
    (eventId === undefined || eventId === delivery.eventId) &&
    (endpoint === undefined || receiverNames(delivery.endpoint).includes(endpoint))
  );
}

function isOf(delivery: Delivery, sources: readonly string[]): boolean {
  const own = sourcesOfDelivery(delivery);
  return own.length > 0 && own.every((one) => sources.includes(one));
}
