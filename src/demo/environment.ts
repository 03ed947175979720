import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  createWriteStream,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { configSchema, type Config } from '../config/schema.ts';
import { RunwatchError } from '../core/errors.ts';
import { createLifecycle, startOrUndo, type Lifecycle } from '../lifecycle.ts';
import { STALL_AFTER_MS, WORKFLOWS, type SourceName } from './scenario.ts';
import { startReceiver, type ReceivedWebhook } from '../simulator/receiver.ts';
import { startSimulator, type Simulator } from '../simulator/server.ts';
import { streamSink } from '../telemetry/log-output.ts';
import { openProcessLog, type EventLog, type Logger } from '../telemetry/logger.ts';

/** Time for all parts to stop, ms. */
const STOP_MS = 8_000;

/** The daemon's default port, where other verbs expect it. */
const USUAL_PORT = 8787;

const ENDPOINT = 'receiver';

/** Starts the daemon and registers all its parts with the lifecycle. */
export type StartDaemon = (options: {
  config: Config;
  log: Logger;
  eventLog: EventLog;
  version: string;
  lifecycle: Lifecycle;
}) => Promise<{ url: string }>;

interface EnvironmentOptions {
  version: string;
  /** True if the daemon should use its default port, provided that it is free. */
  onUsualPort: boolean;
  /** Returns the receiver's answer, a status code. */
  respond: (webhook: ReceivedWebhook) => number;
}

/** A simulated Noxus for each source. */
export type Sources = Readonly<Record<SourceName, Simulator>>;

/** All parts of the demo. */
export interface Environment {
  noxus: Sources;
  /** Where the daemon's API answers. */
  url: string;
  receiverUrl: string;
  /** Stops all parts, within seconds. */
  stop(): Promise<void>;
}

/**
 * Starts a simulated Noxus, a receiver, and the daemon with a Redis of its own between them.
 * @throws RunwatchError of a part that cannot start, after the others were stopped
 */
export async function startEnvironment(
  startDaemon: StartDaemon,
  tempDir: TempDir,
  { version, onUsualPort, respond }: EnvironmentOptions,
): Promise<Environment> {
  const logFile = createWriteStream(tempDir.logPath);
  const { log, eventLog } = openProcessLog(streamSink(logFile), () => undefined, { level: 'info' });
  const lifecycle = createLifecycle(log);
  lifecycle.onStop('log file', async () => {
    logFile.end();
    await once(logFile, 'close');
  });
  return startOrUndo(lifecycle, STOP_MS, async () => {
    const secret = `whsec_${randomBytes(32).toString('base64')}`;
    const noxus = await startSources(lifecycle);
    const receiver = await startReceiver({ secrets: [secret], respond, keep: 0 });
    lifecycle.onStop('receiver', () => receiver.close());
    const port = onUsualPort && (await isFree(USUAL_PORT)) ? USUAL_PORT : 0;
    const config = settings({ noxus, receiverUrl: receiver.url, secret, port, tempDir });
    const starting = startDaemon({ config, log, eventLog, version, lifecycle });
    const { url } = await starting.catch(explain);
    return {
      noxus,
      url,
      receiverUrl: receiver.url,
      stop: async () => void (await lifecycle.stop(STOP_MS)),
    };
  });
}

async function startSources(lifecycle: Lifecycle): Promise<Sources> {
  const started = async () => {
    const noxus = await startSimulator();
    lifecycle.onStop('simulator', () => noxus.close());
    return noxus;
  };
  const [streamed, polled] = await Promise.all([started(), started()]);
  polled.fault({ kind: 'status', status: 404, on: 'stream' });
  return { default: streamed, onprem: polled };
}

/** The demo always runs its own Redis, so the usual hint to name one would not help. */
function explain(error: unknown): never {
  if (!(error instanceof RunwatchError) || error.code !== 'redis_server_missing') throw error;
  throw new RunwatchError(
    'the demo runs a Redis of its own, and found no redis-server or valkey-server on PATH: ' +
      'install the package redis-server (apt), redis (apk, brew) or valkey (dnf)',
    { code: error.code, cause: error },
  );
}

interface Parts {
  noxus: Sources;
  receiverUrl: string;
  secret: string;
  port: number;
  tempDir: TempDir;
}

/** The default settings, with shorter waits so that users can watch them. */
function settings({ noxus, receiverUrl, secret, port, tempDir }: Parts): Config {
  return configSchema.parse({
    data_dir: tempDir.dataDir,
    server: { port, shutdown_timeout: '5s' },
    sources: Object.fromEntries(
      Object.entries(noxus).map(([name, { url, apiKey }]) => [
        name,
        { base_url: url, api_key: apiKey, rate_limit: { requests: 100, per: '1s' } },
      ]),
    ),
    polling: { max_interval: '2s', gone_after: '3s' },
    watches: { stall_after: `${STALL_AFTER_MS}ms` },
    workflows: Object.fromEntries(
      Object.entries(WORKFLOWS).map(([name, { id }]) => [id, { name }]),
    ),
    endpoints: {
      [ENDPOINT]: { type: 'webhook', url: receiverUrl, secret, retry: ['1s', '2s', '5s'] },
    },
  });
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return true;
  } catch {
    // Another port serves as well, whatever the reason.
    return false;
  } finally {
    server.close();
  }
}

/** The demo's own temporary directory, which it removes at its end unless a user needs the log. */
export interface TempDir {
  readonly path: string;
  /** Where the daemon and its Redis keep their data. */
  readonly dataDir: string;
  readonly logPath: string;
  /**
   * Keeps the directory for the user to read.
   * @returns false where the log is empty, so that the directory is still removed
   */
  keepForReading(): boolean;
  /**
   * Stops a Redis that still runs in it, and removes it. Synchronous, so it also works during
   * process exit.
   */
  remove(): void;
}

export function createTempDir(): TempDir {
  const path = realpathSync(mkdtempSync(join(tmpdir(), 'runwatch-demo-')));
  const dataDir = join(path, 'data');
  const logPath = join(path, 'daemon.log');
  let kept = false;
  return {
    path,
    dataDir,
    logPath,
    keepForReading() {
      kept = (statSync(logPath, { throwIfNoEntry: false })?.size ?? 0) > 0;
      return kept;
    },
    remove() {
      endRedis(dataDir);
      // A Redis that was just killed may still have written.
      if (!kept) rmSync(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
    },
  };
}

/**
 * Stops a Redis that was not shut down: a regular shutdown removes the pid file. It still runs
 * where a user opened it by hand, or where this process ends abruptly.
 */
function endRedis(dataDir: string): void {
  const pid = Number.parseInt(readIfThere(join(dataDir, 'redis.pid')), 10);
  if (!(pid > 0)) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
