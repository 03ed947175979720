import { setTimeout as delay } from 'node:timers/promises';
import { startSimulator, type Simulator } from '../src/simulator/server.ts';
import { openStores } from '../test/support/stores.ts';
import { waitFor } from '../test/support/wait-for.ts';
import { sourceAt, startDaemon, type BenchDaemon } from './support/daemon.ts';
import { median, rounded, type BenchResult } from './support/figures.ts';
import { withContext, type BenchContext } from './support/context.ts';
import { startRedis, type BenchRedis } from './support/redis.ts';
import { startWebhookLog, type Webhook, type WebhookLog } from './support/webhook-log.ts';

/** Answers take this long, so that polls are under way at any moment, ms. */
const STALL_MS = 60_000;

const ENDPOINTS = 10;

/** Ended runs per receiver, sent four at a time. */
const ENDED = 8;
const UNDER_WAY = 4 * ENDPOINTS;

/** Tries for each round: now and then one daemon has all polls, and the other all deliveries. */
const TRIES = 5;

/** How long Redis is suspended, ms. */
const PAUSE_MS = 20_000;

/** A process that counts as dead because of that would do so within this, ms. */
const JUDGED_MS = 4_500;

interface TakeoverOptions {
  rounds: number;
  /** Runs that are polled. */
  runs: number;
}

type Signal = 'SIGKILL' | 'SIGTERM';

/**
 * How long polls and deliveries in flight wait for another daemon when theirs is killed, and when
 * it is stopped. Two daemons read runs that answer only after a minute, and send to receivers that
 * never answer. A daemon that has both ends, and the other takes over its work. Then Redis stands
 * still for 20 s, which makes each process look dead to the other. Targets: 5 s after kill -9, 1 s
 * after SIGTERM, and no process counts as dead because Redis stood still.
 */
export async function benchTakeover({ rounds, runs }: TakeoverOptions): Promise<BenchResult> {
  const waits: Record<Signal, Waits[]> = { SIGKILL: [], SIGTERM: [] };
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    for (let tries = 0; waits[signal].length < rounds; tries += 1) {
      if (tries > TRIES * rounds) throw new Error('no daemon had both polls and deliveries');
      const waited = await withContext((context) => end(context, runs, signal));
      if (waited !== null) waits[signal].push(waited);
    }
  }
  const paused = await withContext((context) => pause(context, runs));
  const figures = [
    { name: 'after kill -9', waited: waits.SIGKILL, target: { atMost: 5 } },
    { name: 'after SIGTERM', waited: waits.SIGTERM, target: { atMost: 1 } },
  ];
  return {
    figures: [
      ...figures.flatMap(({ name, waited, target }) =>
        (['polls', 'deliveries'] as const).flatMap((kind) => {
          const seconds = waited.map((one) => one[kind]);
          return [
            {
              name: `${kind}: longest wait ${name}`,
              value: rounded(Math.max(...seconds)),
              unit: 's',
              target,
            },
            { name: `${kind}: median of rounds`, value: rounded(median(seconds)), unit: 's' },
          ];
        }),
      ),
      {
        name: 'Redis stood still for 20 s: processes that were called dead',
        value: paused.dead,
        unit: '',
        target: { atMost: 0 },
      },
      {
        name: 'polls and deliveries under way that began again',
        value: paused.again,
        unit: '',
        target: { atMost: 0 },
      },
    ],
    details: { waits },
  };
}

interface Waits {
  /** Seconds from the signal until the last one in flight has begun again. */
  polls: number;
  deliveries: number;
}

/** Two daemons with polls and deliveries under way. */
interface Scene {
  redis: BenchRedis;
  noxus: Simulator;
  log: WebhookLog;
  daemons: [BenchDaemon, BenchDaemon];
  ids: string[];
}

/** Null where one daemon has all polls, and the other all deliveries: the end of one would not cut off both. */
async function end(context: BenchContext, runs: number, signal: Signal): Promise<Waits | null> {
  const scene = await setUp(context, runs);
  const { noxus, log, ids } = scene;
  const busy = await busyDaemon(scene);
  if (busy === undefined) return null;
  const at = Date.now();
  process.kill(busy.pid, signal);
  await waitFor(() => underWay(noxus, ids) < runs, { describe: 'polls to be cut off' });
  await waitFor(() => log.webhooks.some(({ isCutOff }) => isCutOff), {
    describe: 'deliveries to be cut off',
  });
  await waitFor(() => underWay(noxus, ids) === runs, { timeoutMs: 60_000 });
  const polls = ids.map((id) => noxus.requests.run(id).times.at(-1) ?? 0);
  const again = await waitFor(() => sentAgain(log.webhooks, at), { timeoutMs: 60_000 });
  const longest = (times: number[]) => Math.max(...times.map((time) => time - at), 0) / 1_000;
  return { polls: longest(polls), deliveries: longest(again) };
}

