import { setTimeout as delay } from 'node:timers/promises';
import { startReceiver, type Receiver } from '../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../src/simulator/server.ts';
import { openStores } from '../test/support/stores.ts';
import { waitFor } from '../test/support/wait-for.ts';
import { withContext, type BenchContext } from './support/context.ts';
import { MAIN, sourceAt, spawnDaemon, startDaemon, type BenchDaemon } from './support/daemon.ts';
import { rounded, type BenchResult, type Figure } from './support/figures.ts';
import { nextBuild } from './support/next-build.ts';
import { startRedis } from './support/redis.ts';
import { FAILED, fillWith, FULL, sampleOf, SHORT } from './support/settled-runs.ts';

/** How many daemons either version has. */
const DAEMONS = 2;

/** How long a run lasts, ms. */
const RUN_MS = 2_000;

/** Each version works alone for so long, ms. */
const CALM_MS = 4_000;

const READY_WITHIN_MS = 600_000;
const KEY = Buffer.alloc(32, 9).toString('base64');
const SECRET = `whsec_${Buffer.alloc(32, 8).toString('base64')}`;

interface UpgradeOptions {
  /** Settled runs in the larger store; the smaller one has a tenth. */
  count: number;
  /** Runs that begin each second. */
  rate: number;
}

/**
 * An upgrade to a version of the next form, as the tests have it, while runs begin and end: both daemons are stopped,
 * and two of that version started, of which one migrates. One endpoint takes nothing until then. Measured: the time from
 * the stop until one of them is ready. Targets: every run and every pending delivery is sent, and once.
 */
export async function benchUpgrade({ count, rate }: UpgradeOptions): Promise<BenchResult> {
  return withContext(async (context) => {
    const main = await nextBuild(context);
    const figures: Figure[] = [];
    for (const runs of [Math.ceil(count / 10), count]) {
      figures.push(...(await upgrade(context, { main, runs, rate })));
    }
    return { figures, details: {} };
  });
}

interface Upgrade {
  /** The entry point of the version of the next form. */
  main: string;
  /** Settled runs. */
  runs: number;
  rate: number;
}

async function upgrade(context: BenchContext, { main, runs, rate }: Upgrade): Promise<Figure[]> {
  const stage = await setUp(context, runs);
  const old = await startTwo(stage, MAIN);
  const load = keepBusy(stage, rate);
  await delay(CALM_MS);
  const stoppedAt = Date.now();
  stage.daemons = [];
  await Promise.all(old.map((daemon) => daemon.end()));
  const spawned = await spawnTwo(stage, main);
  const ready = await Promise.all(spawned.map((daemon) => daemon.ready(READY_WITHIN_MS)));
  stage.daemons = ready;
  const lines = (await Promise.all(spawned.map((daemon) => daemon.lines()))).flat();
  const timesOf = (message: string) =>
    lines.filter(({ msg }) => msg === message).map(({ time }) => Date.parse(time));
  await delay(CALM_MS);
  const ids = await load.stop();
  stage.isShut = false;
  await ready[0]?.call('/v1/endpoints/late/retry', {});
  const all = ids.length * 2;
  await waitFor(() => stage.arrived.size >= all, { timeoutMs: 60_000 }).catch(() => undefined);
  await Promise.all(ready.map((daemon) => daemon.end()));
  const again = [...stage.arrived.values()].reduce((sum, times) => sum + times - 1, 0);
  const name = `${runs.toLocaleString('en')} runs`;
  const seconds = (what: string, from: number, until: number): Figure => {
    return { name: `${name}: ${what}`, value: rounded((until - from) / 1_000), unit: 's' };
  };
  const [begunAt = NaN] = timesOf('store.migration_begun');
  const [migratedAt = NaN] = timesOf('store.migrated');
  return [
    { name: `${name}: ends sent`, value: stage.arrived.size, unit: '' },
    most(`${name}: ends that were lost`, all - stage.arrived.size),
    most(`${name}: ends that came twice`, again),
    most(`${name}: migrations beyond the first`, timesOf('store.migrated').length - 1),
    seconds('migration', begunAt, migratedAt),
    seconds('from stop to the first that is ready', stoppedAt, Math.min(...timesOf('ready'))),
  ];
}

