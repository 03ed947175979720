import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdtemp, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { waitFor } from '../../test/support/wait-for.ts';
import type { BenchContext } from './context.ts';
import { endProcess } from './process.ts';
import type { BenchRedis } from './redis.ts';

/** The options of Node that the container image sets; the raw loops have them too. */
const AS_IN_THE_IMAGE = ['--max-semi-space-size=32'];
const GROWN = '--min-semi-space-size=32';

/**
 * A simulated source as in the file of configuration. By default its rate limit is out of a bench's reach.
 */
export function sourceAt(
  { url, apiKey }: { url: string; apiKey: string },
  requests = 10_000,
  per = '1s',
) {
  return { base_url: url, api_key: apiKey, rate_limit: { requests, per } };
}

/** How a run of the simulator is read where it is declared, with as much of it as the source of Noxus reads. */
const DECLARED = {
  get: '/v1/runs/{run}',
  id: '$.id',
  status: '$.status',
  workflow: '$.workflow_id',
  created: '$.created_at',
  started: '$.started_at',
  finished: '$.finished_at',
  progress: '$.progress',
};

/** The same simulated source as an API that the configuration declares. */
export function declaredAt(
  { url, apiKey }: { url: string; apiKey: string },
  requests = 10_000,
  per = '1s',
) {
  return {
    type: 'http',
    base_url: url,
    headers: { 'x-api-key': apiKey },
    run: DECLARED,
    states: {
      queued: ['queued'],
      running: ['running'],
      completed: ['completed'],
      failed: ['failed'],
      stopped: ['stopped'],
      awaiting_human_feedback: ['awaiting_human_feedback'],
    },
    rate_limit: { requests, per },
  };
}

/** The same once more: runs that wait seem to have completed, and only a second read shows the wait. */
export function declaredTwiceAt(noxus: { url: string; apiKey: string }) {
  const { states, ...declared } = declaredAt(noxus);
  const { awaiting_human_feedback: waiting, completed, ...others } = states;
  return {
    ...declared,
    states: { ...others, completed: [...completed, ...waiting] },
    also: {
      when: ['completed'],
      get: DECLARED.get,
      id: DECLARED.id,
      status: DECLARED.status,
      states: { awaiting_human_feedback: waiting },
    },
  };
}

/** A daemon that watches the runs of a simulator. @param polling as in the file of configuration */
export function configOf(
  redis: BenchRedis,
  source: ReturnType<typeof sourceAt>,
  polling: Record<string, unknown> = {},
) {
  return {
    redis: { url: `unix://${redis.socket}` },
    sources: { default: source },
    polling,
    endpoints: { log: { type: 'log' } },
  };
}

/** The built product: what is measured is what users run, not what a loader makes of the source. */
export const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

const INSPECT = fileURLToPath(new URL('./inspect-preload.mjs', import.meta.url));
const NAMES = fileURLToPath(new URL('./names-preload.mjs', import.meta.url));
const CLOCK = fileURLToPath(new URL('./clock-preload.mjs', import.meta.url));

interface DaemonOptions {
  /** The configuration as in its file; this code chooses port and data directory. */
  config: Record<string, unknown>;
  /** Where Node writes a CPU profile when the daemon ends; null for none. */
  profileDir: string | null;
  /** The entry point of another build. */
  main?: string;
  /** Allows {@link BenchDaemon.inspect}. */
  inspect?: boolean;
  /** Gives V8's young generation the size at once that it grows to in hours, whatever the load. */
  isGrown?: boolean;
  /** Allows {@link BenchDaemon.setClock}. */
  isClockSet?: boolean;
  /** Name servers of names under `silent.example` do not answer. */
  hasSilentNames?: boolean;
  /** Its log goes to a pipe that is not read any more once the daemon is ready. */
  isLogUnread?: boolean;
}

/** What a process holds, after a collection; see `inspect-preload.mjs`. */
interface Held {
  heapBytes: number;
  /** Outside of the heap. */
  bufferBytes: number;
  /** By malloc, small buffers among them. */
  nativeBytes: number;
  rssBytes: number;
  handles: number;
  /** Of the process itself. */
  listeners: number;
}

