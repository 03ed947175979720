import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { SourcePort } from '../../src/core/source/port.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { DEFAULT_WORKFLOW_ID } from '../../src/simulator/workflow.ts';
import { kindOf as configuredKind, type KindOf } from '../../src/source/kinds.ts';
import { tempDir } from '../support/daemon-process.ts';
import { startInside } from '../support/inside-daemon.ts';
import { testRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

const NODE_NAMES = { 'node-2': 'Extract fields' };

let simulator: Simulator;
let receivers: Awaited<ReturnType<typeof startReceivers>>;
let daemon: Awaited<ReturnType<typeof startInside>> | null;
let dataDir: string;
let place: ReturnType<typeof testRedis>;

beforeEach(async () => {
  simulator = await startSimulator();
  receivers = await startReceivers();
  dataDir = await tempDir();
  place = testRedis();
  daemon = null;
});

afterEach(async () => {
  await daemon?.stop();
  await receivers.close();
  await simulator.close();
  await rm(dataDir, { recursive: true });
});

/** A webhook at `/hook`, and a place where people read at `/chat`, which takes messages once it is open. */
async function startReceivers() {
  const state = { isChatOpen: false, hooks: [] as string[], messages: [] as string[] };
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      const isChat = request.url === '/chat';
      if (!isChat) state.hooks.push(body);
      else if (state.isChatOpen) state.messages.push(body);
      response.statusCode = isChat && !state.isChatOpen ? 500 : 200;
      response.end('ok');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    state,
    url,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** A source that gives names once the gate is open. */
function gated(gate: Promise<void>): KindOf {
  return (name, config) => {
    const kind = configuredKind(name, config);
    return { ...kind, open: (options) => withGate(kind.open(options), gate) };
  };
}

function withGate(port: SourcePort, gate: Promise<void>): SourcePort {
  const { names } = port;
  if (names === null) throw new Error('the source gives no names');
  return {
    ...port,
    names: {
      readWorkflows: (question) => gate.then(() => names.readWorkflows(question)),
      readDefinition: (workflowId) => gate.then(() => names.readDefinition(workflowId)),
    },
  };
}

async function start(gate: Promise<void>) {
  const { url } = receivers;
  daemon = await startInside(
    {
      data_dir: dataDir,
      redis: { url: place.url, prefix: place.prefix },
      sources: {
        default: {
          base_url: simulator.url,
          api_key: simulator.apiKey,
          rate_limit: { requests: 10_000, per: '1s' },
        },
      },
      polling: { hints: 'auto', min_interval: '50s', max_interval: '60s' },
      endpoints: {
        hook: { type: 'webhook', url: `${url}/hook`, default: true },
        chat: { type: 'slack', url: `${url}/chat`, default: true, retry: ['24h'] },
      },
      rules: [
        {
          name: 'failed-runs',
          events: ['run.failed'],
          notify: ['hook'],
          group_by: ['source', 'workflow_id'],
          group_wait: '0s',
        },
      ],
    },
    { kindOf: gated(gate) },
  );
}

async function call(path: string, method = 'GET', body?: object) {
  const response = await fetch(`${daemon?.url}/v1/${path}`, {
    method,
    ...(body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  return (await response.json()) as Record<string, unknown>;
}

interface Shown {
  id: string;
  type: string;
  data: { run_id: string; workflow_name: string | null; nodes: { names?: object } | null };
}

const failedOf = (events: readonly Shown[], runId: string) =>
  events.find(({ type, data }) => type === 'run.failed' && data.run_id === runId);

const hooked = (runId: string) =>
  failedOf(
    receivers.state.hooks.map((body) => JSON.parse(body) as Shown),
    runId,
  );

/** A run that is watched by its stream, and fails at its second node. */
async function fail(): Promise<string> {
  const steps = [{ after_ms: 0, status: 'running', progress: 30 }];
  const { id } = simulator.add({ steps, workflow_id: DEFAULT_WORKFLOW_ID });
  const { opened } = simulator.streams;
  await call('watches', 'POST', { run_id: id });
  await waitFor(() => simulator.streams.opened > opened);
  await waitFor(async () => {
    const { run } = await call(`watches/${id}`);
    return (run as { status: string } | null)?.status === 'running';
  });
  simulator.setStatus(id, 'failed');
  await waitFor(() => hooked(id) !== undefined);
  return id;
}

test('names are shown once they are known, programs get the events as they were, and a restart knows the names at once', async () => {
  let open = (): void => undefined;
  await start(new Promise((resolve) => (open = resolve)));
  const runId = await fail();
  const first = receivers.state.hooks.find((body) => body.includes('"run.failed"'));
  expect(hooked(runId)?.data).toMatchObject({ workflow_name: null });
  expect(hooked(runId)?.data.nodes?.names).toBeUndefined();
  const named = { workflow_name: 'anything', nodes: { names: NODE_NAMES } };

  open();
  await waitFor(async () => {
    const { data } = await call(`events?run_id=${runId}`);
    const event = failedOf(data as Shown[], runId);
    return event?.data.workflow_name !== null && event?.data.nodes?.names !== undefined;
  });
  const { data } = await call(`events?run_id=${runId}`);
  expect(failedOf(data as Shown[], runId)?.data).toMatchObject(named);
  const { events } = await call(`watches/${runId}/timeline`);
  expect(failedOf(events as Shown[], runId)?.data).toMatchObject(named);
  await waitFor(async () => {
    const { data: alerts } = await call('alerts');
    return (alerts as object[]).length > 0;
  });
  const { data: alerts } = await call('alerts');
  expect(alerts).toMatchObject([{ runs: [{ run_id: runId, name: 'anything' }] }]);

  receivers.state.isChatOpen = true;
  await call('endpoints/chat/retry', 'POST');
  await waitFor(() => receivers.state.messages.length > 0);
  expect(receivers.state.messages[0]).toContain('anything failed');
  expect(receivers.state.messages[0]).toContain('Failed at Extract fields');
  const { data: hooks } = await call(`deliveries?endpoint=hook&run_id=${runId}`);
  for (const { id } of hooks as { id: string }[]) await call(`deliveries/${id}/redeliver`, 'POST');
  await waitFor(() => receivers.state.hooks.filter((body) => body === first).length > 1);

  await daemon?.stop();
  await start(new Promise(() => undefined));
  const next = await fail();
  expect(hooked(next)?.data).toMatchObject(named);
});
