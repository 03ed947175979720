import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../../src/core/backoff.ts';
import type { Delivery } from '../../src/core/delivery/delivery.ts';
import { isOfRun, type RunwatchEvent } from '../../src/core/event/event.ts';
import { startReceiver, type ReceivedWebhook } from '../../src/simulator/receiver.ts';
import { randomInteger, seededRandom } from '../../src/simulator/seeded-random.ts';
import { startSimulator } from '../../src/simulator/server.ts';
import { startKillableDaemon, type KillableDaemon } from './killable-daemon.ts';
import { startPrivateRedis } from './redis.ts';
import { openStores } from './stores.ts';
import { waitFor } from './wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 5).toString('base64')}`;
const RUNS = 60;
const PAGE = 500;

/** A daemon's concurrent attempts: at most so many may repeat after it was killed. */
export const PER_ENDPOINT = 4;

export interface HistoryKillPlan {
  seed: number;
  /** Kills while runs are packed and unpacked, and while they are forgotten. */
  kills: { packing: number; forgetting: number };
}

/** What the store holds of runs, as its listings and counters say. */
export interface Holdings {
  /** Watches, with how many events and deliveries of each are listed. */
  watches: Map<string, { events: number; deliveries: number }>;
  events: RunwatchEvent[];
  deliveries: Delivery[];
  /** Numbers of deliveries by `<state> <endpoint>`, by the listing and by the counters. */
  listed: Map<string, number>;
  counted: Map<string, number>;
  planned: number;
  packed: number;
}

/** What a history kill test has seen. */
export interface HistoryOutcome {
  /** Before the first kill: every run has ended, and every delivery has arrived. */
  before: Holdings;
  /** Right after each kill, while no daemon ran. */
  duringPacking: Holdings[];
  /** After all that users asked for was done, and all was packed. */
  after: Holdings;
  duringForgetting: Holdings[];
  /** After all was forgotten, with what keys are left. */
  end: Holdings & { keys: string[] };
  /** Redeliveries that the API accepted, by the id of the delivery. */
  redelivered: Set<string>;
  /** Runs that were registered again for another endpoint. */
  registered: Set<string>;
  /** Webhooks that were answered with success, in their order. */
  accepted: { hooks: readonly ReceivedWebhook[]; late: readonly ReceivedWebhook[] };
}

type Stores = ReturnType<typeof openStores>;

/**
 * Kills a daemon while ended runs are packed, unpacked by redeliveries and registrations of users,
 * and forgotten.
 */
export async function runHistoryKillTest({
  seed,
  kills,
}: HistoryKillPlan): Promise<HistoryOutcome> {
  const random = seededRandom(seed);
  const [noxus, redis] = await Promise.all([startSimulator(), startPrivateRedis({ aof: false })]);
  const respond = () => ({ status: 204, delayMs: randomInteger(random, 1, 10) });
  const receiver = () => startReceiver({ secrets: [SECRET], respond });
  const [hooks, late] = await Promise.all([receiver(), receiver()]);
  const stores = openStores({ url: redis.url, prefix: 'runwatch' });
  const start = (retention: string) =>
    startKillableDaemon({
      env: { REDIS_URL: redis.url },
      config: configOf({ noxus, urls: [hooks.url, late.url], retention }),
    });
  // Watches are packed half a second after they have settled, long before they would be forgotten.
  const keeping = await start('500s');
  try {
    const runs = Array.from({ length: RUNS }, () => {
      return noxus.add({ steps: [{ after_ms: 300, status: 'completed' }] }).id;
    });
    await allPacked({ daemon: keeping, stores, runs });
    const before = await holdingsOf(stores);
    const users = startUsers(keeping, before, random);
    const duringPacking = await killWhileUnpacking(keeping, stores, {
      kills: kills.packing,
      random,
      isOver: users.haveAsked,
    });
    const { redelivered, registered } = await users.stop();
    await keeping.current.ready();
    await allPacked({ daemon: keeping, stores, runs });
    const after = await holdingsOf(stores);
    await keeping.stop();

    const forgetting = await start('1s');
    const duringForgetting = await killWhileForgetting(forgetting, stores, kills.forgetting);
    await waitFor(async () => (await stores.watches.counts()).finished === 0, {
      describe: 'all runs to be forgotten',
    });
    await forgetting.stop();
    const end = { ...(await holdingsOf(stores)), keys: await stores.keysLeft() };
    const seen = { before, duringPacking, after, duringForgetting, end };
    const accepted = { hooks: hooks.received, late: late.received };
    return { ...seen, redelivered, registered, accepted };
  } finally {
    await keeping.stop();
    await stores.close();
    await Promise.all([noxus.close(), hooks.close(), late.close(), redis.stop()]);
  }
}

interface ConfigOptions {
  noxus: { url: string; apiKey: string };
  urls: [hooks: string, late: string];
  retention: string;
}

function configOf({ noxus, urls: [hooks, late], retention }: ConfigOptions) {
  const endpoint = { type: 'webhook', secret: SECRET, events: ['*'] };
  return {
    sources: {
      default: {
        base_url: noxus.url,
        api_key: noxus.apiKey,
        rate_limit: { requests: 10_000, per: '1s' },
      },
    },
    polling: { min_interval: '50ms', max_interval: '200ms' },
    endpoints: {
      hooks: { ...endpoint, url: hooks, default: true },
      late: { ...endpoint, url: late },
    },
    watches: { retention },
    delivery: { retention, per_endpoint: PER_ENDPOINT },
    egress: { allow: ['127.0.0.1/32'] },
  };
}