/** What the daemon's metrics say of itself. */
interface DaemonUsage {
  polls: number;
  /** Requests that Noxus has answered, of whatever kind. */
  answers: number;
  /** CPU time so far, µs. */
  cpuUs: number;
  rssBytes: number;
}

/** The measured part of an event. */
export interface BenchEvent {
  id: string;
  data: { run_id: string; detection_delay_ms: number | null; detected_at: string };
}

/** The daemon as a process of its own. */
export interface BenchDaemon {
  /** When the process was started, milliseconds since the epoch. */
  startedAt: number;
  pid: number;
  url: string;
  /** Registers runs, in batches; throws unless all of them are new. @param as what else is said of each */
  register(runIds: readonly string[], as?: Record<string, unknown>): Promise<void>;
  /** Calls the API; throws unless it succeeds. */
  post(path: string): Promise<void>;
  usage(): Promise<DaemonUsage>;
  inspect(): Promise<Held>;
  /** Sets the daemon's wall clock: ahead by this many ms. */
  setClock(aheadMs: number): void;
  /** Gives it another configuration, as an operator does: by its file and SIGHUP. */
  reload(config: Record<string, unknown>): Promise<void>;
  /** Calls the API with a body; throws unless it succeeds. */
  call(path: string, body: unknown): Promise<void>;
  /** Number of its log lines with this message. */
  logged(message: string): Promise<number>;
  /** The status of its readiness. */
  readyz(): Promise<number>;
  /** All events of a type, oldest first. */
  events(type: string): Promise<BenchEvent[]>;
  /** Suspends the process, and resumes it: in between it takes no CPU time. */
  freeze(): void;
  thaw(): void;
  /** Kills it at once. */
  kill(): Promise<void>;
  end(): Promise<void>;
}

/** A line of a daemon's log. */
export interface LogLine {
  /** ISO 8601. */
  time: string;
  msg: string;
  [field: string]: unknown;
}

/** A daemon that was started, and may not be ready yet. */
export interface SpawnedDaemon {
  pid: number;
  /** The whole lines of its log so far. */
  lines(): Promise<LogLine[]>;
  /** Waits until its API answers; two minutes at most, unless a time is given, ms. */
  ready(withinMs?: number): Promise<BenchDaemon>;
}

/** Starts the daemon and waits until its API answers. */
export async function startDaemon(
  context: BenchContext,
  options: DaemonOptions,
): Promise<BenchDaemon> {
  return (await spawnDaemon(context, options)).ready();
}

/** Starts the daemon, without waiting for anything. */
export async function spawnDaemon(
  context: BenchContext,
  options: DaemonOptions,
): Promise<SpawnedDaemon> {
  const dataDir = await mkdtemp(join(context.dir, 'daemon-'));
  const configPath = join(dataDir, 'runwatch.yaml');
  const writeConfig = (config: Record<string, unknown>) =>
    writeFile(configPath, JSON.stringify({ ...config, data_dir: dataDir, server: { port: 0 } }));
  await writeConfig(options.config);
  const profile = options.profileDir === null ? [] : profileFlags(options.profileDir);
  const startedAt = Date.now();
  const logPath = join(dataDir, 'log');
  // The log goes straight to its file: forwarding it would cost this process time.
  const log = await open(logPath, 'w');
  const preload = preloadFlags(options);
  const isLogUnread = options.isLogUnread === true;
  const child = spawn(
    process.execPath,
    [
      ...AS_IN_THE_IMAGE,
      ...(options.isGrown === true ? [GROWN] : []),
      ...profile,
      ...preload,
      options.main ?? MAIN,
      'serve',
      '--config',
      configPath,
    ],
    {
      stdio: [
        'ignore',
        isLogUnread ? 'pipe' : log.fd,
        'inherit',
        ...(preload.length > 0 ? (['ipc'] as const) : []),
      ],
    },
  );
  context.onEnd(() => endProcess(child));
  await log.close();
  child.stdout?.pipe(createWriteStream(logPath));
  const lines = async () =>
    (await readFile(logPath, 'utf8'))
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as LogLine);
  const ready = async (timeoutMs = 120_000) => {
    const { url } = await waitFor(async () => (await lines()).find(({ msg }) => msg === 'ready'), {
      timeoutMs,
      describe: 'the daemon to be ready',
    });
    child.stdout?.unpipe();
    return readyDaemon({ child, startedAt, logPath, url: String(url), writeConfig });
  };
  return { pid: child.pid ?? 0, lines, ready };
}

