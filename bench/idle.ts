import { setTimeout as delay } from 'node:timers/promises';
import { startDaemon } from './support/daemon.ts';
import { rounded, type BenchResult } from './support/figures.ts';
import { withContext } from './support/context.ts';
import { startNoxus } from './support/noxus.ts';
import { startRedis } from './support/redis.ts';

/**
 * By now the work of the start is over, ms. What is left of it V8 collects three times within 26 s, by a tenth
 * of a second of CPU time each.
 */
const SETTLE_MS = 40_000;

/**
 * What an idle daemon with one source costs: commands as Redis counts them, including those of
 * scripts, and its own CPU time. Targets: 5 commands and 5 ms a second.
 */
export async function benchIdle({ seconds }: { seconds: number }): Promise<BenchResult> {
  return withContext(async (context) => {
    const redis = await startRedis(context);
    const noxus = await startNoxus(context, 1);
    const daemon = await startDaemon(context, {
      profileDir: null,
      config: {
        redis: { url: `unix://${redis.socket}` },
        sources: { default: { base_url: noxus.url, api_key: noxus.apiKey } },
      },
    });
    await delay(SETTLE_MS);
    // Reading the usage takes commands, too.
    const before = await daemon.usage();
    await redis.takeCommands();
    await delay(seconds * 1_000);
    const commands = await redis.takeCommands();
    const after = await daemon.usage();
    const perSecond = (count: number) => rounded(count / seconds);
    // Commands of the measurement itself do not count.
    const own = new Set(['info', 'config|resetstat']);
    const counted = Object.entries(commands).filter(([name]) => !own.has(name));
    return {
      figures: [
        {
          name: 'Redis commands a second, those in scripts included',
          value: perSecond(counted.reduce((sum, [, count]) => sum + count, 0)),
          unit: '/s',
          target: { atMost: 5 },
        },
        {
          name: 'CPU time a second',
          value: perSecond((after.cpuUs - before.cpuUs) / 1_000),
          unit: 'ms',
          target: { atMost: 5 },
        },
      ],
      details: { commands: Object.fromEntries(counted) },
    };
  });
}
