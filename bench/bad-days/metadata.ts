import { setTimeout as delay } from 'node:timers/promises';
import { withContext } from '../support/context.ts';
import { sourceAt, startDaemon } from '../support/daemon.ts';
import { rounded, type Figure } from '../support/figures.ts';
import { runIdAt, startNoxus } from '../support/noxus.ts';
import { startRedis } from '../support/redis.ts';

const WATCHES = 20_000;

/** So many with metadata fit into one request. */
const BATCH = 200;

const REQUESTS_PER_S = 400;

/** Every watch is polled within this time, ms. */
const PATIENCE_MS = 300_000;

const MOST_MORE_MB = 100;

/** Nearly the most that a watch may have: 4 KiB. */
const METADATA = Object.fromEntries(
  Array.from({ length: 15 }, (_, at) => [`key-${at}`, 'x'.repeat(256)]),
);

/** What metadata of very many watches takes of a daemon's memory, from registration until each was polled. */
export async function playMetadata(): Promise<Figure[]> {
  const without = await memoryOf({});
  const beside = await memoryOf({ metadata: METADATA });
  const name = `${WATCHES.toLocaleString('en')} watches with 4 KiB of metadata each`;
  const figure = (what: string, [more, less]: [number, number]): Figure => ({
    name: `${name}: ${what} beyond that without`,
    value: rounded(more - less),
    unit: `MB (${rounded(more)} and ${rounded(less)} MB)`,
    target: { atMost: MOST_MORE_MB },
  });
  return [
    figure('largest resident size', [beside.mostMb, without.mostMb]),
    figure('resident size once each was polled', [beside.polledMb, without.polledMb]),
    figure('heap and buffers that are kept', [beside.keptMb, without.keptMb]),
  ];
}

async function memoryOf(as: Record<string, unknown>) {
  return withContext(async (context) => {
    const redis = await startRedis(context);
    const noxus = await startNoxus(context, WATCHES);
    const daemon = await startDaemon(context, {
      profileDir: null,
      inspect: true,
      config: {
        redis: { url: `unix://${redis.socket}` },
        sources: { default: sourceAt(noxus, REQUESTS_PER_S) },
        endpoints: { log: { type: 'log' } },
      },
    });
    let most = 0;
    const look = async () => {
      const usage = await daemon.usage();
      most = Math.max(most, usage.rssBytes);
      return usage;
    };
    for (let at = 0; at < WATCHES; at += BATCH) {
      const ids = Array.from({ length: BATCH }, (_, one) => runIdAt(at + one));
      await daemon.register(ids, as);
      await look();
    }
    const until = Date.now() + PATIENCE_MS;
    while ((await look()).polls < WATCHES && Date.now() < until) await delay(1_000);
    const { rssBytes } = await look();
    const { heapBytes, bufferBytes } = await daemon.inspect();
    return {
      mostMb: most / 1e6,
      polledMb: rssBytes / 1e6,
      keptMb: (heapBytes + bufferBytes) / 1e6,
    };
  });
}