/** When the interrupted deliveries were sent again; null while some were not. */
function sentAgain(webhooks: Webhook[], since: number): number[] | null {
  const nameOf = ({ id, path }: Webhook) => `${path} ${id}`;
  const later = new Map(
    webhooks.filter(({ at }) => at >= since).map((one) => [nameOf(one), one.at]),
  );
  const cut = webhooks.filter(({ isCutOff, at }) => isCutOff && at < since);
  const times = cut.map((one) => later.get(nameOf(one)) ?? null);
  return times.every((time) => time !== null) ? times : null;
}

async function pause(
  context: BenchContext,
  runs: number,
): Promise<{ dead: number; again: number }> {
  const { redis, noxus, log, daemons, ids } = await setUp(context, runs);
  const begun = log.webhooks.length;
  redis.freeze();
  await delay(PAUSE_MS);
  redis.thaw();
  await delay(JUDGED_MS);
  const dead = await Promise.all(daemons.map((daemon) => daemon.logged('process.dead')));
  const polls = ids.filter((id) => noxus.requests.run(id).times.length > 1).length;
  return {
    dead: dead.reduce((sum, count) => sum + count, 0),
    again: polls + log.webhooks.length - begun,
  };
}

async function setUp(context: BenchContext, runs: number): Promise<Scene> {
  const redis = await startRedis(context);
  const noxus = await startSimulator();
  context.onEnd(() => noxus.close());
  const log = await startWebhookLog(context);
  const start = () => startDaemon(context, configOf(redis, noxus, log));
  const daemons: Scene['daemons'] = [await start(), await start()];
  log.hang();
  const added = (count: number, status: string) =>
    Array.from({ length: count }, () => noxus.add({ steps: [{ after_ms: 0, status }] }).id);
  await daemons[0].register(added(ENDED, 'completed'));
  await waitFor(() => log.webhooks.length >= UNDER_WAY, { describe: 'deliveries to be under way' });
  noxus.fault({ kind: 'stall', ms: STALL_MS });
  const ids = added(runs, 'running');
  await daemons[0].register(ids);
  await waitFor(() => underWay(noxus, ids) === runs, { describe: 'all runs to be read' });
  await delay(2_000);
  return { redis, noxus, log, daemons, ids };
}

/** A daemon that has both polls and deliveries under way; undefined where none has. */
async function busyDaemon({ redis, daemons }: Scene): Promise<BenchDaemon | undefined> {
  const { url } = daemons[0];
  const { data } = (await (await fetch(`${url}/v1/processes`)).json()) as {
    data: { id: string; name: string }[];
  };
  const stores = openStores({ url: redis.socket, prefix: 'runwatch' });
  const { requestClaims, deliveryClaims } = stores.keys;
  const claims = [requestClaims('default'), deliveryClaims];
  const tokens = await Promise.all(claims.map((key) => stores.redis.hvals(key)));
  await stores.close();
  const isBusy = (id: string) => tokens.every((all) => all.some((one) => one.startsWith(`${id}.`)));
  const busy = data.find(({ id }) => isBusy(id));
  return daemons.find(({ pid }) => busy?.name.endsWith(`:${pid}`));
}

/** How many of the runs are being read. What a daemon asks besides is none of it. */
function underWay(noxus: Simulator, ids: readonly string[]): number {
  return ids.filter((id) => noxus.requests.run(id).inFlight > 0).length;
}

function configOf(redis: BenchRedis, noxus: Simulator, log: WebhookLog) {
  const endpoints = Array.from({ length: ENDPOINTS }, (_, at) => {
    const url = `${log.url}/${at}`;
    return [`e${at}`, { type: 'webhook', url, timeout: '30s', events: ['run.completed'] }];
  });
  return {
    profileDir: null,
    config: {
      redis: { url: `unix://${redis.socket}` },
      sources: {
        default: {
          ...sourceAt(noxus),
          timeout: '60s',
        },
      },
      polling: { lists: 'off' },
      endpoints: Object.fromEntries(endpoints) as Record<string, unknown>,
    },
  };
}
