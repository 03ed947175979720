import { setTimeout as delay } from 'node:timers/promises';
import { median, percentile, rounded, spread, type BenchResult } from './support/figures.ts';
import { withContext } from './support/context.ts';
import type { Committed, Outbox } from './support/outbox.ts';
import type { Arrival } from './support/receivers.ts';
import { journeysOf, startSending, type Sending } from './support/sending.ts';

/** Number of hanging endpoints in the worse mode. */
const MANY = 30;

/** How long the queue of hanging endpoints may take to form. */
const FORM_WITHIN_MS = 120_000;

/** How long deliveries to healthy endpoints may take at the worst before the run is void. */
const ARRIVE_WITHIN_MS = 60_000;

/** The share of queued deliveries that waits in line; the rest is being attempted. */
const FORMED = 0.95;

const LOOK_EVERY_MS = 100;

interface IsolationOptions {
  endpoints: number;
  rounds: number;
  seconds: number;
  /** Deliveries per second to the healthy endpoints together. */
  rate: number;
  /** Deliveries queued at the endpoints that hang, together. */
  queued: number;
  profileDir: string | null;
}

interface Stretch {
  p50: number;
  p99: number;
  /** Deliveries left in the queues of hanging endpoints at the end. */
  leftInLine: number;
}

interface IsolationRound {
  alone: Stretch;
  one: Stretch;
  many: Stretch;
}

/**
 * The effect of hanging endpoints on healthy ones. Each round has three stretches, each with its
 * own daemon, Redis and receivers. In the first, no endpoint hangs. In the second, one takes
 * requests and never answers, with 10,000 deliveries queued; in the third, 30 do, with as many
 * between them. In each, the same healthy endpoints get events at the same steady rate. Latency
 * counts from an event's due time to its first byte at the receiver. The stretches alternate, so
 * that a busy machine affects all of them. Target: the p99 beside hanging endpoints is at most
 * twice that without them, by the median of the rounds' ratios. Void unless each delivery to a
 * healthy endpoint arrived exactly once.
 */
export async function benchIsolation(options: IsolationOptions): Promise<BenchResult> {
  const rounds: IsolationRound[] = [];
  for (let round = 0; round < options.rounds; round += 1) {
    rounds.push({
      alone: await stretch(options, 0),
      one: await stretch(options, 1),
      many: await stretch(options, MANY),
    });
  }
  return resultOf(rounds);
}

async function stretch(options: IsolationOptions, hanging: number): Promise<Stretch> {
  return withContext(async (context) => {
    const sending = await startSending(context, options);
    const { endpoints, outbox } = sending;
    const healthy = endpoints.slice(MANY);
    await deliverTo(sending, await outbox.pace(warmUp(healthy)));
    if (hanging > 0) await queueUp(sending, endpoints.slice(0, hanging), options.queued);
    const { rate: perSecond, seconds } = options;
    const latencies = await deliverTo(
      sending,
      await outbox.pace({ endpoints: healthy, perSecond, seconds }),
    );
    const leftInLine = await lineAt(outbox, endpoints.slice(0, hanging));
    return { p50: percentile(latencies, 0.5), p99: percentile(latencies, 0.99), leftInLine };
  });
}

/** Compiles and connects. */
function warmUp(endpoints: string[]) {
  return { endpoints, perSecond: 200, seconds: 3 };
}

/** Queues deliveries at hanging endpoints, and waits until they are in line. */
async function queueUp(
  { receivers, outbox }: Sending,
  endpoints: string[],
  queued: number,
): Promise<void> {
  await receivers.hang(endpoints.map((_, index) => index));
  await outbox.fill(
    Array.from({ length: queued }, (_, at) => endpoints[at % endpoints.length] ?? ''),
  );
  const deadline = Date.now() + FORM_WITHIN_MS;
  while ((await lineAt(outbox, endpoints)) < queued * FORMED) {
    if (Date.now() > deadline) throw new Error('void: the queue did not form');
    await delay(LOOK_EVERY_MS);
  }
}

async function lineAt(outbox: Outbox, endpoints: string[]): Promise<number> {
  const waiting = await Promise.all(endpoints.map((name) => outbox.inLine(name)));
  return waiting.reduce((sum, count) => sum + count, 0);
}

/** Waits until all of these have arrived. @returns the latency of each from its due time, ms */
async function deliverTo({ receivers }: Sending, committed: Committed[]): Promise<number[]> {
  const wanted = new Set(committed.map(({ eventId }) => eventId));
  const arrivals: Arrival[] = [];
  const deadline = Date.now() + ARRIVE_WITHIN_MS;
  while (arrivals.length < committed.length) {
    if (Date.now() > deadline) break;
    await delay(LOOK_EVERY_MS);
    arrivals.push(...(await receivers.take()).filter(({ id }) => wanted.has(id)));
  }
  return journeysOf(committed, arrivals).map((one) => one.arrivedAt - one.scheduledAt);
}

function resultOf(rounds: IsolationRound[]): BenchResult {
  const over = (value: (round: IsolationRound) => number) => rounded(median(rounds.map(value)));
  const target = { atMost: 2 };
  return {
    figures: [
      { name: 'p99 with none hanging', value: over(({ alone }) => alone.p99), unit: 'ms' },
      { name: 'p99 with one hanging', value: over(({ one }) => one.p99), unit: 'ms' },
      { name: `p99 with ${MANY} hanging`, value: over(({ many }) => many.p99), unit: 'ms' },
      {
        name: 'p99 with one hanging to that with none',
        value: over(({ alone, one }) => one.p99 / alone.p99),
        unit: '',
        target,
      },
      {
        name: `p99 with ${MANY} hanging to that with none`,
        value: over(({ alone, many }) => many.p99 / alone.p99),
        unit: '',
        target,
      },
      { name: 'p50 with none hanging', value: over(({ alone }) => alone.p50), unit: 'ms' },
      { name: 'p50 with one hanging', value: over(({ one }) => one.p50), unit: 'ms' },
      { name: `p50 with ${MANY} hanging`, value: over(({ many }) => many.p50), unit: 'ms' },
      {
        name: 'spread of the p99 with none hanging',
        value: rounded(spread(rounds.map(({ alone }) => alone.p99))),
        unit: '',
      },
    ],
    details: { rounds },
  };
}
