import { createServer } from 'node:http';
import { startSimulator, type Simulator } from '../src/simulator/server.ts';
import { createKeys } from '../src/redis/keys.ts';
import { startCluster, startSentinel, type Topology } from '../test/support/redis-topology.ts';
import { waitFor } from '../test/support/wait-for.ts';
import { sourceAt, startDaemon, type BenchDaemon } from './support/daemon.ts';
import { rounded, type BenchResult, type Figure } from './support/figures.ts';
import { withContext, type BenchContext } from './support/context.ts';
import { serve } from './support/serve.ts';

/** Runs that end while the primary is dead. */
const RUNS = 60;

const PREFIX = 'runwatch';

interface HaOptions {
  rounds: number;
}

interface Round {
  /** From the kill to the first webhook of an end, ms. */
  backAfterMs: number;
  notified: number;
  again: number;
}

/**
 * Kills the primary of Sentinels, and of a cluster, while runs end. Measures how soon work goes on,
 * whether every end is notified, and how many twice. Servers count as dead after 0.7 s of silence;
 * a group with a longer limit is back later by as much. Targets: work goes on within 5 s, no end is
 * lost.
 */
export async function benchHa({ rounds }: HaOptions): Promise<BenchResult> {
  return withContext(async (context) => {
    const results = { sentinel: [] as Round[], cluster: [] as Round[] };
    for (let round = 0; round < rounds; round += 1) {
      results.sentinel.push(await playSentinel(context));
      results.cluster.push(await playCluster(context));
    }
    const figures = Object.entries(results).flatMap(([name, played]) => figuresOf(name, played));
    return { figures, details: results };
  });
}

async function playSentinel(context: BenchContext): Promise<Round> {
  const servers = await startSentinel();
  context.onEnd(() => servers.stop());
  const { sentinels, name } = servers;
  return play(context, servers, { sentinels, name });
}

async function playCluster(context: BenchContext): Promise<Round> {
  const servers = await startCluster(createKeys(PREFIX).writeProbe);
  context.onEnd(() => servers.stop());
  return play(context, servers, { cluster: servers.nodes });
}

async function play(
  context: BenchContext,
  servers: Topology,
  redis: Record<string, unknown>,
): Promise<Round> {
  const noxus = await startSimulator();
  context.onEnd(() => noxus.close());
  const receiver = await startReceiver(context);
  const daemon = await startDaemon(context, {
    config: configOf(noxus, receiver.url, { ...redis, prefix: PREFIX }),
    profileDir: null,
  });
  const ids = Array.from({ length: RUNS }, () => {
    return noxus.add({ steps: [{ after_ms: 0, status: 'running' }] }).id;
  });
  await daemon.register(ids);
  await waitFor(() => ids.every((id) => noxus.requests.run(id).count > 0), { timeoutMs: 20_000 });
  try {
    return await killAndCount(daemon, { servers, noxus, ids, ends: receiver.ends });
  } finally {
    await daemon.end();
    await servers.stop();
  }
}

interface Scene {
  servers: Topology;
  noxus: Simulator;
  ids: string[];
  /** Arrivals by webhook id: the time of the first, and how often it came. */
  ends: Map<string, { at: number; times: number }>;
}

async function killAndCount(daemon: BenchDaemon, scene: Scene): Promise<Round> {
  const { servers, noxus, ids, ends } = scene;
  const killedAt = performance.now();
  await servers.killPrimary();
  for (const id of ids) noxus.setStatus(id, 'completed');
  await waitFor(() => ends.size >= ids.length, { timeoutMs: 60_000 }).catch(() => undefined);
  await waitFor(async () => (await daemon.readyz()) === 200, { timeoutMs: 30_000 });
  const arrivals = [...ends.values()];
  return {
    backAfterMs: Math.min(...arrivals.map(({ at }) => at)) - killedAt,
    notified: arrivals.length,
    again: arrivals.reduce((sum, { times }) => sum + times - 1, 0),
  };
}

function configOf(noxus: Simulator, receiverUrl: string, redis: Record<string, unknown>) {
  return {
    redis,
    sources: {
      default: sourceAt(noxus),
    },
    polling: { min_interval: '50ms', max_interval: '200ms', lists: 'off' },
    endpoints: { all: { type: 'webhook', url: receiverUrl, events: ['run.completed'] } },
  };
}

async function startReceiver(context: BenchContext) {
  const ends: Scene['ends'] = new Map();
  const server = createServer((request, response) => {
    const id = String(request.headers['webhook-id']);
    const known = ends.get(id) ?? { at: performance.now(), times: 0 };
    ends.set(id, { ...known, times: known.times + 1 });
    request.resume();
    response.writeHead(204).end();
  });
  return { url: await serve(context, server), ends };
}

function figuresOf(name: string, rounds: Round[]): Figure[] {
  const sum = (of: (round: Round) => number) => rounds.reduce((all, one) => all + of(one), 0);
  return [
    {
      name: `${name}: work goes on after, at the most`,
      value: rounded(Math.max(...rounds.map(({ backAfterMs }) => backAfterMs)) / 1_000),
      unit: 's',
      target: { atMost: 5 },
    },
    {
      name: `${name}: ends that were not notified, of ${RUNS * rounds.length}`,
      value: RUNS * rounds.length - sum(({ notified }) => notified),
      unit: '',
      target: { atMost: 0 },
    },
    { name: `${name}: came twice`, value: sum(({ again }) => again), unit: '' },
  ];
}
