import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chown, cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { MAIN } from './built-main.ts';
import { waitFor } from './wait-for.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface DaemonOptions {
  /** The configuration as in the file; port, data directory and log level have test defaults. */
  config?: Record<string, unknown>;
  env?: Record<string, string>;
  /** Shared by daemons of one store, and by restarts of one daemon. */
  dataDir?: string;
  args?: string[];
  /** The entry point of another build; see {@link buildOfVersion}. */
  main?: string;
  /** Runs it as another user, by id, and gives it the directories; only root can. */
  user?: number;
}

/** A line of the daemon's log. */
export interface LogLine {
  level: string;
  msg: string;
  time: string;
  [field: string]: unknown;
}

/** The built daemon as its own process. */
export interface DaemonProcess {
  /** The URL of its API; throws before it is ready. */
  readonly url: string;
  pid: number;
  dataDir: string;
  /** Waits for its ready line. @throws Error when it ends before that */
  ready(): Promise<void>;
  /** Every line so far, parsed; a line that is no JSON fails the test. */
  log(): LogLine[];
  stderr(): string;
  /** Closes the pipe that it writes its log to, as a reader does that ends. */
  closeLog(): void;
  /** Rewrites its configuration file; SIGHUP reads it. */
  configure(config: Record<string, unknown>): Promise<void>;
  /** Calls the API; a body makes it a POST unless a method is given. */
  api<Answer = any>(
    path: string,
    body?: unknown,
    method?: string,
  ): Promise<{ status: number; body: Answer }>;
  /** The exit code once it has ended, null when a signal killed it. */
  exited: Promise<number | null>;
  /** Sends a signal, unless it has ended. */
  signal(name: NodeJS.Signals): void;
  /** Ends it by a signal. @returns the exit code, null when the signal killed it */
  stop(name?: NodeJS.Signals): Promise<number | null>;
}

/** The environment without variables that configure the product. */
export function cleanEnv(extra: Record<string, string> = {}): Record<string, string> {
  const own = Object.entries(process.env).filter(
    ([name, value]) => value !== undefined && !/^(RUNWATCH_|NOXUS_|REDIS_|NODE_OPTIONS)/.test(name),
  );
  return { ...(Object.fromEntries(own) as Record<string, string>), ...extra };
}

/** A new directory; the caller removes it. */
export async function tempDir(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'runwatch-test-'));
}

/** A copy of the build under another version number. @returns its entry point; the caller removes `dir` */
export async function buildOfVersion(version: string, dir: string): Promise<string> {
  const manifest = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as object;
  await writeFile(join(dir, 'package.json'), JSON.stringify({ ...manifest, version }));
  await cp(join(ROOT, 'dist'), join(dir, 'dist'), { recursive: true });
  await symlink(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
  return join(dir, 'dist/main.js');
}

/** Starts the built daemon on a free port and waits for its ready line. */
export async function startDaemonProcess(options: DaemonOptions = {}): Promise<DaemonProcess> {
  const daemon = await spawnDaemonProcess(options);
  try {
    await daemon.ready();
  } catch (error) {
    // No test has it yet, so that none would end it.
    await daemon.stop('SIGKILL');
    throw error;
  }
  return daemon;
}

/** Starts the built daemon on a free port, without waiting for anything. */
export async function spawnDaemonProcess(options: DaemonOptions = {}): Promise<DaemonProcess> {
  const dataDir = options.dataDir ?? (await tempDir());
  const configDir = await tempDir();
  const configPath = join(configDir, 'runwatch.yaml');
  const configure = ({ server = {}, ...config }: Record<string, unknown>) =>
    writeFile(configPath, stringify({ ...config, server: { port: 0, ...(server as object) } }));
  await configure(options.config ?? {});
  const env = cleanEnv({ RUNWATCH_DATA_DIR: dataDir, ...options.env });
  const args = [options.main ?? MAIN, 'serve', '--config', configPath, ...(options.args ?? [])];
  const { user } = options;
  if (user !== undefined) {
    for (const path of [configDir, configPath, dataDir]) await chown(path, user, user);
  }
  const child = spawn(process.execPath, args, {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(user !== undefined && { uid: user, gid: user }),
  });
  child.once('exit', () => void rm(configDir, { recursive: true, force: true }));
  return asDaemonProcess(child, { dataDir, configure });
}

function asDaemonProcess(
  child: ChildProcess,
  { dataDir, configure }: Pick<DaemonProcess, 'dataDir' | 'configure'>,
): DaemonProcess {
  const output = collect(child);
  const exited = once(child, 'exit').then(([code]) => code as number | null);
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  const signal = (name: NodeJS.Signals) => {
    if (!hasEnded()) child.kill(name);
  };
  const readyLine = () => output.log().find(({ msg }) => msg === 'ready');
  const lastWords = () => `${output.stderr()}\n${JSON.stringify(output.log().slice(-3))}`;
  const url = () => {
    const line = readyLine();
    if (line === undefined) throw new Error(`the daemon is not ready: ${lastWords()}`);
    return String(line['url']);
  };
  return {
    get url() {
      return url();
    },
    pid: child.pid ?? 0,
    dataDir,
    configure,
    async ready() {
      await waitFor(() => readyLine() ?? hasEnded(), {
        describe: () => `the daemon to be ready: ${lastWords()}`,
      });
      if (readyLine() === undefined) throw new Error(`the daemon ended: ${lastWords()}`);
    },
    log: output.log,
    stderr: output.stderr,
    closeLog: () => void child.stdout?.destroy(),
    api: (path, body, method) => callApi(url(), path, body, method),
    exited,
    signal,
    stop(name = 'SIGTERM') {
      signal(name);
      return exited;
    },
  };
}

function collect(child: ChildProcess) {
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const parsed: LogLine[] = [];
  let read = 0;
  return {
    stderr: () => stderr,
    log() {
      for (let end = stdout.indexOf('\n', read); end !== -1; end = stdout.indexOf('\n', read)) {
        parsed.push(JSON.parse(stdout.slice(read, end)) as LogLine);
        read = end + 1;
      }
      return parsed;
    },
  };
}

async function callApi<Answer>(url: string, path: string, body?: unknown, method?: string) {
  const response = await fetch(`${url}${path}`, {
    method: method ?? (body === undefined ? 'GET' : 'POST'),
    ...(body !== undefined && {
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
    }),
  });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json') === true;
  return {
    status: response.status,
    body: (isJson && text !== '' ? JSON.parse(text) : text) as Answer,
  };
}

/** Ends all daemons that a test started. */
export async function stopAll(daemons: DaemonProcess[]): Promise<void> {
  await Promise.all(daemons.map((daemon) => daemon.stop()));
  await Promise.all(daemons.map(({ dataDir }) => rm(dataDir, { recursive: true, force: true })));
}
