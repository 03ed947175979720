import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { startReceiver, type Receiver } from '../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../src/simulator/server.ts';
import { buildOfVersion } from '../test/support/daemon-process.ts';
import { waitFor } from '../test/support/wait-for.ts';
import { sourceAt, startDaemon, type BenchDaemon } from './support/daemon.ts';
import { percentile, rounded, type BenchResult } from './support/figures.ts';
import { withContext, type BenchContext } from './support/context.ts';
import { startRedis } from './support/redis.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

const DAEMONS = 3;

/** How long a run lasts, ms. */
const RUN_MS = 3_000;

/** Both versions share the work for so long after each replacement, ms. */
const BESIDE_MS = 3_000;

const SECRET = `whsec_${Buffer.alloc(32, 6).toString('base64')}`;

interface RollingOptions {
  /** Runs that begin each second. */
  rate: number;
  /** How long the quiet side is measured. */
  seconds: number;
  /** The commit of the version that is replaced; absent, this one under another number. */
  from: string | undefined;
}

/**
 * Replaces three daemons by those of another version, one at a time, and these by the first version again, while runs
 * begin and end. A daemon is ready before the one that it replaces gets SIGTERM. Delay counts from the end of a run, by
 * Noxus's time, to its webhook. Targets: no end is lost, and the p99 of the delay is at most twice
 * that of the same daemons when none is replaced.
 */
export async function benchRolling(options: RollingOptions): Promise<BenchResult> {
  return withContext(async (context) => {
    const old = await oldBuild(context, options.from);
    const stage = await setUp(context, old);
    const load = keepBusy(stage, options.rate);
    await delay(RUN_MS + BESIDE_MS);
    const quietFrom = Date.now();
    await delay(options.seconds * 1_000);
    const rollingFrom = Date.now();
    await replaceAll(stage, stage.startNew);
    await replaceAll(stage, stage.startOld);
    const rollingUntil = Date.now();
    const ids = await load.stop();
    await waitFor(() => stage.ends.size >= ids.length, { timeoutMs: 30_000 }).catch(
      () => undefined,
    );
    const delays = (from: number, until: number) =>
      [...stage.ends.values()]
        .filter(({ finishedAt }) => finishedAt >= from && finishedAt < until)
        .map(({ finishedAt, arrivedAt }) => arrivedAt - finishedAt);
    return resultOf({
      quiet: delays(quietFrom, rollingFrom),
      rolling: delays(rollingFrom, rollingUntil),
      lost: ids.filter((id) => !stage.ends.has(id)).length,
      again: [...stage.ends.values()].reduce((sum, { times }) => sum + times - 1, 0),
      rollingMs: rollingUntil - rollingFrom,
    });
  });
}

interface Rolled {
  /** Delays of ends, ms. */
  quiet: number[];
  rolling: number[];
  lost: number;
  again: number;
  rollingMs: number;
}

function resultOf({ quiet, rolling, lost, again, rollingMs }: Rolled): BenchResult {
  const [before, during] = [percentile(quiet, 0.99), percentile(rolling, 0.99)];
  return {
    figures: [
      { name: 'ends that were lost', value: lost, unit: '', target: { atMost: 0 } },
      { name: 'ends that came twice', value: again, unit: '' },
      { name: 'delay of ends, p99, quiet', value: rounded(before), unit: 'ms' },
      {
        name: 'delay of ends, p99, while daemons are replaced',
        value: rounded(during),
        unit: 'ms',
      },
      {
        name: 'the latter by the former',
        value: rounded(during / before),
        unit: '',
        target: { atMost: 2 },
      },
      { name: 'ends, quiet', value: quiet.length, unit: '' },
      { name: 'ends, while daemons are replaced', value: rolling.length, unit: '' },
      { name: 'replacing all of them took', value: rounded(rollingMs / 1_000), unit: 's' },
    ],
    details: {},
  };
}

/** The entry point of the version that is replaced. */
async function oldBuild(context: BenchContext, commit: string | undefined): Promise<string> {
  if (commit === undefined) return buildOfVersion('0.0.1', context.dir);
  const run = promisify(execFile);
  const tree = join(context.dir, 'old');
  await run('git', ['worktree', 'add', '--detach', tree, commit], { cwd: ROOT });
  context.onEnd(async () => {
    await run('git', ['worktree', 'remove', '--force', tree], { cwd: ROOT });
  });
  await run('cp', ['-a', join(ROOT, 'node_modules'), tree]);
  await run('npm', ['run', 'build'], { cwd: tree });
  return join(tree, 'dist/main.js');
}

interface Stage {
  noxus: Simulator;
  receiver: Receiver;
  /** The daemons that run, the newest last. */
  daemons: BenchDaemon[];
  startNew: () => Promise<BenchDaemon>;
  startOld: () => Promise<BenchDaemon>;
  /** Ends by run id. */
  ends: Map<string, { finishedAt: number; arrivedAt: number; times: number }>;
}

async function setUp(context: BenchContext, oldMain: string): Promise<Stage> {
  const redis = await startRedis(context);
  const noxus = await startSimulator();
  context.onEnd(() => noxus.close());
  const ends: Stage['ends'] = new Map();
  const receiver = await startReceiver({
    secrets: [SECRET],
    keep: 1,
    onReceived({ receivedAt: arrivedAt, body }) {
      const { data } = JSON.parse(body) as {
        data: { run_id: string; run: { finished_at: string } };
      };
      const known = ends.get(data.run_id);
      const finishedAt = Date.parse(data.run.finished_at);
      ends.set(
        data.run_id,
        known ? { ...known, times: known.times + 1 } : { finishedAt, arrivedAt, times: 1 },
      );
    },
  });
  context.onEnd(() => receiver.close());
  const config = {
    redis: { url: `unix://${redis.socket}` },
    sources: { default: sourceAt(noxus) },
    polling: { min_interval: '100ms', max_interval: '500ms', lists: 'off', hints: 'off' },
    endpoints: {
      all: { type: 'webhook', url: receiver.url, secret: SECRET, events: ['run.completed'] },
    },
  };
  const startOld = () => startDaemon(context, { config, profileDir: null, main: oldMain });
  const startNew = () => startDaemon(context, { config, profileDir: null });
  const daemons: BenchDaemon[] = [];
  for (let at = 0; at < DAEMONS; at += 1) daemons.push(await startOld());
  return { noxus, receiver, daemons, startNew, startOld, ends };
}

async function replaceAll(stage: Stage, start: () => Promise<BenchDaemon>): Promise<void> {
  for (let at = 0; at < DAEMONS; at += 1) {
    stage.daemons.push(await start());
    await delay(BESIDE_MS);
    await stage.daemons.shift()?.end();
    await delay(BESIDE_MS);
  }
}

/** Begins runs at a steady pace, and has them watched by the newest daemon. */
function keepBusy({ noxus, daemons }: Stage, rate: number) {
  const ids: string[] = [];
  const over = new AbortController();
  const begin = async () => {
    const steps = [
      { after_ms: 0, status: 'running' },
      { after_ms: RUN_MS, status: 'completed' },
    ];
    const { id } = noxus.add({ steps });
    await daemons.at(-1)?.register([id]);
    ids.push(id);
  };
  const work = (async () => {
    const startedAt = Date.now();
    for (let count = 0; !over.signal.aborted; count += 1) {
      await delay(Math.max(0, startedAt + (count * 1_000) / rate - Date.now()));
      await begin();
    }
  })();
  return {
    async stop() {
      over.abort();
      await work;
      await delay(RUN_MS);
      return ids;
    },
  };
}
