import { setTimeout as delay } from 'node:timers/promises';
import { openStores } from '../../test/support/stores.ts';
import type { MoodyReceiver, MoodyReceivers } from './moody-receivers.ts';

/** How long everything may take to come to rest: breakers that are open probe every so often. */
const REST_WITHIN_MS = 300_000;

const LOOK_EVERY_MS = 500;

const ENDS = new Set(['run.completed', 'run.failed', 'run.stopped']);

type Stores = ReturnType<typeof openStores>;

interface Witnesses {
  redisUrl: string;
  /** Runs that were registered. */
  registered: string[];
  receivers: MoodyReceivers;
}

/** What became of everything. */
export interface Account {
  planned: number;
  byState: Record<string, number>;
  /** Deliveries that are called delivered and were never taken, and events without their deliveries. */
  lost: number;
  /** Runs whose end is not in the event log. */
  untold: number;
  duplicates: number;
  forged: number;
  restMs: number;
}

/** Waits until nothing is left to do, and lays what the stores say beside what was received. */
export async function comeToRest({ redisUrl, registered, receivers }: Witnesses): Promise<Account> {
  const stores = openStores({ url: redisUrl, prefix: 'runwatch' });
  try {
    const restMs = await rest(stores);
    const { planned, byState } = await stores.deliveries.ledger();
    const events = await allEvents(stores);
    const unplanned = Math.abs(events.size * receivers.all.length - planned);
    const missing = await Promise.all(receivers.all.map((one) => missingAt(stores, one)));
    const ended = new Set(
      [...events.values()].flatMap(({ type, runId }) => (ENDS.has(type) ? [runId] : [])),
    );
    const repeats = receivers.all.flatMap(({ accepted }) => [...accepted.values()]);
    return {
      planned,
      byState,
      lost: missing.reduce((sum, count) => sum + count, unplanned),
      untold: registered.filter((id) => !ended.has(id)).length,
      duplicates: repeats.reduce((sum, times) => sum + times - 1, 0),
      forged: receivers.all.reduce((sum, one) => sum + one.forged(), 0),
      restMs,
    };
  } finally {
    stores.close();
  }
}

async function rest(stores: Stores): Promise<number> {
  const startedAt = Date.now();
  for (;;) {
    const watches = await stores.watches.counts();
    const { byState } = await stores.deliveries.ledger();
    const restMs = Date.now() - startedAt;
    if (watches.active === 0 && byState.pending + byState.parked === 0) return restMs;
    if (restMs > REST_WITHIN_MS) {
      throw new Error(`void: no rest with ${watches.active} runs and ${JSON.stringify(byState)}`);
    }
    await delay(LOOK_EVERY_MS);
  }
}

/** How much is said to have been delivered to a receiver that never took it. */
async function missingAt(stores: Stores, { mood, accepted }: MoodyReceiver): Promise<number> {
  const delivered = await deliveredTo(stores, mood);
  return delivered.filter((id) => !accepted.has(id)).length;
}

async function allEvents({ events }: Stores) {
  const found = new Map<string, { type: string; runId: string }>();
  let after: string | undefined;
  do {
    const page = await events.list(after === undefined ? {} : { after }, { limit: 500 });
    for (const { event } of page.items) {
      found.set(event.id, { type: event.type, runId: event.data.run_id });
    }
    after = page.nextCursor ?? undefined;
  } while (after !== undefined);
  return found;
}

/** Ids of the events that an endpoint is said to have been delivered. */
async function deliveredTo({ deliveries }: Stores, endpoint: string): Promise<string[]> {
  const found: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await deliveries.list({ endpoint, state: 'delivered' }, { limit: 500, cursor });
    found.push(...page.items.map(({ eventId }) => eventId));
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
  return found;
}
