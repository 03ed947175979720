import { setTimeout as delay } from 'node:timers/promises';
import { startDaemon, type BenchDaemon } from './daemon.ts';
import type { Ground } from './ground.ts';
import { openOutbox, type Committed, type Outbox } from './outbox.ts';
import { startReceivers, type Arrival, type Receivers } from './receivers.ts';
import { startRedis, type BenchRedis } from './redis.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

/** How long what is outstanding may take to arrive. */
const ARRIVE_WITHIN_MS = 120_000;

/** Seldom enough to cost nothing. */
const LOOK_EVERY_MS = 100;

/** Everything that delivering takes: daemon, Redis and receivers, each a process of its own. */
export interface Sending {
  daemon: BenchDaemon;
  redis: BenchRedis;
  receivers: Receivers;
  outbox: Outbox;
  /** Names of the endpoints, in the order of the receivers, the others after them. */
  endpoints: string[];
}

interface SendingOptions {
  endpoints: number;
  /** Deadline of an attempt, as in the configuration. */
  timeout?: string;
  /** URLs of further endpoints, which nobody listens for here. They are tried once. */
  others?: string[];
  profileDir: string | null;
}

export async function startSending(ground: Ground, options: SendingOptions): Promise<Sending> {
  const redis = await startRedis(ground);
  const receivers = await startReceivers(ground, options.endpoints);
  const { timeout = '15s', others = [] } = options;
  const targets = [
    ...receivers.urls.map((url) => webhook(url, timeout)),
    ...others.map((url) => webhook(url, timeout, [])),
  ];
  const endpoints = targets.map((_, index) => `hook-${index}`);
  const daemon = await startDaemon(ground, {
    profileDir: options.profileDir,
    config: {
      redis: { url: `unix://${redis.socket}` },
      // There has to be one; since all runs have ended, it is never asked anything.
      sources: { bench: { base_url: 'http://127.0.0.1:9', api_key: 'none' } },
      endpoints: Object.fromEntries(targets.map((target, at) => [endpoints[at], target])),
      egress: { allow: ['127.0.0.1/32'] },
    },
  });
  return { daemon, redis, receivers, endpoints, outbox: openOutbox(ground, redis) };
}

/** Without a schedule of its own, it is tried again as by default. */
function webhook(url: string, timeout: string, retry?: string[]) {
  return { type: 'webhook', url, secret: SECRET, events: ['*'], timeout, retry };
}

/** One delivery that arrived: when it was due, and when it was there. */
export interface Journey {
  scheduledAt: number;
  arrivedAt: number;
}

/**
 * Waits until as many deliveries as the ledger knows of in all are delivered, and says how each of
 * those committed fared.
 * @throws Error where the ledger does not balance, or one came twice, not at all, or uncalled for:
 * what was measured means nothing then
 */
export async function settled(
  { outbox, receivers }: Sending,
  committed: Committed[],
): Promise<Journey[]> {
  const deadline = Date.now() + ARRIVE_WITHIN_MS;
  for (;;) {
    const { planned, byState } = await outbox.ledger();
    if (byState.delivered === planned) break;
    if (Date.now() > deadline) {
      throw new Error(`void: of ${planned} deliveries ${JSON.stringify(byState)}`);
    }
    await delay(LOOK_EVERY_MS);
  }
  return journeysOf(committed, await receivers.take());
}

/** Lays what was committed beside what arrived. @throws Error unless each came exactly once */
export function journeysOf(committed: Committed[], arrivals: Arrival[]): Journey[] {
  const arrivedAt = new Map(arrivals.map(({ id, at }) => [id, at]));
  if (arrivals.length !== committed.length || arrivedAt.size !== committed.length) {
    const counts = `${committed.length} committed, ${arrivals.length} arrived, ${arrivedAt.size} different`;
    throw new Error(`void: the ledger does not balance: ${counts}`);
  }
  return committed.map(({ eventId, scheduledAt }) => {
    const at = arrivedAt.get(eventId);
    if (at === undefined) throw new Error(`void: event ${eventId} did not arrive`);
    return { scheduledAt, arrivedAt: at };
  });
}
