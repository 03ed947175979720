import { setTimeout as delay } from 'node:timers/promises';
import { startDaemon, type BenchDaemon } from './daemon.ts';
import type { BenchContext } from './context.ts';
import { openOutbox, type Committed, type Outbox } from './outbox.ts';
import { startReceivers, type Arrival, type Receivers } from './receivers.ts';
import { startRedis, type BenchRedis } from './redis.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

/** How long outstanding deliveries may take to arrive. */
const ARRIVE_WITHIN_MS = 120_000;

/** Seldom enough to cost nothing. */
const LOOK_EVERY_MS = 100;

/** Daemon, Redis and receivers, each its own process. */
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
  /** URLs of further endpoints without a receiver here. They are tried once. */
  others?: string[];
  profileDir: string | null;
}

export async function startSending(
  context: BenchContext,
  options: SendingOptions,
): Promise<Sending> {
  const redis = await startRedis(context);
  const receivers = await startReceivers(context, options.endpoints);
  const { timeout = '15s', others = [] } = options;
  const targets = [
    ...receivers.urls.map((url) => webhook(url, timeout)),
    ...others.map((url) => webhook(url, timeout, [])),
  ];
  const endpoints = targets.map((_, index) => `hook-${index}`);
  const daemon = await startDaemon(context, {
    profileDir: options.profileDir,
    config: {
      redis: { url: `unix://${redis.socket}` },
      // A source is required; since all runs have ended, it gets no request.
      sources: { bench: { base_url: 'http://127.0.0.1:9', api_key: 'none' } },
      endpoints: Object.fromEntries(targets.map((target, at) => [endpoints[at], target])),
      egress: { allow: ['127.0.0.1/32'] },
    },
  });
  return { daemon, redis, receivers, endpoints, outbox: openOutbox(context, redis) };
}

/** Without its own schedule, it has the default retries. */
function webhook(url: string, timeout: string, retry?: string[]) {
  return { type: 'webhook', url, secret: SECRET, events: ['*'], timeout, retry };
}

/** A delivery that arrived: when it was due, and when it arrived. */
export interface Journey {
  scheduledAt: number;
  arrivedAt: number;
}

/**
 * Waits until all deliveries in the delivery counters are delivered, and returns the timing of
 * those committed.
 * @throws Error where the counters do not balance, or a delivery came twice, never, or
 * unexpectedly: then the measurement means nothing
 */
export async function settled(
  { outbox, receivers }: Sending,
  committed: Committed[],
): Promise<Journey[]> {
  const deadline = Date.now() + ARRIVE_WITHIN_MS;
  for (;;) {
    const { planned, byState } = await outbox.counts();
    if (byState.delivered === planned) break;
    if (Date.now() > deadline) {
      throw new Error(`void: of ${planned} deliveries ${JSON.stringify(byState)}`);
    }
    await delay(LOOK_EVERY_MS);
  }
  return journeysOf(committed, await receivers.take());
}

/** Compares commits with arrivals. @throws Error unless each came exactly once */
export function journeysOf(committed: Committed[], arrivals: Arrival[]): Journey[] {
  const arrivedAt = new Map(arrivals.map(({ id, at }) => [id, at]));
  if (arrivals.length !== committed.length || arrivedAt.size !== committed.length) {
    const counts = `${committed.length} committed, ${arrivals.length} arrived, ${arrivedAt.size} different`;
    throw new Error(`void: the delivery counts do not add up: ${counts}`);
  }
  return committed.map(({ eventId, scheduledAt }) => {
    const at = arrivedAt.get(eventId);
    if (at === undefined) throw new Error(`void: event ${eventId} did not arrive`);
    return { scheduledAt, arrivedAt: at };
  });
}
