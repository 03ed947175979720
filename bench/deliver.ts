import { setTimeout as delay } from 'node:timers/promises';
import { median, percentile, rounded, spread, type BenchResult } from './support/figures.ts';
import { withContext } from './support/context.ts';
import { createPostLoop } from './support/post-loop.ts';
import type { LoopResult } from './support/raw-loop.ts';
import type { BenchRedis } from './support/redis.ts';
import { settled, startSending, type Journey, type Sending } from './support/sending.ts';

/** After a switch of sides, connections open anew. */
const SETTLE_MS = 500;

/** Concurrent attempts, as by the daemon's default. */
const CONCURRENCY = 64;

/** The highest steady rate to offer: the target. */
const TARGET_RATE = 1_000;

/** The share of the daemon's capacity to offer: more would measure a queue, not a latency. */
const OFFERED_SHARE = 0.75;

interface DeliverOptions {
  endpoints: number;
  /** Rounds of the raw loop, of a backlog, and of a steady pace. */
  rounds: number;
  seconds: number;
  profileDir: string | null;
}

interface DeliverRound {
  raw: LoopResult;
  deliveries: number;
  perSecond: number;
  cpuUs: number;
  offered: number;
  latenciesMs: number[];
  commands: Record<string, number>;
  aofBytes: number;
}

/**
 * How many deliveries one process makes, and how long after the commit of an event its first byte
 * is at the receiver. This process commits events straight into the stores, by the product's own
 * rules, as if runs had just ended. The built daemon, Redis and the receivers are separate
 * processes. Each round measures three things in turn. First, got alone posting to the same
 * receivers. Then the daemon working off a backlog that was written while it stood still. Last, the
 * daemon at a steady rate, with latency counted from each event's due time. Targets on two quiet
 * cores: 1,000 a second, at least 0.5 of the raw loop, p99 within 250 ms. Void unless every
 * delivery arrived exactly once and the delivery counters agree.
 */
export async function benchDeliver(options: DeliverOptions): Promise<BenchResult> {
  return withContext(async (context) => {
    const sending = await startSending(context, options);
    const [first = ''] = sending.endpoints;
    const raw = createPostLoop({
      urls: sending.receivers.urls,
      body: sending.outbox.sample(first),
      concurrency: CONCURRENCY,
    });
    context.onEnd(async () => raw.close());
    // Both sides compile and connect before the measurement.
    await raw.run(SETTLE_MS * 4);
    await workOff(sending, 2_000);

    const rounds: DeliverRound[] = [];
    for (let round = 0; round < options.rounds; round += 1) {
      rounds.push(await playRound(sending, raw, { ...options, last: rounds.at(-1) }));
    }
    return resultOf(rounds, sending.redis.version);
  });
}

async function playRound(
  sending: Sending,
  raw: ReturnType<typeof createPostLoop>,
  { seconds, last }: { seconds: number; last: DeliverRound | undefined },
): Promise<DeliverRound> {
  sending.daemon.freeze();
  await raw.run(SETTLE_MS);
  const loop = await raw.run(seconds * 1_000);
  sending.daemon.thaw();
  const expected = last?.perSecond ?? rate(loop) / 2;
  const backlog = await workOff(sending, Math.ceil(expected * seconds));
  const offered = Math.min(TARGET_RATE, Math.floor(backlog.perSecond * OFFERED_SHARE));
  await delay(SETTLE_MS);
  const latenciesMs = await latencies(sending, offered, seconds);
  return { raw: loop, ...backlog, offered, latenciesMs };
}

/** Makes the daemon deliver events that were there before it could begin. */
async function workOff(sending: Sending, deliveries: number) {
  const { daemon, outbox, endpoints, redis } = sending;
  await delay(SETTLE_MS);
  const before = await daemon.usage();
  daemon.freeze();
  const names = Array.from({ length: deliveries }, (_, at) => endpoints[at % endpoints.length]);
  const committed = await outbox.fill(names.filter((name) => name !== undefined));
  await redis.takeCommands();
  const aofBefore = await aofSize(redis);
  daemon.thaw();
  const journeys = await settled(sending, committed);
  const aofBytes = (await aofSize(redis)) - aofBefore;
  const commands = await redis.takeCommands();
  const { cpuUs } = await daemon.usage();
  return { deliveries, perSecond: pace(journeys), cpuUs: cpuUs - before.cpuUs, commands, aofBytes };
}

