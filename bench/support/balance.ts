import { setTimeout as delay } from 'node:timers/promises';
import { isBalanced, openLedger, readMetrics, type Reading } from './equation.ts';

const EVERY_MS = 250;

/** Every so many looks at Redis, the public metrics are asked as well. */
const METRICS_EVERY = 4;

type Place = 'redis' | 'metrics';

/** What was seen of the equation of deliveries: those by state add up to the planned ones. */
export interface BalanceSamples {
  /** Samples in which it held, by where they were taken. */
  balanced: Record<Place, number>;
  /** Samples in which it did not, as they were. */
  unbalanced: string[];
  /** Samples that could not be taken, by why. */
  missed: Record<Place, Record<string, number>>;
  /** Samples that failed for no reason that is known. */
  failed: string[];
}

interface SampleOptions {
  /** Path of Redis's socket. */
  redis: string;
  /** Where the APIs of the daemons are, as far as they are up. */
  daemons: () => string[];
  /** What each endpoint wants to hear of. */
  subscribers: { events: string[] }[];
  /** Why a sample that was asked for then may have failed; null where nothing had been killed. */
  excuse: (place: Place, askedAt: number) => string | null;
  signal: AbortSignal;
}

/** Looks at the equation four times a second in Redis, and once a second by whichever daemon is up. */
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
