import { setTimeout as delay } from 'node:timers/promises';
import { isBalanced, openLedger, readMetrics, type Reading } from './equation.ts';

const EVERY_MS = 250;

/** One sample of the public metrics for this many of Redis. */
const METRICS_EVERY = 4;

type Place = 'redis' | 'metrics';

/** Samples of the equation of deliveries: those by state add up to the planned ones. */
export interface BalanceSamples {
  /** Samples with a balance, by where they were taken. */
  balanced: Record<Place, number>;
  /** Samples without one, as text. */
  unbalanced: string[];
  /** Samples that could not be taken, by reason. */
  missed: Record<Place, Record<string, number>>;
  /** Samples that failed for an unknown reason. */
  failed: string[];
}

interface SampleOptions {
  /** Path of Redis's socket. */
  redis: string;
  /** API URLs of the daemons that are up. */
  daemons: () => string[];
  /** The event types of each endpoint. */
  subscribers: { events: string[] }[];
  /** Why a sample at that time may have failed; null where no process had been killed. */
  excuse: (place: Place, askedAt: number) => string | null;
  signal: AbortSignal;
}

/**
 * Samples the equation four times a second in Redis, and once a second from a daemon that is up.
 */
export async function sampleBalance(options: SampleOptions): Promise<BalanceSamples> {
  const samples: BalanceSamples = {
    balanced: { redis: 0, metrics: 0 },
    unbalanced: [],
    missed: { redis: {}, metrics: {} },
    failed: [],
  };
  const ledger = await openLedger({
    path: options.redis,
    prefix: 'runwatch',
    subscribers: options.subscribers,
  });
  try {
    for (let sample = 0; !options.signal.aborted; sample += 1) {
      await take(samples, options, 'redis', () => ledger.read());
      if (sample % METRICS_EVERY === 0) {
        await take(samples, options, 'metrics', () => readMetrics(options.daemons()));
      }
      await delay(EVERY_MS);
    }
    return samples;
  } finally {
    ledger.close();
  }
}

async function take(
  samples: BalanceSamples,
  { excuse }: SampleOptions,
  place: Place,
  read: () => Promise<Reading>,
): Promise<void> {
  const askedAt = Date.now();
  try {
    const reading = await read();
    if (isBalanced(reading)) samples.balanced[place] += 1;
    else samples.unbalanced.push(`${place}: ${JSON.stringify(reading)}`);
  } catch (error) {
    const why = excuse(place, askedAt);
    const { [place]: missed } = samples.missed;
    if (why === null)
      samples.failed.push(`${place}, asked ${new Date(askedAt).toISOString()}: ${String(error)}`);
    else missed[why] = (missed[why] ?? 0) + 1;
  }
}
