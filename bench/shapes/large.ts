import { startReceiver } from '../../src/simulator/receiver.ts';
import { startDaemon, type BenchDaemon } from '../support/daemon.ts';
import { percentile, rounded, type Figure } from '../support/figures.ts';
import { withContext } from '../support/context.ts';
import { runIdAt } from '../support/noxus.ts';
import { residentBytes } from '../support/process.ts';
import { startRedis } from '../support/redis.ts';
import { startLargeNoxus } from './large-noxus.ts';
import { delaysOf, ENDS } from './slow.ts';
import { until } from './polled.ts';

const MB = 1_000_000;
const MIB = 1_048_576;

const LARGE_RUNS = 40;
const LARGE_BYTES = 5 * MB;
const HUGE_BYTES = 60 * MB;

const SAMPLE_EVERY_MS = 50;

/** Delays below this are machine noise, ms. */
const NOISE_MS = 100;

/** The cost of runs with large inputs: memory, and the delay of other runs. */
async function large(): Promise<Figure[]> {
  return withContext(async (context) => {
    const redis = await startRedis(context);
    const receiver = await startReceiver({ secrets: [] });
    context.onEnd(() => receiver.close());
    const noxus = await startLargeNoxus(context);
    const daemon = await startDaemon(context, {
      profileDir: null,
      config: {
        redis: { url: `unix://${redis.socket}` },
        sources: {
          default: {
            base_url: noxus.url,
            api_key: 'none',
            timeout: '30s',
            rate_limit: { requests: 200, per: '1s' },
          },
        },
        polling: { min_interval: '500ms', max_interval: '2s', lists: 'off' },
        endpoints: { ops: { type: 'webhook', url: receiver.url, events: ['*'] } },
      },
    });
    const small = Array.from({ length: 2 * ENDS }, (_, at) => runIdAt(at));
    const many = Array.from({ length: LARGE_RUNS }, (_, at) => runIdAt(1_000 + at));
    const huge = runIdAt(2_000);
    const add = async (ids: string[], bytes: number) => {
      for (const id of ids) noxus.add(id, bytes);
      await daemon.register(ids);
    };
    await add(small, 500);
    await until(() => small.every((id) => noxus.reads(id) > 0));
    const source = { simulator: noxus };
    const quiet = await delaysOf({ receiver }, source, small.slice(0, ENDS));
    const memory = sampleMemory(daemon);
    await add(many, LARGE_BYTES);
    const beside = await delaysOf({ receiver }, source, small.slice(ENDS));
    await until(() => many.every((id) => noxus.reads(id) > 0));
    const growth = await memory.stop();
    await add([huge], HUGE_BYTES);
    await until(() => noxus.reads(huge) > 0);
    noxus.setStatus(huge, 'failed');
    const isDelivered = await until(() =>
      receiver.received.some(({ body }) => body.includes(huge)),
    );
    const reads = many.reduce((sum, id) => sum + noxus.reads(id), 0);
    const delayFigure = (share: number): Figure => ({
      name: `beside ${LARGE_RUNS} runs of 5 MB: p${share * 100} of others`,
      value: percentile(beside, share),
      unit: `ms (quiet ${percentile(quiet, share)})`,
      target: { atMost: 2 * Math.max(NOISE_MS, percentile(quiet, share)) },
    });
    return [
      {
        name: `${LARGE_RUNS} runs of 5 MB at once: growth of RSS (${reads} reads)`,
        value: rounded(growth / MIB),
        unit: 'MiB',
        target: { atMost: 100 },
      },
      delayFigure(0.5),
      delayFigure(0.9),
      {
        name: 'a run of 60 MB: its end is delivered',
        value: isDelivered ? 1 : 0,
        unit: '',
        target: { atLeast: 1 },
      },
    ];
  });
}

/** Samples the memory of a daemon. `stop` returns by how much it grew at the most, bytes. */
function sampleMemory(daemon: BenchDaemon): { stop(): Promise<number> } {
  const samples: number[] = [];
  const sample = async () =>
    void samples.push((await residentBytes(daemon.pid)) ?? (await daemon.usage()).rssBytes);
  const first = sample();
  const timer = setInterval(() => void sample(), SAMPLE_EVERY_MS);
  return {
    async stop() {
      clearInterval(timer);
      await first;
      return Math.max(...samples) - (samples[0] ?? 0);
    },
  };
}

export const largeCells = { 'large-runs': large };
