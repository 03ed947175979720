import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../../src/core/backoff.ts';
import { isOfRun, type RunwatchEvent } from '../../src/core/event/event.ts';
import { startReceiver, type ReceivedWebhook } from '../../src/simulator/receiver.ts';
import { randomInteger, seededRandom } from '../../src/simulator/seeded-random.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { killTestRuns, type KillTestRun } from './kill-runs.ts';
import {
  allOf,
  killableConfig,
  startKillableDaemon,
  type KillableDaemon,
} from './killable-daemon.ts';
import { openStores } from './stores.ts';
import { waitFor } from './wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 9).toString('base64')}`;
const AWAITING = 'run.awaiting_human_feedback';

/** A daemon's concurrent attempts: at most so many may repeat after it was killed. */
export const PER_ENDPOINT = 4;

export interface KillPlan {
  seed: number;
  daemons: number;
  /** How often a daemon is killed. */
  kills: number;
  /** The kills after which Redis is killed too. */
  redisAfter: number[];
  /** The URL of a Redis that the daemons do not run themselves. */
  redisUrl?: string;
  /** The data directory that the daemons share. */
  dataDir: string;
  /** Kills Redis; restarts it where the daemons do not. */
  killRedis: () => Promise<void>;
}

/** The state after all work has ended. */
export interface KillOutcome {
  runs: KillTestRun[];
  /** Webhooks that were answered with success, in their order. */
  accepted: ReceivedWebhook[];
  /** Webhooks with an invalid signature. */
  forged: number;
  /** The log of events. */
  events: RunwatchEvent[];
  finished: number;
  planned: number;
  byState: Record<string, number>;
  /** Ids of events that were superseded before their delivery. */
  superseded: Set<string>;
  /** Keys that stand for unfinished work. */
  leftovers: string[];
  /** Watches that were packed between the kills and since. */
  packed: number;
  maxInFlightPerRun: number;
}

interface KillTest {
  noxus: Simulator;
  daemons: KillableDaemon[];
  random: Random;
  /** How many different events of a type the receiver got for a run. */
  countEvents: (runId: string, type: string) => number;
}

/**
 * Runs a kill test: daemons and Redis are killed while runs change and end, until no work remains.
 */
export async function runKillTest(plan: KillPlan): Promise<KillOutcome> {
  const runs = killTestRuns(plan.seed);
  const random = seededRandom(plan.seed);
  const noxus = await startSimulator();
  // Slow answers make sure that a kill finds requests under way.
  noxus.fault({ kind: 'stall', ms: 150, probability: 0.2, seed: plan.seed });
  noxus.fault({ kind: 'stall', ms: 20 });
  const hooks = await startHooks(random);
  const daemons = await Promise.all(
    Array.from({ length: plan.daemons }, () =>
      startKillableDaemon(daemonOptions(plan, noxus, hooks.url)),
    ),
  );
  const context = {
    noxus,
    daemons,
    random,
    countEvents: hooks.countEvents,
  };
  try {
    await allOf([registerAll(context, runs), killAll(context, plan)]);
    await Promise.all(runs.filter(({ waits }) => waits > 0).map((run) => resume(context, run)));
    return await settle(context, plan, runs, hooks);
  } finally {
    await Promise.all(daemons.map((daemon) => daemon.stop()));
    await Promise.all([noxus.close(), hooks.close()]);
  }
}

function daemonOptions({ redisUrl, dataDir }: KillPlan, noxus: Simulator, receiverUrl: string) {
  return {
    dataDir,
    env: redisUrl === undefined ? {} : { REDIS_URL: redisUrl },
    config: {
      ...killableConfig(noxus, { url: receiverUrl, secret: SECRET }),
      polling: { min_interval: '100ms', max_interval: '1s' },
      // Watches are packed soon after they have ended, and none is forgotten.
      watches: { retention: '10m' },
      delivery: { per_endpoint: PER_ENDPOINT },
    },
  };
}

/** Starts a slow receiver that sometimes answers with a failure. */
async function startHooks(random: Random) {
  const accepted: ReceivedWebhook[] = [];
  const ids = new Map<string, Set<string>>();
  let forged = 0;
  const receiver = await startReceiver({
    secrets: [SECRET],
    respond(webhook) {
      if (!webhook.verified) forged += 1;
      if (!webhook.verified || random() < 0.03) return 503;
      accepted.push(webhook);
      const name = `${eventOf(webhook).data.run_id} ${webhook.type}`;
      ids.set(name, (ids.get(name) ?? new Set()).add(webhook.id ?? ''));
      return { status: 204, delayMs: randomInteger(random, 1, 20) };
    },
  });
  return {
    url: receiver.url,
    accepted,
    forged: () => forged,
    countEvents: (runId: string, type: string) => ids.get(`${runId} ${type}`)?.size ?? 0,
    close: () => receiver.close(),
  };
}

export function eventOf({ body }: ReceivedWebhook): RunwatchEvent {
  return JSON.parse(body) as RunwatchEvent;
}