interface ReadyDaemon {
  child: ChildProcess;
  startedAt: number;
  logPath: string;
  url: string;
  writeConfig: (config: Record<string, unknown>) => Promise<void>;
}

function readyDaemon({ child, startedAt, logPath, url, writeConfig }: ReadyDaemon): BenchDaemon {
  return {
    startedAt,
    pid: child.pid ?? 0,
    url,
    async register(runIds, as) {
      for (let at = 0; at < runIds.length; at += BATCH) {
        await register(url, runIds.slice(at, at + BATCH), as);
      }
    },
    async post(path) {
      const response = await fetch(`${url}${path}`, { method: 'POST' });
      if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    },
    usage: () => usage(url),
    async inspect() {
      const answer = once(child, 'message');
      child.send('inspect');
      const [held] = (await answer) as [Held];
      return held;
    },
    setClock: (aheadMs) => void child.send({ aheadMs }),
    call: (path, body) => call(url, path, body),
    async logged(message) {
      return (await readFile(logPath, 'utf8')).split(`"msg":"${message}"`).length - 1;
    },
    async reload(config) {
      await writeConfig(config);
      child.kill('SIGHUP');
    },
    readyz: async () => (await fetch(`${url}/readyz`)).status,
    events: (type) => events(url, type),
    freeze: () => child.kill('SIGSTOP'),
    thaw: () => child.kill('SIGCONT'),
    async kill() {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    },
    end: () => endProcess(child),
  };
}

function preloadFlags({ inspect, isClockSet, hasSilentNames }: DaemonOptions): string[] {
  if (inspect === true) return ['--expose-gc', '--import', INSPECT];
  if (hasSilentNames === true) return ['--import', NAMES];
  return isClockSet === true ? ['--import', CLOCK] : [];
}

function profileFlags(dir: string): string[] {
  return ['--cpu-prof', `--cpu-prof-dir=${dir}`];
}

async function call(url: string, path: string, body: unknown): Promise<void> {
  const response = await fetch(`${url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path} answers ${response.status}: ${text.slice(0, 500)}`);
}

/** Watches registered at a time: the most that the API takes. */
const BATCH = 1_000;

async function register(
  url: string,
  runIds: readonly string[],
  as: Record<string, unknown> = {},
): Promise<void> {
  const response = await fetch(`${url}/v1/watches/batch`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ watches: runIds.map((run_id) => ({ run_id, ...as })) }),
  });
  const body = await response.text();
  const created = body.match(/"status":201/g)?.length ?? 0;
  if (created !== runIds.length) {
    throw new Error(`${created} of ${runIds.length} watches were created: ${body.slice(0, 500)}`);
  }
}

async function events(url: string, type: string): Promise<BenchEvent[]> {
  const found: BenchEvent[] = [];
  let after = '';
  do {
    const query = new URLSearchParams({ type, limit: '200', ...(after !== '' && { after }) });
    const response = await fetch(`${url}/v1/events?${query.toString()}`);
    const page = (await response.json()) as { data: BenchEvent[]; next_cursor: string | null };
    found.push(...page.data);
    after = page.data.length === 200 ? (page.next_cursor ?? '') : '';
  } while (after !== '');
  return found;
}

async function usage(url: string): Promise<DaemonUsage> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const sum = (name: string) =>
    [...text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'gm'))].reduce(
      (total, [, value]) => total + Number(value),
      0,
    );
  return {
    polls: sum('runwatch_polls_total'),
    answers: sum('runwatch_requests_total'),
    cpuUs: sum('process_cpu_seconds_total') * 1e6,
    rssBytes: sum('process_resident_memory_bytes'),
  };
}
