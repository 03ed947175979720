import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { startDaemon, type BenchDaemon } from '../support/daemon.ts';
import type { BenchContext } from '../support/context.ts';
import { startRedis } from '../support/redis.ts';

/** Daemons on one Redis that poll sources, and a receiver with two endpoints. */
export interface PollStage {
  daemons: BenchDaemon[];
  /** The sources. */
  sources: PolledSource[];
  receiver: Receiver;
}

/** A source behind a door: a shut door refuses connections. */
export interface PolledSource {
  name: string;
  simulator: Simulator;
  door: Door;
  /** Running and watched runs. */
  runs: string[];
}

interface PollStageOptions {
  daemons?: number;
  sources?: number;
  /** Runs of each source. */
  runs: number;
  timeout?: string;
  polling?: Record<string, unknown>;
  requestsPerS?: number;
}

/** The endpoints: every event comes once to each. */
export const ENDPOINTS = ['ops', 'audit'] as const;

export async function setUpPolling(
  context: BenchContext,
  options: PollStageOptions,
): Promise<PollStage> {
  const redis = await startRedis(context);
  const receiver = await startReceiver({ secrets: [] });
  context.onEnd(() => receiver.close());
  const sources: PolledSource[] = [];
  for (let at = 0; at < (options.sources ?? 1); at += 1) {
    sources.push(await openSource(context, `source-${at}`, options.runs));
  }
  const config = configOf(sources, { receiver, socket: redis.socket, ...options });
  const daemons: BenchDaemon[] = [];
  for (let at = 0; at < (options.daemons ?? 1); at += 1) {
    daemons.push(await startDaemon(context, { config, profileDir: null }));
  }
  for (const { name, runs } of sources) {
    await daemons[0]?.register(runs, { source: name, timeout: '1h' });
  }
  await until(() =>
    sources.every(({ simulator, runs }) =>
      runs.every((id) => simulator.requests.run(id).count > 0),
    ),
  );
  return { daemons, sources, receiver };
}

async function openSource(
  context: BenchContext,
  name: string,
  count: number,
): Promise<PolledSource> {
  const simulator = await startSimulator();
  context.onEnd(() => simulator.close());
  const door = await openDoor(Number(new URL(simulator.url).port));
  context.onEnd(() => door.close());
  const steps = [{ after_ms: 0, status: 'running' }];
  const runs = Array.from({ length: count }, () => simulator.add({ steps }).id);
  return { name, simulator, door, runs };
}

interface ConfigContext extends PollStageOptions {
  receiver: Receiver;
  socket: string;
}

function configOf(
  sources: PolledSource[],
  { receiver, socket, timeout = '10s', polling = {}, requestsPerS = 200 }: ConfigContext,
): Record<string, unknown> {
  const sourceOf = ({ simulator, door }: PolledSource) => ({
    base_url: door.url,
    api_key: simulator.apiKey,
    timeout,
    rate_limit: { requests: requestsPerS, per: '1s' },
  });
  const endpointAt = (name: string) => ({
    type: 'webhook',
    url: `${receiver.url}/${name}`,
    events: ['*'],
    headers: { 'x-endpoint': name },
  });
  return {
    redis: { url: `unix://${socket}` },
    sources: Object.fromEntries(sources.map((source) => [source.name, sourceOf(source)])),
    // Single polls show when each run was read.
    polling: { min_interval: '500ms', max_interval: '2s', lists: 'off', ...polling },
    endpoints: Object.fromEntries(ENDPOINTS.map((name) => [name, endpointAt(name)])),
  };
}

/** Waits until a condition holds, or the time is over. @returns whether it does */
export async function until(
  holds: () => boolean | Promise<boolean>,
  withinMs = 60_000,
): Promise<boolean> {
  const deadline = Date.now() + withinMs;
  while (Date.now() < deadline) {
    if (await holds()) return true;
    await delay(20);
  }
  return false;
}

/** Passes connections on while it is open. */
interface Door {
  url: string;
  /** From now on connections are refused, and those that there are end. */
  shut(): void;
  open(): Promise<void>;
  close(): Promise<void>;
}

async function openDoor(target: number): Promise<Door> {
  const sockets = new Set<Socket>();
  const pass = (from: Socket) => {
    const to = connect(target, '127.0.0.1');
    for (const [one, other] of [
      [from, to],
      [to, from],
    ] as const) {
      sockets.add(one);
      one.pipe(other);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
  };
  let server = createServer(pass);
  const listen = async (port: number): Promise<Server> => {
    server = createServer(pass).listen(port, '127.0.0.1');
    await once(server, 'listening');
    return server;
  };
  const address = (await listen(0)).address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const shut = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: `http://127.0.0.1:${port}`,
    shut,
    open: async () => void (await listen(port)),
    close: async () => shut(),
  };
}
