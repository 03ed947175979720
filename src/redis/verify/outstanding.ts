import type { Redis } from 'ioredis';
import type { Delivery } from '../../core/delivery/delivery.ts';
import { poolOf } from '../../core/delivery/receiver.ts';
import { isOutstanding } from '../../core/delivery/state.ts';
import { replies } from '../connection.ts';
import type { Keys } from '../keys.ts';
import { seenAgain, type Problems } from './problems.ts';
import type { Records } from './records.ts';
import { HASH, LIST, SORTED_SET, type Structure } from './structures.ts';

/** Where outstanding deliveries stand: each name is the id of one. */
const STANDS: Readonly<Record<string, Structure>> = {
  due: SORTED_SET,
  taken: SORTED_SET,
  parked: SORTED_SET,
  lane: LIST,
  'delivery-claims': HASH,
};

/** How much later than it says a delivery may be due, ms: clocks differ. */
const LATER_MS = 60_000;

interface Wrong {
  is: 'missing' | 'misplaced';
  /** The first word of the name of the key. */
  kind: string;
  says: string;
}

/** Whether what waits to be sent stands where the relay finds it, and nothing else does. */
export class Outstanding {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
    private readonly records: Records,
    private readonly problems: Problems,
  ) {}

  /** An outstanding delivery waits in the order of its run, and the first of it is due, parked or claimed. */
  async checkDelivery(id: string): Promise<void> {
    let wrong: Wrong | null = null;
    const isWrong = await seenAgain(async () => {
      const delivery = (await this.records.read({ is: 'delivery', id }))?.outstanding;
      wrong = delivery === undefined ? null : await this.wrongOf(delivery);
      return wrong !== null;
    });
    if (!isWrong || wrong === null) return;
    const { is, kind, says } = wrong as Wrong;
    this.problems.note(is, kind, `delivery ${id} ${says}`);
  }

  private async wrongOf(delivery: Delivery): Promise<Wrong | null> {
    const { redis, keys } = this;
    const { id, endpoint } = delivery;
    const lane = keys.ordering(delivery);
    const [place = null, ...stands] = await replies<number | string | null>(
      redis
        .multi()
        .lpos(lane, id)
        .hget(keys.deliveryClaims, id)
        .zscore(keys.taken(poolOf(endpoint)), id)
        .zscore(keys.parked(endpoint), id)
        .zscore(keys.due(endpoint), id),
    );
    if (place === null) return lacks('is not in the order of its run, so that it is not sent');
    const [claim, taken, parked, due] = stands;
    if (Number(place) === 0 && stands.every((one) => one === null)) {
      return lacks('is the next of its run, and neither due nor claimed nor parked');
    }
    const isDue = due !== null && [claim, taken, parked].every((one) => one === null);
    const latest = Math.max(delivery.nextAttemptAt ?? 0, Date.now()) + LATER_MS;
    if (!isDue || Number(due) <= latest) return null;
    const says = `is due at ${due}, and its next attempt is at ${delivery.nextAttemptAt}`;
    return { is: 'misplaced', kind: 'due', says };
  }

  /** What stands in a key must be a delivery that has not settled. Does nothing for keys of other kinds. */
  async checkKey(kind: string, key: string): Promise<void> {
    const structure = Object.hasOwn(STANDS, kind) ? STANDS[kind] : undefined;
    if (structure === undefined) return;
    const { redis } = this;
    for await (const page of structure.pages(redis, key)) {
      for (const { name: id } of page) {
        const isStray = await seenAgain(
          async () =>
            !(await this.isOutstanding(id)) && (await structure.read(redis, key, id)) !== null,
        );
        const short = key.slice(this.keys.queuePrefix.length + 1);
        if (isStray)
          this.problems.note('stray', kind, `${id} in ${short} is no delivery that waits`);
      }
    }
  }

  private async isOutstanding(id: string): Promise<boolean> {
    const doc = await this.redis.hget(this.keys.delivery(id), 'doc');
    return doc !== null && isOutstanding((JSON.parse(doc) as Delivery).state);
  }
}

function lacks(says: string): Wrong {
  return { is: 'missing', kind: 'lane', says };
}
