import { setTimeout as delay } from 'node:timers/promises';
import { randomInteger } from '../../src/simulator/seeded-random.ts';
import type { Kill } from './repeats.ts';
import { upDaemons, type SoakStage } from './soak-stage.ts';

const KILL_EVERY_MS = { least: 4_000, most: 12_000 };

/** Redis is killed with every such number of kills of daemons. */
const REDIS_EVERY = 4;

/** Longest absence of Redis, ms; afterwards it has to load its file, too. */
const REDIS_AWAY_MS = 2_000;

/** The last output of a dead process is read within this, and no process starts within it, ms. */
const LAST_WORDS_MS = 100;

/** Daemons have reconnected to Redis by then, ms. */
const RECONNECT_MS = 3_000;

/** Kills daemons, and Redis now and then, at random moments and without a warning. */
export async function killAtRandom(stage: SoakStage, until: number): Promise<void> {
  const { random } = stage;
  for (let killed = 1; ; killed += 1) {
    await delay(randomInteger(random, KILL_EVERY_MS.least, KILL_EVERY_MS.most));
    if (Date.now() > until) return;
    await killDaemon(stage);
    if (killed % REDIS_EVERY === 0) await killRedis(stage);
  }
}

async function killDaemon({ daemons, random, kills }: SoakStage): Promise<void> {
  const victim = randomInteger(random, 0, daemons.length - 1);
  const kill: Kill = { victim, at: Date.now(), until: Infinity };
  kills.push(kill);
  await daemons[victim]?.kill();
  kill.until = Date.now() + LAST_WORDS_MS;
}

async function killRedis({ redis, random, kills }: SoakStage): Promise<void> {
  const kill: Kill = { victim: 'redis', at: Date.now(), until: Infinity };
  kills.push(kill);
  await redis.kill();
  await delay(randomInteger(random, 0, REDIS_AWAY_MS));
  await redis.restart();
  kill.until = Date.now();
}

/** Why a sample of the equation at that time may have failed; null where it had to work. */
export function excuseOf(
  stage: SoakStage,
  place: 'redis' | 'metrics',
  askedAt: number,
): string | null {
  const isAway = ({ victim, until }: Kill) => victim === 'redis' && until + RECONNECT_MS > askedAt;
  if (stage.kills.some(isAway)) return 'Redis was killed';
  if (place === 'redis') return null;
  if (upDaemons(stage).length === 0) return 'all daemons were killed';
  // The only daemon that was up has died of the request, or during it.
  return stage.kills.some(({ at }) => at >= askedAt - LAST_WORDS_MS) ? 'a daemon was killed' : null;
}
