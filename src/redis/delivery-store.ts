import type { Redis } from 'ioredis';
import type { Attempt, Delivery, DeliveryState, StoredDelivery } from '../core/delivery.ts';
import { deliveryIndexes, ledgerField, parseLedgerField, type Keys } from './keys.ts';
import { filterIndexes, readPage } from './page.ts';
import { replies } from './replies.ts';

/** Attempts kept of one delivery; older ones are dropped. */
const ATTEMPTS_KEPT = 50;

interface DeliveryFilter {
  state?: string;
  endpoint?: string;
  runId?: string;
  eventId?: string;
}

/** How many deliveries there are. Those by state always add up to the planned ones. */
export interface Ledger {
  /** Pairs of event and subscription. */
  planned: number;
  byState: Record<DeliveryState, number>;
  byEndpoint: Map<string, Record<DeliveryState, number>>;
}

/** Deliveries in Redis. Errors of the connection pass through. */
export class DeliveryStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  async get(id: string): Promise<StoredDelivery | null> {
    return parseDelivery(await this.redis.hmget(this.keys.delivery(id), 'version', 'doc'));
  }

  async getMany(ids: string[]): Promise<(StoredDelivery | null)[]> {
    const pipeline = this.redis.pipeline();
    for (const id of ids) pipeline.hmget(this.keys.delivery(id), 'version', 'doc');
    return (await replies<(string | null)[]>(pipeline)).map(parseDelivery);
  }

  async attempts(id: string): Promise<Attempt[]> {
    const texts = await this.redis.lrange(this.keys.attempts(id), 0, -1);
    return texts.map((text) => JSON.parse(text) as Attempt);
  }

  /**
   * Writes what an attempt made of a delivery, if nobody else has since it was read.
   * @returns the delivery of the same run and endpoint that is due next, if any
   */
  async settle(
    before: StoredDelivery,
    after: Delivery,
    attempt: Attempt,
  ): Promise<'conflict' | { following: string | null }> {
    const following = await this.redis.rwSettleDelivery(
      this.keys.delivery(after.id),
      before.version,
      JSON.stringify(after),
      effectsOf(this.keys, before.delivery, after, attempt),
    );
    return following === null ? 'conflict' : { following: following === '' ? null : following };
  }

  /** Newest first. Throws RunwatchError `invalid_cursor`. */
  async list(
    filter: DeliveryFilter,
    { limit, cursor }: { limit: number; cursor?: string | undefined },
  ): Promise<{ items: Delivery[]; nextCursor: string | null }> {
    const page = await readPage(this.redis, {
      indexes: filterIndexes(this.keys.deliveries, {
        state: filter.state,
        endpoint: filter.endpoint,
        run: filter.runId,
        event: filter.eventId,
      }),
      order: 'newest',
      limit,
      cursor,
    });
    const found = await this.getMany(page.members.map(({ id }) => id));
    const items = found.flatMap((stored) => (stored === null ? [] : [stored.delivery]));
    return { items, nextCursor: page.nextCursor };
  }

  /** Deliveries that have been due since before a time and should long have had their attempt. */
  async dueBefore(time: number, page: { offset: number; limit: number }): Promise<string[]> {
    const { outbox } = this.keys;
    return this.redis.zrangebyscore(outbox, '-inf', time, 'LIMIT', page.offset, page.limit);
  }

  async ledger(): Promise<Ledger> {
    const { planned = '0', ...counts } = await this.redis.hgetall(this.keys.ledger);
    const ledger: Ledger = { planned: Number(planned), byState: zeroes(), byEndpoint: new Map() };
    for (const [field, count] of Object.entries(counts)) {
      const { state, endpoint } = parseLedgerField(field);
      const own = ledger.byEndpoint.get(endpoint) ?? zeroes();
      own[state] += Number(count);
      ledger.byState[state] += Number(count);
      ledger.byEndpoint.set(endpoint, own);
    }
    return ledger;
  }
}

function zeroes(): Record<DeliveryState, number> {
  return { pending: 0, delivered: 0, dead: 0, parked: 0, skipped: 0, superseded: 0 };
}

function parseDelivery([version, doc]: (string | null)[]): StoredDelivery | null {
  if (!version || !doc) return null;
  return { version: Number(version), delivery: JSON.parse(doc) as Delivery };
}

function effectsOf(keys: Keys, before: Delivery, after: Delivery, attempt: Attempt): string {
  const old = deliveryIndexes(keys, before);
  const now = deliveryIndexes(keys, after);
  return JSON.stringify({
    id: after.id,
    attempts: keys.attempts(after.id),
    attempt: JSON.stringify(attempt),
    attemptsKept: ATTEMPTS_KEPT,
    leave: old.filter((index) => !now.includes(index)),
    enter: now.filter((index) => !old.includes(index)),
    ledger: keys.ledger,
    countFrom: ledgerField(before),
    countTo: ledgerField(after),
    outbox: keys.outbox,
    lane: keys.lane(after),
    settled: keys.deliveriesSettled,
    settledAt: attempt.at,
    ...(after.nextAttemptAt !== null && { dueAt: after.nextAttemptAt }),
  });
}
