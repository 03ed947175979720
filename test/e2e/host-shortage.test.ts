import { execFile } from 'node:child_process';
import { Agent, createServer, request, type IncomingMessage, type Server } from 'node:http';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { waitUntilAllDelivered, watchOf, type DeliveryJson } from '../support/daemon-listings.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { testRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

/** How long a source may be without answers, ms. */
const UNREACHABLE_AFTER_MS = 1_500;

/** Runs by id, and their status; Noxus and receiver close each connection after its answer. */
const runs = new Map([
  ['ends-first', 'completed'],
  ['goes-on', 'running'],
]);
const received: string[] = [];
/** How many messages the receiver refuses before it takes them. */
let refusals = 1;
let server: Server;
let daemon: DaemonProcess;
const probes = new Agent({ keepAlive: true, maxSockets: 1 });

function answer({ url = '', method }: IncomingMessage, body: string): [number, object] {
  if (method === 'POST') {
    refusals -= 1;
    if (refusals >= 0) return [500, {}];
    received.push((JSON.parse(body) as { type: string }).type);
    return [200, {}];
  }
  const id = url.split('/').at(-1) ?? '';
  const status = runs.get(id);
  return status === undefined ? [404, {}] : [200, { id, status, workflow_id: 'wf-1', progress: 5 }];
}

beforeAll(async () => {
  server = createServer((asked, response) => {
    void text(asked).then((body) => {
      const [status, json] = answer(asked, body);
      response.writeHead(status, { connection: 'close', 'content-type': 'application/json' });
      response.end(JSON.stringify(json));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  daemon = await startDaemonProcess({
    env: { REDIS_URL: testRedis().url },
    config: {
      redis: { prefix: 'host-shortage' },
      sources: { default: { base_url: url, api_key: 'key' } },
      polling: {
        hints: 'off',
        lists: 'off',
        min_interval: '100ms',
        max_interval: '200ms',
        unreachable_after: `${UNREACHABLE_AFTER_MS}ms`,
      },
      endpoints: {
        ops: { type: 'webhook', url: `${url}/hook`, events: ['run.*'], retry: ['5s', '1s'] },
      },
    },
  });
});

afterAll(async () => {
  probes.destroy();
  await stopAll([daemon]);
  server.close();
});

const setLimit = (limit: string) =>
  promisify(execFile)('prlimit', ['--pid', String(daemon.pid), `--nofile=${limit}:`]);

/** The number that the next descriptor of the daemon would get. */
async function nextDescriptor(): Promise<number> {
  const open = new Set((await readdir(`/proc/${daemon.pid}/fd`)).map(Number));
  return Array.from({ length: open.size + 1 }, (_, at) => at).find((at) => !open.has(at)) ?? 0;
}

/** Over a connection that is kept: the daemon has no descriptor for another one. */
async function ask(path: string, method = 'GET'): Promise<string> {
  const asking = request(`${daemon.url}${path}`, { agent: probes, method }).end();
  const [response] = (await once(asking, 'response')) as [IncomingMessage];
  return text(response);
}

const linesOfReadyz = async () => (await ask('/readyz')).split('\n');

async function firstDelivery() {
  const listed = JSON.parse(await ask('/v1/deliveries?run_id=ends-first')) as {
    data: (DeliveryJson & { next_attempt_at: string | null })[];
  };
  return listed.data[0];
}

test('a daemon without free descriptors charges no source and no receiver, and goes on when some are free', async () => {
  const watches = [...runs.keys()].map((run_id) => ({ run_id }));
  await daemon.api('/v1/watches/batch', { watches });
  await waitFor(async () => (await firstDelivery())?.attempt_count === 1);
  await waitFor(async () => (await watchOf(daemon, 'goes-on')).polls > 0);

  let limit = Infinity;
  const degraded = await waitFor(async () => {
    // What the daemon closes meanwhile it could open again.
    const next = Math.min(limit, await nextDescriptor());
    if (next < limit) await setLimit(String((limit = next)));
    const lines = await linesOfReadyz();
    return next === limit && lines.find((line) => line.startsWith('degraded descriptors:'));
  });
  expect(degraded).toMatch(/ \d+ of \d+ are in use/);
  // The retry is due for longer than a source may be without answers.
  const waiting = await waitFor(async () => {
    const delivery = await firstDelivery();
    const dueAt = Date.parse(delivery?.next_attempt_at ?? '');
    return dueAt < Date.now() - UNREACHABLE_AFTER_MS && delivery;
  });
  expect(waiting).toMatchObject({ state: 'pending', attempt_count: 1 });
  expect(JSON.parse(await ask('/v1/watches/goes-on'))).toMatchObject({ error: null });
  expect(await linesOfReadyz()).toContain('ok sources: every source answers');
  const tried = await ask('/v1/endpoints/ops/test', 'POST');
  expect(JSON.parse(tried)).toMatchObject({
    delivered: false,
    attempt: { error: { code: 'host_exhausted' } },
  });

  await setLimit('4096');
  runs.set('goes-on', 'failed');
  await waitFor(() => received.length === 2);
  expect(received.toSorted()).toEqual(['run.completed', 'run.failed']);
  await waitUntilAllDelivered(daemon);
  expect(await firstDelivery()).toMatchObject({ state: 'delivered', attempt_count: 2 });
  await waitFor(async () => !(await ask('/readyz')).includes('descriptors'));
  const said = daemon.log().filter(({ msg }) => msg.startsWith('descriptors:'));
  expect(said).toHaveLength(1);
  const { body } = await daemon.api<{ data: { type: string }[] }>('/v1/events?type=source.*');
  expect(body.data).toEqual([]);
});