async function aofSize(redis: BenchRedis): Promise<number> {
  const { aof_current_size: size = NaN } = await redis.info('persistence');
  return size;
}

async function latencies(sending: Sending, perSecond: number, seconds: number) {
  const { outbox, endpoints } = sending;
  const journeys = await settled(sending, await outbox.pace({ endpoints, perSecond, seconds }));
  return journeys.map(({ scheduledAt, arrivedAt }) => arrivedAt - scheduledAt);
}

/** Arrivals per second, of the middle nine tenths: neither how it begins nor how it runs out. */
function pace(journeys: Journey[]): number {
  const times = journeys.map(({ arrivedAt }) => arrivedAt);
  const [from, to] = [percentile(times, 0.05), percentile(times, 0.95)];
  return (journeys.length * 0.9 * 1_000) / Math.max(1, to - from);
}

function rate({ requests, elapsedMs }: LoopResult): number {
  return (requests / elapsedMs) * 1_000;
}

function resultOf(rounds: DeliverRound[], redis: string): BenchResult {
  const over = (value: (round: DeliverRound) => number) => rounded(median(rounds.map(value)));
  const commandsOf = ({ commands, deliveries }: DeliverRound) =>
    Object.values(commands).reduce((sum, calls) => sum + calls, 0) / deliveries;
  return {
    figures: [
      {
        name: 'deliveries',
        value: over(({ perSecond }) => perSecond),
        unit: '/s',
        target: { atLeast: TARGET_RATE },
      },
      { name: 'posts of the raw loop', value: over(({ raw }) => rate(raw)), unit: '/s' },
      {
        name: 'deliveries per raw post',
        value: over(({ perSecond, raw }) => perSecond / rate(raw)),
        unit: '',
        target: { atLeast: 0.5 },
      },
      { name: 'offered at a steady pace', value: over(({ offered }) => offered), unit: '/s' },
      {
        name: 'from commit to first byte, p50',
        value: over(({ latenciesMs }) => percentile(latenciesMs, 0.5)),
        unit: 'ms',
      },
      {
        name: 'from commit to first byte, p99',
        value: over(({ latenciesMs }) => percentile(latenciesMs, 0.99)),
        unit: 'ms',
        target: { atMost: 250 },
      },
      {
        name: 'CPU of the daemon per delivery',
        value: over(({ cpuUs, deliveries }) => cpuUs / deliveries),
        unit: 'µs',
      },
      {
        name: 'CPU of the raw loop per post',
        value: over(({ raw }) => raw.cpuUs / raw.requests),
        unit: 'µs',
      },
      { name: 'Redis commands per delivery, scripts included', value: over(commandsOf), unit: '' },
      {
        name: 'append-only file per delivery',
        value: over(({ aofBytes, deliveries }) => aofBytes / deliveries),
        unit: 'bytes',
      },
      {
        name: 'share of a core that the raw loop had',
        value: over(({ raw }) => raw.cpuUs / raw.elapsedMs / 1_000),
        unit: '',
      },
      {
        name: 'spread of the raw rounds',
        value: rounded(spread(rounds.map(({ raw }) => rate(raw)))),
        unit: '',
      },
    ],
    details: {
      redis,
      rounds: rounds.map(({ raw, perSecond, offered, latenciesMs, commands, deliveries }) => ({
        raw: rounded(rate(raw)),
        ours: rounded(perSecond),
        offered,
        p50: percentile(latenciesMs, 0.5),
        p99: percentile(latenciesMs, 0.99),
        commands_per_delivery: Object.fromEntries(
          Object.entries(commands).map(([name, calls]) => [name, rounded(calls / deliveries)]),
        ),
      })),
    },
  };
}
