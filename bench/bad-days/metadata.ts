import { setTimeout as delay } from 'node:timers/promises';
import { withContext } from '../support/context.ts';
import { sourceAt, startDaemon } from '../support/daemon.ts';
import { rounded, type Figure } from '../support/figures.ts';
import { runIdAt, startNoxus } from '../support/noxus.ts';
import { startRedis } from '../support/redis.ts';

const WATCHES = 20_000;

/** So many with metadata fit into one request. */
const BATCH = 200;

/** Long enough for buffers to be let go of, ms. */
const CALM_MS = 10_000;

const MOST_MORE_MB = 100;

/** Nearly the most that a watch may have: 4 KiB. */
const METADATA = Object.fromEntries(
  Array.from({ length: 15 }, (_, at) => [`key-${at}`, 'x'.repeat(256)]),
);

/**
 * What metadata of very many watches takes of a daemon's memory. What it keeps is judged: the resident
 * size depends on when Node collects the garbage of the registrations, and gives pages back.
 */
export async function playMetadata(): Promise<Figure[]> {
  const without = await memoryOf({});
  const beside = await memoryOf({ metadata: METADATA });
  const name = `${WATCHES.toLocaleString('en')} watches with 4 KiB of metadata each`;
  const figure = (what: string, [more, less]: [number, number]): Figure => ({
    name: `${name}: ${what} beyond that without`,
    value: rounded(more - less),
    unit: `MB (${rounded(more)} and ${rounded(less)} MB)`,
  });
  return [
    {
      ...figure('heap of the daemon', [beside.heapMb, without.heapMb]),
      target: { atMost: MOST_MORE_MB },
    },
    figure('resident size after registration', [beside.rssMb, without.rssMb]),
    figure('resident size after a collection', [beside.collectedMb, without.collectedMb]),
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
        sources: { default: sourceAt(noxus, 20) },
        endpoints: { log: { type: 'log' } },
      },
    });
    for (let at = 0; at < WATCHES; at += BATCH) {
      const ids = Array.from({ length: BATCH }, (_, one) => runIdAt(at + one));
      await daemon.register(ids, as);
    }
    await delay(CALM_MS);
    const { rssBytes } = await daemon.usage();
    const held = await daemon.inspect();
    return {
      rssMb: rssBytes / 1e6,
      heapMb: held.heapBytes / 1e6,
      collectedMb: held.rssBytes / 1e6,
    };
  });
}
