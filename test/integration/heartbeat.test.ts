import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from '@jest/globals';
import type { HealthCheck } from '../../src/core/health-check.ts';
import { Heartbeat } from '../../src/http/heartbeat.ts';
import { configSchema } from '../../src/config/schema.ts';
import { createEndpointGuard } from '../../src/deliver/egress/egress-guard.ts';
import { createWebhookAgents } from '../../src/deliver/http-post.ts';
import { collectLog } from '../support/collect-log.ts';
import { testProcess } from '../support/daemon.ts';
import { waitFor } from '../support/wait-for.ts';

const releasers: (() => unknown)[] = [];

afterEach(async () => {
  for (const release of releasers.splice(0).toReversed()) await release();
});

/** A heartbeat to a server on loopback. */
async function started() {
  const state = { status: 200, health: 'degraded' as HealthCheck['status'] };
  const stopping = new AbortController();
  const calls: string[] = [];
  const server = createServer((request, response) => {
    calls.push(`${request.method} ${request.url}`);
    response.writeHead(state.status).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const agents = createWebhookAgents(createEndpointGuard());
  const log = collectLog();
  const results: string[] = [];
  const { port } = server.address() as AddressInfo;
  const config = configSchema.parse({ data_dir: '/nowhere' });
  config.heartbeat = { url: `http://127.0.0.1:${port}/secret`, every: 5 };
  const process = testProcess({
    config,
    metrics: { heartbeat: (result) => void results.push(result) },
  });
  const heartbeat = new Heartbeat(
    {
      process: Object.assign(process, { log }),
      agents: { configured: agents, perWatch: agents, close: () => undefined },
    },
    { checks: async () => [{ name: 'redis', status: state.health, detail: '' }] },
    stopping.signal,
  );
  heartbeat.start();
  const stop = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  };
  releasers.push(
    () => agents.close(),
    stop,
    () => heartbeat.stop(),
  );
  return { state, stopping, calls, results, log, stop: () => server.closeAllConnections() };
}

test('the heartbeat is a GET while the process is ready, degraded or not, and none while it is not', async () => {
  const { state, stopping, calls, results } = await started();
  await waitFor(() => calls.length >= 2);
  expect(calls[0]).toBe('GET /secret');
  const expectNone = async () => {
    await waitFor(() => results.at(-1) === 'not_ready');
    const before = calls.length;
    await waitFor(() => results.slice(-3).every((one) => one === 'not_ready'));
    expect(calls.length).toBe(before);
  };
  state.health = 'failed';
  await expectNone();
  state.health = 'ok';
  await waitFor(() => results.at(-1) === 'sent');
  stopping.abort();
  await expectNone();
});

test('a heartbeat that fails is logged once, without its address, and so is its recovery', async () => {
  const { state, results, log } = await started();
  state.status = 500;
  await waitFor(() => results.filter((one) => one === 'failed').length >= 3);
  state.status = 200;
  await waitFor(() => results.at(-1) === 'sent');
  const lines = log.lines.filter(({ msg }) => msg.startsWith('heartbeat.'));
  expect(lines.map(({ msg }) => msg)).toEqual(['heartbeat.failed', 'heartbeat.recovered']);
  expect(JSON.stringify(lines)).not.toContain('secret');
});
