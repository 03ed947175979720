import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { DEFAULT_REQUEST_TIMEOUT_MSEC } from '@modelcontextprotocol/sdk/shared/protocol.js';
import { parseDuration } from '../../src/core/time.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { waitForWatch } from '../support/daemon-listings.ts';
import {
  cleanEnv,
  startDaemonProcess,
  stopAll,
  type DaemonProcess,
} from '../support/daemon-process.ts';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

let noxus: Simulator;
let daemon: DaemonProcess;
const clients: Client[] = [];

beforeAll(async () => {
  noxus = await startSimulator();
  daemon = await startDaemonProcess({
    config: {
      sources: { default: { base_url: noxus.url, api_key: noxus.apiKey } },
      polling: { min_interval: '50ms', max_interval: '100ms' },
    },
  });
});

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
});

afterAll(async () => {
  await stopAll([daemon]);
  await noxus.close();
});

/** A client of the Model Context Protocol that starts `runwatch mcp` as AI clients do. */
async function connected(env: Record<string, string> = {}): Promise<Client> {
  const client = new Client({ name: 'test', version: '1.0.0' });
  clients.push(client);
  const command = { command: process.execPath, args: [MAIN, 'mcp', '--url', daemon.url] };
  await client.connect(new StdioClientTransport({ ...command, env: cleanEnv(env) }));
  return client;
}

async function call(client: Client, name: string, given: Record<string, unknown> = {}) {
  const result = await client.callTool({ name, arguments: given });
  const [first] = result.content as { text: string }[];
  return {
    text: first?.text ?? '',
    isError: result.isError === true,
    data: result.structuredContent,
  };
}

const namesOf = async (client: Client) => (await client.listTools()).tools.map(({ name }) => name);

const READS = ['list_attention', 'list_runs', 'show_run', 'explain_run', 'wait_run'];

test('mcp without a token offers tools that change nothing, and they say how runs stand', async () => {
  const client = await connected();
  expect(await namesOf(client)).toEqual(READS);
  const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'running', progress: 40 }] });
  await daemon.api('/v1/watches', { run_id: id });
  await waitForWatch(daemon, id, ({ run }) => run?.status === 'running');

  const shown = await call(client, 'show_run', { run_id: `https://app.noxus.ai/runs/${id}` });
  expect(shown.text).toMatch(
    new RegExp(`^Run ${id} .* is running \\(40 %\\) since .*; its watch is active`),
  );
  expect(shown.data).toMatchObject({ run_id: id, state: 'active' });
  const listed = await call(client, 'list_runs', { status: ['running'] });
  expect(listed.text).toContain(id);

  const waiting = call(client, 'wait_run', { run_id: id, timeout: '20s' });
  noxus.setStatus(id, 'failed', 40);
  expect((await waiting).text).toContain('is failed (40 %) since ');
  const explained = await call(client, 'explain_run', { run_id: id });
  expect(explained.text).toMatch(/the run was running at 40 % for [^]*runwatch noticed run.failed/);

  const unknown = await call(client, 'show_run', { run_id: 'no-such-run' });
  expect(unknown).toMatchObject({ isError: true, text: 'run no-such-run is not watched' });
});

test('wait_run tells a client that asks for it how the wait goes, and waits less than clients do', async () => {
  const client = await connected();
  const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'running', progress: 40 }] });
  await daemon.api('/v1/watches', { run_id: id });
  await waitForWatch(daemon, id, ({ run }) => run?.status === 'running');
  const reports: unknown[] = [];
  const result = await client.callTool(
    { name: 'wait_run', arguments: { run_id: id, timeout: '10m' } },
    undefined,
    {
      onprogress(report) {
        reports.push(report);
        noxus.setStatus(id, 'failed', 40);
      },
    },
  );
  expect(JSON.stringify(result.content)).toContain('is failed (40 %)');
  expect(reports[0]).toMatchObject({
    total: 600_000,
    message: expect.stringContaining('is running (40 %)'),
  });

  const { tools } = await client.listTools();
  const shown = JSON.stringify(tools.find(({ name }) => name === 'wait_run')?.inputSchema);
  const usual = parseDuration(/default (\w+),/.exec(shown)?.[1] ?? '');
  expect(usual).toBeGreaterThan(0);
  expect(usual).toBeLessThan(DEFAULT_REQUEST_TIMEOUT_MSEC);
});

test('list_attention names what needs a person by kind, workflow, id, time and link, and counts it', async () => {
  const client = await connected();
  const waiting = noxus.add({ steps: [{ after_ms: 0, status: 'awaiting_human_feedback' }] });
  const metadata = { note: 'say\nyes' };
  await daemon.api('/v1/watches', { run_id: waiting.id, metadata });
  await waitForWatch(daemon, waiting.id, ({ run }) => run?.status === 'awaiting_human_feedback');
  const { text } = await call(client, 'list_attention');
  const lines = text.split('\n');
  expect(lines.find((line) => line.includes(waiting.id))).toMatch(
    new RegExp(
      `^awaiting: run ${waiting.id} of workflow ".*" \\(source default\\), since [\\dT:.-]+Z: "the run waits for a human" ${daemon.url}/runs/default/${waiting.id}$`,
    ),
  );
  expect(lines.at(-1)).toMatch(/^\d+ in all: .*\d+ awaiting/);

  const shown = await call(client, 'show_run', { run_id: waiting.id });
  expect(shown.text).toContain('\nMetadata: "note": "say yes".\n');
  expect(shown.text).toMatch(/\nLast polled [\dT:.-]+Z; next poll [\dT:.-]+Z\.$/);
});

test('mcp with a token that may write acknowledges runs', async () => {
  const client = await connected({ RUNWATCH_API_TOKEN: 'a-token-of-any-kind' });
  expect(await namesOf(client)).toEqual([...READS, 'acknowledge', 'silence']);
  const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'awaiting_human_feedback' }] });
  await daemon.api('/v1/watches', { run_id: id });
  // A change of state takes the acknowledgement back, as the first poll is.
  await waitForWatch(daemon, id, ({ run }) => run?.status === 'awaiting_human_feedback');
  const done = await call(client, 'acknowledge', { id, by: '@ana', comment: 'on it' });
  expect(done.text).toBe(`Run ${id} is acknowledged.`);
  const { body } = await daemon.api(`/v1/watches/${id}`);
  expect(body.acknowledged).toMatchObject({ by: '@ana', comment: 'on it' });
  const shown = await call(client, 'show_run', { run_id: id });
  expect(shown.text).toMatch(/\nAcknowledged by "@ana" at [\dT:.-]+Z: "on it"\.\n/);
  const { tools } = await client.listTools();
  const { annotations } = tools.find(({ name }) => name === 'silence') ?? {};
  expect(annotations).toMatchObject({ readOnlyHint: false, idempotentHint: false });
});
