import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../../src/core/backoff.ts';
import { randomInteger, seededRandom } from '../../src/simulator/seeded-random.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { startPrivateRedis, type PrivateRedis } from '../../test/support/redis-process.ts';
import { startKillableDaemon, type KillableDaemon } from '../../test/support/killable-daemon.ts';
import type { BenchContext } from './context.ts';
import { startMoodyReceivers, type MoodyReceivers } from './moody-receivers.ts';
import type { Kill } from './repeats.ts';
import { declaredAt, declaredTwiceAt, sourceAt } from './daemon.ts';

const DAEMONS = 2;

/** The sources, all of one fake Noxus: it is read as what it is, and as an API that the configuration declares. */
export const SOURCES = ['default', 'declared', 'twice'] as const;

/** How long a client waits before it repeats a request, ms. */
const AGAIN_AFTER_MS = 200;

/** Attempts at one endpoint at a time, over all daemons. */
const PER_ENDPOINT = 4;

/** All parts of a soak: two daemons on one Redis, a fake Noxus that is three sources, and receivers. */
export interface SoakStage {
  noxus: Simulator;
  redis: PrivateRedis;
  daemons: KillableDaemon[];
  receivers: MoodyReceivers;
  random: Random;
  /** Runs that the daemons accepted to watch. */
  registered: string[];
  /** Every kill so far. */
  kills: Kill[];
}

export async function setUpSoak(context: BenchContext, seed: number): Promise<SoakStage> {
  const random = seededRandom(seed);
  const noxus = await startSimulator();
  context.onEnd(() => noxus.close());
  const redis = await startPrivateRedis({ aof: true });
  context.onEnd(() => redis.stop());
  const receivers = await startMoodyReceivers(context, random);
  const daemons: KillableDaemon[] = [];
  for (let index = 0; index < DAEMONS; index += 1) {
    const dataDir = join(context.dir, `daemon-${index}`);
    await mkdir(dataDir);
    const daemon = await startKillableDaemon({
      dataDir,
      env: { REDIS_URL: `unix://${redis.url}` },
      config: configOf(noxus, receivers, index),
    });
    context.onEnd(async () => void (await daemon.stop()));
    daemons.push(daemon);
  }
  await Promise.all(daemons.map((daemon) => daemon.current.ready()));
  return { noxus, redis, daemons, receivers, random, registered: [], kills: [] };
}

function configOf(
  noxus: Simulator,
  { all }: MoodyReceivers,
  daemon: number,
): Record<string, unknown> {
  return {
    sources: {
      default: sourceAt(noxus),
      declared: declaredAt(noxus),
      twice: declaredTwiceAt(noxus),
    },
    polling: { min_interval: '250ms', max_interval: '1s', unreachable_after: '10s' },
    endpoints: Object.fromEntries(all.map(({ mood, endpointOf }) => [mood, endpointOf(daemon)])),
    delivery: { per_endpoint: PER_ENDPOINT },
    egress: { allow: ['127.0.0.1/32'] },
  };
}

/** API URLs of the daemons that are up. */
export function upDaemons({ daemons }: SoakStage): string[] {
  return daemons.flatMap(({ current }) => {
    try {
      return [current.url];
    } catch {
      return [];
    }
  });
}

/** Calls one of the daemons; null where it was killed, not up yet, or refused. */
export async function ask<Answer>(
  stage: SoakStage,
  path: string,
  body?: unknown,
): Promise<Answer | null> {
  const answer = await call<Answer>(stage, path, body);
  return answer !== undefined && answer.status < 300 ? answer.body : null;
}

async function call<Answer>({ daemons, random }: SoakStage, path: string, body: unknown) {
  const daemon = daemons[randomInteger(random, 0, daemons.length - 1)];
  try {
    return await daemon?.current.api<Answer>(path, body);
  } catch {
    // It was killed before it could answer; callers repeat the request.
    return undefined;
  }
}

/** Repeats a call until it succeeds, as a client does that must get through. */
export async function insist<Answer>(
  stage: SoakStage,
  path: string,
  body: unknown,
  isGood: (answer: Answer) => boolean = () => true,
): Promise<Answer> {
  for (;;) {
    const answer = await call<Answer>(stage, path, body);
    const { status = 503 } = answer ?? {};
    // An invalid call remains invalid when repeated.
    if (status === 400 || status === 404 || status === 422) {
      throw new Error(`${path} answers ${status}: ${JSON.stringify(answer?.body)}`);
    }
    if (answer !== undefined && status < 300 && isGood(answer.body)) return answer.body;
    await delay(AGAIN_AFTER_MS);
  }
}