function most(name: string, value: number): Figure {
  return { name, value, unit: '', target: { atMost: 0 } };
}

interface Stage {
  context: BenchContext;
  config: Record<string, unknown>;
  noxus: Simulator;
  /** The daemons that are ready. */
  daemons: BenchDaemon[];
  /** Whether the endpoint `late` refuses what it gets. */
  isShut: boolean;
  /** How often each delivery was accepted. */
  arrived: Map<string, number>;
}

async function setUp(context: BenchContext, runs: number): Promise<Stage> {
  const redis = await startRedis(context);
  const stores = openStores({ url: redis.socket, prefix: 'runwatch' });
  const samples = [];
  for (const shape of [FULL, SHORT, FAILED]) {
    await redis.flush();
    samples.push(await sampleOf(stores, shape));
  }
  await redis.flush();
  await fillWith(stores, samples, runs);
  await stores.close();
  const noxus = await startSimulator();
  context.onEnd(() => noxus.close());
  const stage: Stage = {
    context,
    config: {},
    noxus,
    daemons: [],
    isShut: true,
    arrived: new Map(),
  };
  const receive = async (isLate: boolean) => {
    const receiver = await startReceiver({
      secrets: [SECRET],
      keep: 1,
      respond({ id }) {
        if (isLate && stage.isShut) return 503;
        const delivery = `${isLate} ${id}`;
        stage.arrived.set(delivery, (stage.arrived.get(delivery) ?? 0) + 1);
        return 204;
      },
    });
    context.onEnd(() => receiver.close());
    return receiver;
  };
  const endpoint = ({ url }: Receiver) => {
    return { type: 'webhook', url, secret: SECRET, events: ['run.completed'] };
  };
  const [open, late] = [await receive(false), await receive(true)];
  stage.config = {
    redis: { url: `unix://${redis.socket}` },
    sources: { default: sourceAt(noxus) },
    polling: { min_interval: '100ms', max_interval: '500ms', lists: 'off', hints: 'off' },
    watches: { retention: '365d' },
    delivery: { keep: 10_000_000 },
    endpoints: { open: endpoint(open), late: endpoint(late) },
    // One with another key reads the whole store at its start.
    encryption: { keys: [KEY] },
  };
  return stage;
}

async function startTwo(stage: Stage, main: string): Promise<BenchDaemon[]> {
  const { context, config } = stage;
  for (let at = 0; at < DAEMONS; at += 1) {
    stage.daemons.push(await startDaemon(context, { config, profileDir: null, main }));
  }
  return stage.daemons;
}

function spawnTwo({ context, config }: Stage, main: string) {
  const spawn = () => spawnDaemon(context, { config, profileDir: null, main });
  return Promise.all(Array.from({ length: DAEMONS }, spawn));
}

/** Begins runs at a steady pace, and has each watched as soon as a daemon takes it. */
function keepBusy(stage: Stage, rate: number) {
  const ids: string[] = [];
  const watched: Promise<unknown>[] = [];
  const over = new AbortController();
  const watch = (runId: string) =>
    waitFor(
      async () => {
        const daemon = stage.daemons.at(-1);
        if (daemon === undefined) return false;
        await daemon.call('/v1/watches', { run_id: runId });
        return true;
      },
      { timeoutMs: READY_WITHIN_MS },
    );
  const work = (async () => {
    const startedAt = Date.now();
    for (let count = 0; !over.signal.aborted; count += 1) {
      await delay(Math.max(0, startedAt + (count * 1_000) / rate - Date.now()));
      const steps = [
        { after_ms: 0, status: 'running' },
        { after_ms: RUN_MS, status: 'completed' },
      ];
      const { id } = stage.noxus.add({ steps });
      ids.push(id);
      watched.push(watch(id));
    }
  })();
  return {
    async stop() {
      over.abort();
      await work;
      await Promise.all(watched);
      return ids;
    },
  };
}