interface BatchAnswer {
  results: { status: number }[];
}

/** Registers all runs, and repeats each request until it succeeds. */
async function registerAll({ noxus, daemons, random }: KillTest, runs: KillTestRun[]) {
  for (let at = 0; at < runs.length; at += 10) {
    const some = runs.slice(at, at + 10);
    for (const { script } of some) noxus.add(script);
    const watches = some.map(({ id }) => ({ run_id: id }));
    await waitFor(
      async () => {
        const daemon = daemons[randomInteger(random, 0, daemons.length - 1)];
        // On a busy machine it is ready for a moment only, and is killed again.
        await daemon?.current.ready();
        const answer = await daemon?.current.api<BatchAnswer>('/v1/watches/batch', { watches });
        return answer?.body.results.every(({ status }) => status < 300);
      },
      { everyMs: 20, timeoutMs: 500_000, describe: 'a good answer to a registration' },
    );
    await sleep(random() * 600);
  }
}

/** Kills at random instants: most while the daemon is at work, some while it starts. */
async function killAll({ daemons, random }: KillTest, plan: KillPlan): Promise<void> {
  for (let kill = 1; kill <= plan.kills; kill += 1) {
    const victim = daemons[randomInteger(random, 0, daemons.length - 1)];
    if (random() < 0.75) await victim?.current.ready();
    await sleep(random() * 600);
    if (plan.redisAfter.includes(kill)) {
      // A daemon that loses Redis while it starts ends, as it should.
      await Promise.all(daemons.map(({ current }) => current.ready()));
      await plan.killRedis();
    }
    await victim?.kill();
  }
}

/** Resumes a waiting run once the receiver has its event, and then ends it. */
async function resume({ noxus, countEvents }: KillTest, { id, waits }: KillTestRun): Promise<void> {
  const notified = (type: string, times: number) =>
    waitFor(() => countEvents(id, type) >= times, {
      describe: () => `run ${id} to have ${times} events of type ${type}`,
    });
  await notified(AWAITING, 1);
  noxus.setStatus(id, 'running');
  if (waits === 2) {
    await notified('run.resumed', 1);
    noxus.setStatus(id, 'awaiting_human_feedback');
    await notified(AWAITING, 2);
    noxus.setStatus(id, 'running');
  }
  noxus.setStatus(id, 'completed');
}

async function settle(
  { noxus, daemons }: KillTest,
  plan: KillPlan,
  runs: KillTestRun[],
  hooks: Awaited<ReturnType<typeof startHooks>>,
): Promise<KillOutcome> {
  const url = plan.redisUrl ?? `${plan.dataDir}/redis.sock`;
  const stores = openStores({ url, prefix: 'runwatch' });
  const leftovers = async () => (await stores.keysLeft()).filter(isWork);
  try {
    await waitFor(async () => (await stores.watches.counts()).finished === runs.length, {
      describe: 'all watches to be finished',
    });
    await waitFor(async () => (await leftovers()).length === 0, {
      describe: 'nothing to be left to do',
    }).catch(() => undefined);
    const { planned, byState } = await stores.deliveries.counts();
    return {
      runs,
      accepted: hooks.accepted,
      forged: hooks.forged(),
      events: await allEvents(stores),
      finished: (await stores.watches.counts()).finished,
      planned,
      byState,
      superseded: await supersededEvents(stores),
      leftovers: await leftovers(),
      packed: (await stores.history.size()).watches,
      maxInFlightPerRun: noxus.requests.maxInFlightPerRun,
    };
  } finally {
    await stores.close();
    await Promise.all(daemons.map((daemon) => daemon.current.ready()));
  }
}

async function supersededEvents({
  deliveries,
}: ReturnType<typeof openStores>): Promise<Set<string>> {
  const found = new Set<string>();
  let cursor: string | undefined;
  do {
    const page = await deliveries.list({ state: ['superseded'] }, { limit: 500, cursor });
    for (const { eventId } of page.items) found.add(eventId);
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
  return found;
}

/**
 * Keys of work: ordering keys, and deliveries due, claimed, attempted or parked. Slots of BullMQ
 * are none.
 */
export function isWork(key: string): boolean {
  const [, kind = ''] = key.split(':');
  return WORK.has(kind);
}

const WORK = new Set([
  'requests',
  'request-claims',
  'lane',
  'due',
  'parked',
  'taken',
  'probe',
  'pool-due',
  'pools-due',
  'delivery-claims',
]);

async function allEvents({ events }: ReturnType<typeof openStores>): Promise<RunwatchEvent[]> {
  const found: RunwatchEvent[] = [];
  let after: string | undefined;
  do {
    const page = await events.list(after === undefined ? {} : { after }, { limit: 500 });
    found.push(...page.items.map(({ event }) => event).filter(isOfRun));
    after = page.nextCursor ?? undefined;
  } while (after !== undefined);
  return found;
}
