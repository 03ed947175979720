import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as delay } from 'node:timers/promises';
import { openStores } from '../test/support/stores.ts';
import { withContext, type BenchContext } from './support/context.ts';
import { rounded, type BenchResult, type Figure } from './support/figures.ts';
import { startRedis, type BenchRedis } from './support/redis.ts';
import { ACTIVE, FAILED, fillWith, FULL, sampleOf, writeRun } from './support/settled-runs.ts';
import { noteBlocks } from './support/slow-log.ts';

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));

/** Runs that go on, and runs with a dead delivery that are not packed, beside the settled ones. */
const LIVE = 200;

/** How often the memory of a process is read, ms. */
const READ_MS = 50;

/** Memory of a verification in a store of any size, MB: the process alone has about 80. */
const MOST_MEMORY = 300;

interface VerifyOptions {
  /** Settled runs that the larger store is filled with; the smaller one has a third. */
  count: number;
}

/**
 * `store verify` and `store backup` on two large stores: time, memory of the process, the longest block of Redis by
 * one command, and what a backup costs Redis.
 */
export async function benchVerify({ count }: VerifyOptions): Promise<BenchResult> {
  const figures: Figure[] = [];
  const details: Record<string, unknown> = {};
  for (const runs of [Math.floor(count / 3), count]) {
    const of = await withContext(async (context) => measure(context, runs));
    const name = `${runs.toLocaleString('en')} runs`;
    figures.push(...of.figures.map((one) => ({ ...one, name: `${name}: ${one.name}` })));
    details[name] = of.details;
  }
  return { figures, details };
}

async function measure(context: BenchContext, count: number): Promise<BenchResult> {
  const redis = await startRedis(context);
  const stores = openStores({ url: redis.socket, prefix: 'runwatch' });
  context.onEnd(async () => stores.close());
  await stores.forms.claim('0');
  const sample = await sampleOf(stores, FULL);
  await redis.flush();
  await stores.forms.claim('0');
  await fillWith(stores, [sample], count);
  for (let at = 0; at < LIVE; at += 1) {
    const { source, runId } = await writeRun(stores, ACTIVE, at);
    await stores.requests.enterMissing(source, 'watch', [runId]);
    await writeRun(stores, FAILED, at);
  }
  const before = await redis.info('memory');
  const blocks = await noteBlocks(context, redis);
  const verified = await runVerb(redis, ['verify', '--json']);
  const blocked = await blocks();
  const { problems } = JSON.parse(verified.output) as { problems: unknown[] };
  if (problems.length > 0) throw new Error(`the store has problems: ${verified.output}`);
  const file = join(context.dir, 'store.rdb');
  const backedUp = await runVerb(redis, ['backup', file]);
  const { size } = await stat(file);
  const { latest_fork_usec: forkUs = NaN } = await redis.info('stats');
  const loaded = await runVerb(redis, ['verify', file, '--json']);
  return {
    figures: [
      { name: 'memory of Redis', value: rounded((before['used_memory'] ?? NaN) / 1e6), unit: 'MB' },
      { name: 'verify', value: rounded(verified.seconds), unit: 's' },
      most('longest block of Redis by verify', blocked.longestMs, 'ms', 5),
      most('memory of verify', verified.megabytes, 'MB', MOST_MEMORY),
      { name: 'backup', value: rounded(backedUp.seconds), unit: 's' },
      { name: 'file of the backup', value: rounded(size / 1e6), unit: 'MB' },
      most('memory of backup', backedUp.megabytes, 'MB', MOST_MEMORY),
      { name: 'fork of Redis', value: rounded(forkUs / 1_000), unit: 'ms' },
      { name: 'verify of the file', value: rounded(loaded.seconds), unit: 's' },
    ],
    details: { redis: redis.version, slow: blocked.slow },
  };
}

function most(name: string, value: number, unit: string, atMost: number): Figure {
  return { name, value: rounded(value), unit, target: { atMost } };
}

/** Runs a verb about the store as a user does. */
async function runVerb({ socket }: BenchRedis, args: string[]) {
  const startedAt = performance.now();
  const child = spawn(process.execPath, [MAIN, 'store', ...args], {
    env: { PATH: process.env['PATH'], NOXUS_API_KEY: 'nox', REDIS_URL: `unix://${socket}` },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (data: Buffer) => (output += data.toString()));
  const ended = once(child, 'close');
  let megabytes = 0;
  while (child.exitCode === null) {
    megabytes = Math.max(megabytes, await mostMemoryOf(child.pid ?? 0));
    await Promise.race([ended, delay(READ_MS)]);
  }
  await ended;
  if (child.exitCode !== 0) throw new Error(`store ${args.join(' ')} failed: ${output}`);
  return { output, megabytes, seconds: (performance.now() - startedAt) / 1_000 };
}

/** The most memory that a process had so far, MB; 0 once it has ended. */
async function mostMemoryOf(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) * 1.024e-3;
}
