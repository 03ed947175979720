import { startDaemon } from './support/daemon.ts';
import { median, rounded, spread, type BenchResult } from './support/figures.ts';
import { withContext } from './support/context.ts';
import { runIdAt, startNoxus } from './support/noxus.ts';
import { startRedis, type BenchRedis } from './support/redis.ts';

/** Runs registered at a time: the most that the API takes. */
const RUNS = 1_000;

/** What it may cost to register runs with a batch, as a multiple of without. */
const MOST = 1.1;

interface BatchesOptions {
  rounds: number;
}

/** What it took to register {@link RUNS} runs. */
interface Cost {
  ms: number;
  redisMs: number;
  redisBytes: number;
}

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
      const startedAt = performance.now();
      await daemon.register(ids, batch === undefined ? {} : { batch });
      const ms = performance.now() - startedAt;
      const after = await usageOf(redis);
      return { ms, redisMs: after.cpuMs - before.cpuMs, redisBytes: after.bytes - before.bytes };
    };
    await costOf();
    await costOf('first');
    const [alone, together]: [Cost[], Cost[]] = [[], []];
    for (let round = 0; round < rounds; round += 1) {
      alone.push(await costOf());
      together.push(await costOf(`nightly-${round}`));
    }
    const ratioOf = (of: (cost: Cost) => number) =>
      rounded(median(together.map(of)) / median(alone.map(of)));
    return {
      figures: [
        {
          name: 'time to register 1,000 runs with a batch',
          value: ratioOf(({ ms }) => ms),
          unit: 'of that without',
          target: { atMost: MOST },
        },
        {
          name: 'CPU of Redis',
          value: ratioOf(({ redisMs }) => redisMs),
          unit: 'of that without',
        },
        {
          name: 'memory of Redis',
          value: ratioOf(({ redisBytes }) => redisBytes),
          unit: 'of that without',
        },
        { name: 'without a batch', value: rounded(median(alone.map(({ ms }) => ms))), unit: 'ms' },
        {
          name: 'spread of the times without a batch',
          value: rounded(spread(alone.map(({ ms }) => ms))),
          unit: 'of the median',
        },
      ],
      details: { redis: redis.version, alone, together },
    };
  });
}

async function usageOf(redis: BenchRedis) {
  const { used_cpu_user: user = NaN, used_cpu_sys: system = NaN } = await redis.info('cpu');
  const { used_memory: bytes = NaN } = await redis.info('memory');
  return { cpuMs: (user + system) * 1_000, bytes };
}
