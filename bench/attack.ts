import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { startDaemon, type BenchDaemon } from './support/daemon.ts';
import { rounded, type BenchResult, type Figure } from './support/figures.ts';
import { withContext } from './support/context.ts';
import { startRedis } from './support/redis.ts';

const MEBIBYTE = 1_048_576;

/** More sockets than the daemon accepts. */
const SILENT_SOCKETS = 1_100;

/** Watches in the pages that are read. */
const WATCHES = 2_000;

const PROBE_EVERY_MS = 20;

interface Pipeline {
  name: string;
  path: string;
  requests: number;
}

const PIPELINES: Pipeline[] = [
  { name: '/metrics', path: '/metrics', requests: 5_000 },
  { name: '/v1/watches', path: '/v1/watches', requests: 10_000 },
];

/**
 * What a client without a token can do to the daemon: connections that send nothing, and one connection
 * that sends thousands of requests without waiting for an answer.
 *
 * Targets: /livez answers within 50 s while 1,100 sockets are half open; within 250 ms beside a
 * pipeline, which costs 100 MiB at the most.
 */
export async function benchAttack({
  profileDir,
}: {
  profileDir: string | null;
}): Promise<BenchResult> {
  return withContext(async (context) => {
    const redis = await startRedis(context);
    const daemon = await startDaemon(context, {
      config: {
        redis: { url: redis.socket },
        // Nothing answers there: no poll disturbs what is measured.
        sources: { default: { base_url: 'http://127.0.0.1:9', api_key: 'bench' } },
      },
      profileDir,
    });
    for (let at = 0; at < WATCHES; at += 1_000) {
      await daemon.register(Array.from({ length: 1_000 }, (_, run) => `run-${at + run}`));
    }
    const figures: Figure[] = [];
    for (const pipeline of PIPELINES) figures.push(...(await pipelined(daemon, pipeline)));
    figures.push(await besideSilentSockets(daemon));
    await daemon.end();
    return { figures, details: {} };
  });
}

async function pipelined(
  daemon: BenchDaemon,
  { name, path, requests }: Pipeline,
): Promise<Figure[]> {
  const { rssBytes: before } = await daemon.usage();
  const socket = await open(daemon.url);
  const one = `GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`;
  const last = one.replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n');
  const answered = once(socket.resume(), 'end');
  socket.write(one.repeat(requests - 1) + last);
  const over = new AbortController();
  void answered.then(() => over.abort());
  const latencies: number[] = [];
  let most = before;
  while (!over.signal.aborted) {
    latencies.push(await probe(daemon.url));
    most = Math.max(most, (await daemon.usage()).rssBytes);
    await delay(PROBE_EVERY_MS);
  }
  socket.destroy();
  const beside = `beside ${requests.toLocaleString('en')} pipelined ${name}`;
  return [
    {
      name: `/livez ${beside}: slowest of ${latencies.length}`,
      value: rounded(Math.max(...latencies)),
      unit: 'ms',
      target: { atMost: 250 },
    },
    {
      name: `growth of the daemon ${beside}`,
      value: rounded((most - before) / MEBIBYTE),
      unit: 'MiB',
      target: { atMost: 100 },
    },
  ];
}

async function besideSilentSockets(daemon: BenchDaemon): Promise<Figure> {
  const sockets: Socket[] = [];
  while (sockets.length < SILENT_SOCKETS) sockets.push(await open(daemon.url));
  const value = await probe(daemon.url);
  for (const socket of sockets) socket.destroy();
  return {
    name: `/livez beside ${SILENT_SOCKETS.toLocaleString('en')} half-open sockets`,
    value: rounded(value),
    unit: 'ms',
    target: { atMost: 50_000 },
  };
}

/** A connection with its own half kept open, whatever the daemon does. */
async function open(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

/** How long /livez takes on its own connection, ms. */
async function probe(url: string): Promise<number> {
  const startedAt = performance.now();
  const response = await fetch(`${url}/livez`, { headers: { connection: 'close' } });
  if ((await response.text()) !== 'ok\n') throw new Error(`/livez answered ${response.status}`);
  return performance.now() - startedAt;
}
