import { setTimeout as delay } from 'node:timers/promises';
import type { Delivery } from '../../src/core/delivery/delivery.ts';
import { isOfRun } from '../../src/core/event/event.ts';
import { ruleWants } from '../../src/core/event/patterns.ts';
import { openStores } from '../../test/support/stores.ts';
import type { MoodyReceiver } from './moody-receivers.ts';
import { pairOf, type OperatorLog } from './operator.ts';
import { judgeRepeats, type Repeats, type SeenRequest, type Story } from './repeats.ts';
import type { SoakStage } from './soak-stage.ts';

/** How long the system may take to come to rest. */
const REST_WITHIN_MS = 600_000;

const LOOK_EVERY_MS = 500;

const PAGE = 500;

const ENDS = new Set(['run.completed', 'run.failed', 'run.stopped']);

type Stores = ReturnType<typeof openStores>;

/** The balance of the soak. */
export interface Account extends Repeats {
  planned: number;
  byState: Record<string, number>;
  /** The types of the events about runwatch itself, in their order. */
  ofSystem: string[];
  /**
   * Events that an endpoint wanted and never got, other than superseded ones, and deliveries of
   * unknown events.
   */
  lost: number;
  /** Runs with an end that is not in the event log, or with a gap in their events' numbers. */
  untold: number;
  /** Redeliveries that were accepted but never arrived. */
  notAgain: number;
  forged: number;
  /** Of events that came twice for no reason, by endpoint. */
  unexplainedStories: (Story & { mood: string })[];
}

/** Waits until no watch is active any more, and no delivery is outstanding or is to go out again. */
export async function comeToRest({ redis }: SoakStage): Promise<void> {
  await withStores(redis.url, async ({ watches, deliveries, redis: store, keys }) => {
    const startedAt = Date.now();
    for (;;) {
      const { active } = await watches.counts();
      const again = await store.zcard(keys.replays);
      const { byState } = await deliveries.counts();
      const restMs = Date.now() - startedAt;
      if (active + again + byState.pending + byState.parked === 0) return;
      if (restMs > REST_WITHIN_MS) {
        throw new Error(`void: no rest with ${active} runs and ${JSON.stringify(byState)}`);
      }
      await delay(LOOK_EVERY_MS);
    }
  });
}

/** Compares the stores with what the receivers saw, once all has come to rest. */
export async function accountFor(stage: SoakStage, operator: OperatorLog): Promise<Account> {
  const { receivers, redis, registered } = stage;
  return withStores(redis.url, async (stores) => {
    const { planned, byState } = await stores.deliveries.counts();
    const events = await allEvents(stores);
    const account: Account = {
      planned,
      byState,
      ofSystem: [...events.values()].flatMap(({ type, run }) => (run === null ? [type] : [])),
      lost: 0,
      untold: untold(registered, events),
      notAgain: 0,
      forged: receivers.all.reduce((sum, one) => sum + one.forged(), 0),
      cutOff: 0,
      unrecorded: [],
      repeats: 0,
      unexplained: 0,
      unexplainedStories: [],
    };
    for (const receiver of receivers.all) {
      const deliveries = await deliveriesTo(stores, receiver.mood);
      account.lost += lostAt(receiver, events, deliveries);
      account.notAgain += notAgainAt(receiver, operator);
      for (const [eventId, requests] of receiver.requests) {
        const story = await storyOf(stores, requests, deliveries.get(eventId));
        const askedFor = operator.again.has(pairOf(receiver.mood, eventId)) ? 1 : 0;
        const found = judgeRepeats({ ...story, askedFor }, stage.kills);
        add(account, found);
        if (found.unexplained === 0) continue;
        account.unexplainedStories.push({ ...story, askedFor, mood: receiver.mood });
      }
    }
    return account;
  });
}

async function withStores<Result>(url: string, use: (stores: Stores) => Promise<Result>) {
  const stores = openStores({ url, prefix: 'runwatch' });
  try {
    return await use(stores);
  } finally {
    await stores.close();
  }
}

interface KnownEvent {
  type: string;
  /** Its run, and its number among that run's events; null where it is about runwatch itself. */
  run: { id: string; sequence: number } | null;
}

async function allEvents({ events }: Stores): Promise<Map<string, KnownEvent>> {
  const found = new Map<string, KnownEvent>();
  let after: string | undefined;
  do {
    const page = await events.list(after === undefined ? {} : { after }, { limit: PAGE });
    for (const { event } of page.items) {
      const run = isOfRun(event) ? { id: event.data.run_id, sequence: event.data.sequence } : null;
      found.set(event.id, { type: event.type, run });
    }
    after = page.nextCursor ?? undefined;
  } while (after !== undefined);
  return found;
}

function untold(registered: string[], events: Map<string, KnownEvent>): number {
  const byRun = new Map<string, { type: string; sequence: number }[]>();
  for (const { type, run } of events.values()) {
    if (run === null) continue;
    byRun.set(run.id, [...(byRun.get(run.id) ?? []), { type, sequence: run.sequence }]);
  }
  return registered.filter((runId) => {
    const own = byRun.get(runId) ?? [];
    const numbers = new Set(own.map(({ sequence }) => sequence));
    const hasGap = numbers.size !== Math.max(0, ...numbers) || numbers.size !== own.length;
    return hasGap || !own.some(({ type }) => ENDS.has(type));
  }).length;
}

async function deliveriesTo(
  { deliveries }: Stores,
  endpoint: string,
): Promise<Map<string, Delivery>> {
  const found = new Map<string, Delivery>();
  let cursor: string | undefined;
  do {
    const page = await deliveries.list({ endpoint }, { limit: PAGE, cursor });
    for (const delivery of page.items) found.set(delivery.eventId, delivery);
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
  return found;
}

function lostAt(
  { events: wanted, requests }: MoodyReceiver,
  events: Map<string, KnownEvent>,
  deliveries: Map<string, Delivery>,
): number {
  const isTaken = (id: string) => requests.get(id)?.some(({ taken }) => taken) === true;
  const missing = [...events].filter(
    ([id, { type }]) =>
      ruleWants(wanted, type) && !isTaken(id) && deliveries.get(id)?.state !== 'superseded',
  );
  const unknown = [...deliveries.keys(), ...requests.keys()].filter((id) => !events.has(id));
  return missing.length + unknown.length;
}

function notAgainAt({ mood, requests }: MoodyReceiver, { again }: OperatorLog): number {
  const asked = [...requests].filter(([id]) => again.get(pairOf(mood, id))?.wasAnswered === true);
  return asked.filter(([, seen]) => seen.filter(({ taken }) => taken).length < 2).length;
}

/** Reads attempts only where they may matter: most deliveries arrive at once. */
async function storyOf(
  { deliveries }: Stores,
  requests: SeenRequest[],
  delivery: Delivery | undefined,
): Promise<Omit<Story, 'askedFor'>> {
  if (delivery === undefined) return { requests, attempts: [] };
  const { state, attemptCount, last, id } = delivery;
  const isPlain = state === 'delivered' && attemptCount === 1 && requests.length === 1;
  const attempts = isPlain && last !== null ? [last] : await deliveries.attempts(id);
  return { requests, attempts };
}

function add(account: Account, { cutOff, unrecorded, repeats, unexplained }: Repeats): void {
  account.cutOff += cutOff;
  account.unrecorded.push(...unrecorded);
  account.repeats += repeats;
  account.unexplained += unexplained;
}
