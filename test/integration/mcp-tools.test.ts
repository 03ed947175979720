import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { InMemoryTransport } from '@modelcontextprotocol/sdk/inMemory.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import type { CommandLine } from '../../src/cli/command-line.ts';
import { addAll } from '../../src/cli/mcp/server.ts';
import { Tools } from '../../src/cli/mcp/tools.ts';
import { createClient } from '../../src/client/client.ts';
import { sampleDelivery } from '../support/api-samples.ts';
import { problem, startFakeDaemon, type FakeDaemon } from '../support/fake-daemon.ts';

let daemon: FakeDaemon;
let agent: Client;

beforeEach(async () => {
  daemon = await startFakeDaemon();
  const server = new McpServer({ name: 'runwatch', version: '0.0.0' });
  const { signal } = new AbortController();
  const client = createClient({ url: daemon.url, signal });
  addAll(new Tools(server, client, { signal } as CommandLine), { write: true, admin: false });
  const [near, far] = InMemoryTransport.createLinkedPair();
  await server.connect(far);
  agent = new Client({ name: 'agent', version: '0.0.0' });
  await agent.connect(near);
});

afterEach(async () => {
  await agent.close();
  await daemon.close();
});

/** What the daemon answers where a delivery is to go out again. */
function willAnswer(id: string, again: Parameters<FakeDaemon['on']>[1]): void {
  const attempts: never[] = [];
  daemon.on(`GET /v1/deliveries/${id}`, {
    status: 200,
    body: { ...sampleDelivery({ id }), attempts },
  });
  daemon.on(`POST /v1/deliveries/${id}/redeliver`, again);
}

const redeliver = async (...ids: string[]) => {
  const given = { ids, confirm: true };
  const { content, isError, structuredContent } = await agent.callTool({
    name: 'redeliver',
    arguments: given,
  });
  const [{ text = '' } = {}] = content as { text?: string }[];
  return { lines: text.split('\n'), isError: isError === true, data: structuredContent };
};

const AWAY = problem(503, 'redis_away', 'Redis is away');
const sent = (id: string) => ({ id, event_id: `evt_of_${id}`, state: 'pending' });

test('redeliver says of each delivery whether it goes out again, also where one is refused', async () => {
  const failed = `the daemon at ${daemon.url} answers 503: Redis is away`;
  willAnswer('dlv_first', { status: 202, body: sent('dlv_first') });
  willAnswer('dlv_refused', AWAY);
  willAnswer('dlv_last', { status: 202, body: sent('dlv_last') });
  expect(await redeliver('dlv_first', 'dlv_refused', 'dlv_last')).toEqual({
    lines: [
      'dlv_first goes out again to ops (event evt_of_dlv_first).',
      `dlv_refused: The call failed: "${failed}"`,
      'dlv_last goes out again to ops (event evt_of_dlv_last).',
      'show_delivery says how it fares.',
    ],
    isError: false,
    data: {
      results: [
        { ...sent('dlv_first'), endpoint: 'ops' },
        { id: 'dlv_refused', error: { code: 'redis_away', message: failed } },
        { ...sent('dlv_last'), endpoint: 'ops' },
      ],
    },
  });
});

test('redeliver is an error where no delivery goes out again', async () => {
  willAnswer('dlv_refused', AWAY);
  willAnswer('dlv_gone', problem(404, 'delivery_not_found', 'no'));
  const { isError, lines } = await redeliver('dlv_refused', 'dlv_gone');
  expect(isError).toBe(true);
  expect(lines).toEqual([
    expect.stringContaining('Redis is away'),
    expect.stringContaining('dlv_gone'),
    'show_delivery says how it fares.',
  ]);
});
