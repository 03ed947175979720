import type { Redis } from 'ioredis';
import { openCursor } from '../cursor.ts';
import {
  noDeliveries,
  type Attempt,
  type Delivery,
  type DeliveryState,
  type StoredDelivery,
} from '../../core/delivery/delivery.ts';
import { declaredKeys } from '../declared-keys.ts';
import { readClaims, receiverKeys, type PoolClaims } from './delivery-claims.ts';
import { moveEffects, type DeliveryMove } from './delivery-move.ts';
import { deliveryPlan, parseLedgerField, type Keys } from '../keys.ts';
import { filterIndexes, readPage } from '../page.ts';
import { replies } from '../replies.ts';

interface DeliveryFilter {
  state?: string;
  endpoint?: string;
  runId?: string;
  eventId?: string;
}

interface PageOptions {
  limit: number;
  cursor?: string | undefined;
}

/** Deliveries examined to find the oldest one that waits for an endpoint. */
const OLDEST_AMONG = 10_000;

/** A delivery by its id, and its number in the order of their creation. */
export interface NumberedId {
  id: string;
  number: string;
}

/** A delivery that is to go out again, to another endpoint where that is named. */
interface ReplayRequest {
  id: string;
  to?: string | undefined;
}

/** Neither ids nor names hold spaces. */
function replayMember({ id, to }: ReplayRequest): string {
  return to === undefined ? id : `${id} ${to}`;
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
   * Moves a delivery on, if neither it nor the endpoint has changed since they were read: see the script.
   * @param askedAt when this is asked, by the monotonic clock
   * @returns what has been claimed at its pool, or what had changed
   */
  async move(
    move: DeliveryMove,
    askedAt = performance.now(),
  ): Promise<PoolClaims | 'delivery' | 'endpoint'> {
    const { clock, poolsDue, dueBell, delivery } = this.keys;
    const byPlace = [clock, poolsDue, dueBell, delivery(move.after.id)];
    const effects = moveEffects(this.keys, move);
    const reply = await this.redis.rwMoveDelivery(
      ...declaredKeys(this.keys, byPlace, effects, receiverKeys(this.keys, move.after.endpoint)),
      move.before.version,
      JSON.stringify(move.after),
      JSON.stringify(effects),
    );
    return typeof reply === 'string'
      ? reply
      : readClaims(reply, { token: move.nextToken, askedAt });
  }

  async firstInOrder(delivery: Delivery): Promise<string | null> {
    return this.redis.lindex(this.keys.lane(delivery), 0);
  }

  /** Adds deliveries that are not there yet; they are due at once. */
  async add(deliveries: readonly Delivery[]): Promise<void> {
    const plan = deliveryPlan(this.keys, deliveries);
    await this.redis.rwAddDeliveries(...declaredKeys(this.keys, [], plan), JSON.stringify(plan));
  }

  /**
   * Notes that deliveries are to go out again: whatever dies, that is done, in the order in which they
   * were created.
   */
  async requestReplays(found: readonly NumberedId[], to?: string): Promise<void> {
    if (found.length === 0) return;
    const members = found.flatMap(({ id, number }) => [number, replayMember({ id, to })]);
    await this.redis.zadd(this.keys.replays, ...members);
  }

  async nextReplays(limit: number): Promise<ReplayRequest[]> {
    const members = await this.redis.zrange(this.keys.replays, 0, String(limit - 1));
    return members.map((member) => {
      const [id = '', to] = member.split(' ');
      return { id, to };
    });
  }

  async endReplays(requests: readonly ReplayRequest[]): Promise<void> {
    await this.redis.zrem(this.keys.replays, ...requests.map(replayMember));
  }

  /** Newest first. Throws RunwatchError `invalid_cursor`, `stale_cursor`. */
  async list(
    filter: DeliveryFilter,
    { limit, cursor }: PageOptions,
  ): Promise<{ items: Delivery[]; nextCursor: string | null }> {
    const { items, nextCursor } = await this.page(filter, { limit, cursor });
    return { items: items.map(({ delivery }) => delivery), nextCursor };
  }

  private async page(filter: DeliveryFilter, { limit, cursor }: PageOptions) {
    const { from, cursorAt } = await openCursor(
      this.redis,
      this.keys.cursorsOf(this.keys.deliveryNumber),
      cursor,
    );
    const page = await readPage(this.redis, {
      indexes: filterIndexes(this.keys.deliveries, {
        state: filter.state,
        endpoint: filter.endpoint,
        run: filter.runId,
        event: filter.eventId,
      }),
      order: 'newest',
      limit,
      from,
    });
    const found = await this.getMany(page.members.map(({ id }) => id));
    const items = found.flatMap((stored, at) =>
      stored === null
        ? []
        : [{ delivery: stored.delivery, number: page.members[at]?.score ?? '0' }],
    );
    return { items, nextCursor: page.next === null ? null : cursorAt(page.next) };
  }

  /**
   * When the oldest delivery was created that waits for an endpoint; null where none was found among
   * the deliveries that are examined.
   */
  async oldestWaiting(endpoint: string): Promise<number | null> {
    const pages = await Promise.all(
      ['pending', 'parked'].map((state) =>
        readPage(this.redis, {
          indexes: filterIndexes(this.keys.deliveries, { state, endpoint }),
          order: 'oldest',
          limit: 1,
          mostWalked: OLDEST_AMONG,
        }),
      ),
    );
    const ids = pages.flatMap(({ members }) => members.map(({ id }) => id));
    const found = (await this.getMany(ids)).filter((one) => one !== null);
    return found.length === 0 ? null : Math.min(...found.map(({ delivery }) => delivery.createdAt));
  }

  /** Deliveries that were created within a time, the newest first, a chunk of ids at a time. */
  async *created(
    { since = 0, until = Infinity, ...filter }: DeliveryFilter & { since?: number; until?: number },
    chunk: number,
  ): AsyncIterable<NumberedId[]> {
    let cursor: string | undefined;
    do {
      const page = await this.page(filter, { limit: chunk, cursor });
      const isWithin = ({ createdAt }: Delivery) => createdAt >= since && createdAt < until;
      const within = page.items.filter(({ delivery }) => isWithin(delivery));
      yield within.map(({ delivery: { id }, number }) => ({ id, number }));
      // They are numbered as they are created: what follows is older still.
      const isOver = page.items.some(({ delivery: { createdAt } }) => createdAt < since);
      cursor = isOver ? undefined : (page.nextCursor ?? undefined);
    } while (cursor !== undefined);
  }

  async ledger(): Promise<Ledger> {
    const { planned = '0', ...counts } = await this.redis.hgetall(this.keys.ledger);
    const ledger: Ledger = {
      planned: Number(planned),
      byState: noDeliveries(),
      byEndpoint: new Map(),
    };
    for (const [field, count] of Object.entries(counts)) {
      const { state, endpoint } = parseLedgerField(field);
      const own = ledger.byEndpoint.get(endpoint) ?? noDeliveries();
      own[state] += Number(count);
      ledger.byState[state] += Number(count);
      ledger.byEndpoint.set(endpoint, own);
    }
    return ledger;
  }
}

function parseDelivery([version, doc]: (string | null)[]): StoredDelivery | null {
  if (!version || !doc) return null;
  return { version: Number(version), delivery: JSON.parse(doc) as Delivery };
}