/** Registers runs until the daemon has all, and waits until all are packed. */
async function allPacked({
  daemon,
  stores,
  runs,
}: {
  daemon: KillableDaemon;
  stores: Stores;
  runs: readonly string[];
}): Promise<void> {
  await daemon.current.ready();
  const watches = runs.map((run_id) => ({ run_id }));
  const answer = await daemon.current.api('/v1/watches/batch', { watches });
  if (answer.status !== 200) throw new Error(`the batch was answered by ${answer.status}`);
  await waitFor(async () => (await stores.history.size()).watches === runs.length, {
    describe: 'all runs to be packed',
  });
}

/** Redelivers each delivery once, and registers each run once for another endpoint, as users do. */
function startUsers(daemon: KillableDaemon, { deliveries }: Holdings, random: Random) {
  const redelivered = new Set<string>();
  const registered = new Set<string>();
  const over = new AbortController();
  const wishes = deliveries.flatMap(({ id, runId }) => [
    { done: redelivered, name: id, path: `/v1/deliveries/${id}/redeliver`, body: {} },
    {
      done: registered,
      name: runId,
      path: '/v1/watches',
      body: { run_id: runId, endpoints: ['late'] },
    },
  ]);

  async function ask(): Promise<void> {
    for (const { done, name, path, body } of shuffled(wishes, random)) {
      // While no daemon answers, the user asks again.
      while (!over.signal.aborted && !done.has(name)) {
        const status = await statusOf(daemon, path, body);
        if (status >= 200 && status < 300) done.add(name);
        else await sleep(20);
      }
      if (over.signal.aborted) return;
      await sleep(randomInteger(random, 5, 40));
    }
  }

  const asking = ask();
  let areThrough = false;
  void asking.finally(() => (areThrough = true));
  return {
    /** Whether everything was asked for. */
    haveAsked: () => areThrough,
    async stop() {
      over.abort();
      await asking;
      return { redelivered, registered };
    },
  };
}

/** 0 for no answer. */
async function statusOf(daemon: KillableDaemon, path: string, body: unknown): Promise<number> {
  try {
    return (await daemon.current.api(path, body)).status;
  } catch {
    return 0;
  }
}

function shuffled<Item>(items: readonly Item[], random: Random): Item[] {
  return items
    .map((item) => ({ item, at: random() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

/**
 * Kills at random moments after the daemon was ready, and every second time once a run is unpacked, which is soon
 * packed again. @returns what the store held after each kill
 */
async function killWhileUnpacking(
  daemon: KillableDaemon,
  stores: Stores,
  { kills, random, isOver }: { kills: number; random: Random; isOver: () => boolean },
): Promise<Holdings[]> {
  const seen: Holdings[] = [];
  for (let kill = 0; kill < kills; kill += 1) {
    await daemon.current.ready();
    await sleep(randomInteger(random, 50, 600));
    if (kill % 2 === 0) {
      await waitFor(async () => isOver() || (await stores.history.size()).watches < RUNS, {
        everyMs: 1,
        describe: 'a run to be unpacked',
      });
    }
    await daemon.current.stop('SIGKILL');
    seen.push(await holdingsOf(stores));
    await daemon.kill();
  }
  return seen;
}

/** Kills once some of the runs have been forgotten that the daemon found. */
async function killWhileForgetting(
  daemon: KillableDaemon,
  stores: Stores,
  kills: number,
): Promise<Holdings[]> {
  const seen: Holdings[] = [];
  const count = async () => (await stores.watches.counts()).finished;
  for (let kill = 0; kill < kills; kill += 1) {
    const before = await count();
    await waitFor(async () => before === 0 || (await count()) < before, {
      everyMs: 1,
      describe: 'a run to be forgotten',
    });
    await daemon.current.stop('SIGKILL');
    seen.push(await holdingsOf(stores));
    await daemon.kill();
  }
  return seen;
}

async function holdingsOf(stores: Stores): Promise<Holdings> {
  const watches = await all((cursor) => stores.watches.list({}, { limit: PAGE, cursor }));
  const events = await all(async (after) => {
    const page = await stores.events.list(after === undefined ? {} : { after }, { limit: PAGE });
    const isLast = page.items.length < PAGE;
    return {
      items: page.items.map(({ event }) => event).filter(isOfRun),
      nextCursor: isLast ? null : page.nextCursor,
    };
  });
  const deliveries = await all((cursor) => stores.deliveries.list({}, { limit: PAGE, cursor }));
  const { planned, byEndpoint } = await stores.deliveries.counts();
  const ofRun = (runId: string) => ({
    events: events.filter(({ data }) => data.run_id === runId).length,
    deliveries: deliveries.filter((delivery) => delivery.runId === runId).length,
  });
  const counted = [...byEndpoint].flatMap(([endpoint, byState]) =>
    Object.entries(byState).map(([state, count]) => [`${state} ${endpoint}`, count] as const),
  );
  return {
    watches: new Map(watches.map(({ runId }) => [runId, ofRun(runId)])),
    events,
    deliveries,
    listed: tally(deliveries.map(({ state, endpoint }) => `${state} ${endpoint}`)),
    counted: new Map(counted.filter(([, count]) => count > 0)),
    planned,
    packed: (await stores.history.size()).watches,
  };
}

async function all<Item>(
  read: (cursor?: string) => Promise<{ items: Item[]; nextCursor: string | null }>,
): Promise<Item[]> {
  const items: Item[] = [];
  let cursor: string | undefined;
  do {
    const page = await read(cursor);
    items.push(...page.items);
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
  return items;
}

/** How often each text occurs. */
export function tally(texts: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  return counts;
}
