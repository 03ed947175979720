import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { configSchema } from '../../src/config/schema.ts';
import { Daemon } from '../../src/daemon.ts';
import { Migrator } from '../../src/daemon/migrator.ts';
import { openProcess } from '../../src/daemon/open.ts';
import { openRedis } from '../../src/daemon/redis.ts';
import { createServer, listen } from '../../src/http/server.ts';
import { Services } from '../../src/http/services.ts';
import { createLifecycle } from '../../src/lifecycle.ts';
import { Names } from '../../src/names.ts';
import { createKeys, type Keys } from '../../src/redis/keys.ts';
import type { Migration } from '../../src/redis/migrations.ts';
import { eventLogTo } from './event-log.ts';
import { loadRecording } from './recorded-store.ts';
import type { TestRedis } from './redis.ts';

/** What signs where no endpoint has a secret; see `scripts/goldens/stage.ts`. */
export const RECORDED_SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

/** Nothing listens there. */
const CLOSED = 'http://127.0.0.1:9';

/** What the recording was made with, as far as answers show it. */
export function recordedConfig(): Record<string, unknown> {
  const source = { base_url: CLOSED, api_key: 'key' };
  const hook = { type: 'webhook', url: `${CLOSED}/hook`, secret: RECORDED_SECRET, default: false };
  return {
    sources: {
      default: source,
      away: source,
      locked: source,
      listed: source,
      ci: {
        type: 'http',
        base_url: CLOSED,
        id: '{owner}/{repo}/{run}',
        run: { get: '/repos/{owner}/{repo}/actions/runs/{run}', id: '$.id', status: '$.status' },
        states: { running: ['in_progress'], completed: ['success'] },
      },
    },
    workflows: {
      '3d0a7c51-2f6b-4b8e-9c1d-5e7f90a1b2c3': { name: 'invoices', owner: '@ana' },
      '0b9e6f74-25c1-4d0e-8a5b-7c3f1d2e9a60': { name: 'reports' },
    },
    endpoints: {
      all: { ...hook, events: ['*', 'system.*'] },
      cloud: { ...hook, body: 'cloudevents', events: ['run.completed', 'run.failed'] },
      derived: { type: 'webhook', url: hook.url, default: false, events: ['run.failed'] },
      gone: hook,
      flaky: hook,
    },
    rules: [{ name: 'failed-runs', events: ['run.failed'], notify: ['all'] }],
    delivery: { signing_secret: RECORDED_SECRET },
  };
}

/** A daemon on a recorded store, at the moment of the recording. */
export interface StandingDaemon {
  daemon: Daemon;
  url: string;
  get: (path: string) => Promise<Answer>;
  send: (method: 'POST' | 'PUT' | 'DELETE', path: string, body?: object) => Promise<Answer>;
  stop(): Promise<unknown>;
}

interface StandingOptions {
  /** Changes the store before it is migrated. */
  prepare?: (redis: Redis, keys: Keys) => Promise<unknown>;
  /** The migrations that are known; those of this version, unless given. */
  migrations?: readonly Migration[];
}

interface Answer {
  status: number;
  body: unknown;
}

/**
 * The API on a recorded store that stands still: it is migrated as a start does, but none of the daemon's parts is
 * started, so that none polls, judges or sends, and the process's clock stands at the time of the recording.
 */
export async function startStanding(
  target: TestRedis,
  form: string,
  { prepare, migrations }: StandingOptions = {},
): Promise<StandingDaemon> {
  const log = pino({ level: 'silent' });
  const lifecycle = createLifecycle(log);
  const redis = new Redis(target.url);
  const head = await loadRecording(redis, target.prefix, form);
  const keys = createKeys(target.prefix);
  await prepare?.(redis, keys);
  redis.disconnect();
  const dataDir = await mkdtemp(join(tmpdir(), 'runwatch-test-'));
  lifecycle.onStop('data directory', () => rm(dataDir, { recursive: true, force: true }));
  const clocks = { wall: () => head.at, monotonic: () => 0, uptime: () => 0 };
  const config = configSchema.parse({
    ...recordedConfig(),
    data_dir: dataDir,
    server: { port: 0 },
    redis: target,
    encryption: { keys: [head.encryptionKey] },
  });
  const eventLog = eventLogTo(() => undefined);
  const options = { config, log, eventLog, version: '0', lifecycle, clocks, migrations };
  const { connections } = await openRedis(options);
  const { stopping } = lifecycle;
  const migrator = new Migrator(connections, keys, log, '0', migrations);
  if (!(await migrator.isDone())) await migrator.run(stopping);
  const daemon = new Daemon(await openProcess(options, connections, new Names()), null);
  const server = createServer(daemon, new Services(daemon), stopping);
  lifecycle.onStop('http server', () => server.close());
  const url = await listen(server, config.server);
  const send = async (method: string, path: string, body?: object) => {
    const json = { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } };
    const response = await fetch(url + path, { method, ...(body !== undefined && json) });
    const text = await response.text();
    return { status: response.status, body: text === '' ? null : (JSON.parse(text) as unknown) };
  };
  return {
    daemon,
    url,
    get: (path) => send('GET', path),
    send,
    stop: () => lifecycle.stop(10_000),
  };
}
