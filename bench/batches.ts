import { sum } from '../src/core/arrays.ts';
import { startDaemon } from './support/daemon.ts';
import { median, percentile, rounded, type BenchResult, type Figure } from './support/figures.ts';
import { withContext } from './support/context.ts';
import { runIdAt, startNoxus } from './support/noxus.ts';
import { startRedis, type BenchRedis } from './support/redis.ts';

/** Runs registered at a time: the most that the API takes. */
const RUNS = 1_000;

/** Registrations of each kind that come first, and do not count. */
const WARM_UP = 3;

/** What it may cost to register runs with a batch, as a multiple of without. */
const MOST = 1.1;

interface BatchesOptions {
  rounds: number;
}

/** What it took to register {@link RUNS} runs. */
interface Cost {
  ms: number;
  /** CPU time of the main thread of Redis, ms. */
  redisMs: number;
  redisBytes: number;
  /** Commands of Redis for one run, those of scripts included. */
  commands: number;
}

/** The same, without a batch and with one, one right after the other. */
type Pair = Record<'alone' | 'together', Cost>;

/** What it costs more to register a thousand runs with a batch, in turn with the same without one. */
export async function benchBatches({ rounds }: BatchesOptions): Promise<BenchResult> {
  return withContext(async (context) => {
    const redis = await startRedis(context);
    const noxus = await startNoxus(context, 1);
    const daemon = await startDaemon(context, {
      profileDir: null,
      config: {
        redis: { url: `unix://${redis.socket}` },
        // Next to nothing is polled meanwhile.
        sources: {
          default: {
            base_url: noxus.url,
            api_key: noxus.apiKey,
            rate_limit: { requests: 1, per: '10s' },
          },
        },
        polling: { lists: 'off', hints: 'off' },
      },
    });
    let registered = 0;
    const costOf = async (batch?: string): Promise<Cost> => {
      const ids = Array.from({ length: RUNS }, () => runIdAt(registered++));
      const before = await usageOf(redis);
      await redis.takeCommands();
      const startedAt = performance.now();
      await daemon.register(ids, batch === undefined ? {} : { batch });
      const ms = performance.now() - startedAt;
      const commands = sum(Object.values(await redis.takeCommands())) / RUNS;
      const after = await usageOf(redis);
      return {
        ms,
        redisMs: after.redisMs - before.redisMs,
        redisBytes: after.redisBytes - before.redisBytes,
        commands,
      };
    };
    for (let at = 0; at < WARM_UP; at += 1) {
      await costOf();
      await costOf(`first-${at}`);
    }
    const pairs: Pair[] = [];
    for (let round = 0; round < rounds; round += 1) {
      // What grows meanwhile burdens either as often.
      const isFirst = round % 2 === 0;
      const before = isFirst ? await costOf() : null;
      const together = await costOf(`nightly-${round}`);
      pairs.push({ alone: before ?? (await costOf()), together });
    }
    return { figures: figuresOf(pairs), details: { redis: redis.version, pairs } };
  });
}

function figuresOf(pairs: readonly Pair[]): Figure[] {
  // The load of the machine goes up and down, for both of a pair alike.
  const ratios = pairs.map(({ alone, together }) => together.ms / alone.ms);
  const [low, high] = [percentile(ratios, 0.25), percentile(ratios, 0.75)];
  /** Of all together: of one pair it is no more than what Redis counts in one go. */
  const ratioOf = (of: (cost: Cost) => number) =>
    rounded(
      sum(pairs.map(({ together }) => of(together))) / sum(pairs.map(({ alone }) => of(alone))),
    );
  const commandsOf = (which: keyof Pair) =>
    rounded(median(pairs.map((pair) => pair[which].commands)));
  const unit = 'of that without';
  const target = { atMost: MOST };
  return [
    {
      name: 'time to register 1,000 runs with a batch',
      value: rounded(median(ratios)),
      unit,
      target,
    },
    { name: 'CPU of Redis', value: ratioOf(({ redisMs }) => redisMs), unit, target },
    { name: 'memory of Redis', value: ratioOf(({ redisBytes }) => redisBytes), unit },
    { name: 'commands of Redis for a run', value: commandsOf('together'), unit: 'with a batch' },
    { name: 'commands of Redis for a run', value: commandsOf('alone'), unit: 'without' },
    {
      name: 'time without a batch',
      value: rounded(median(pairs.map(({ alone }) => alone.ms))),
      unit: 'ms',
    },
    { name: 'half of the ratios of time', value: rounded(high - low), unit: 'from low to high' },
  ];
}

async function usageOf(redis: BenchRedis) {
  const { used_cpu_user_main_thread: user = NaN, used_cpu_sys_main_thread: sys = NaN } =
    await redis.info('cpu');
  const { used_memory: redisBytes = NaN } = await redis.info('memory');
  return { redisMs: (user + sys) * 1_000, redisBytes };
}
