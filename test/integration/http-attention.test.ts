import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { attentionPage } from '../../src/http/schemas/attention.ts';
import { startServer, type TestServer } from '../support/http-server.ts';

let server: TestServer;
const AT = Date.parse('2025-05-04T10:00:00.000Z');

beforeAll(async () => {
  server = await startServer();
  const acknowledged = { by: 'ana', comment: null, at: AT, until: null };
  server.services.attentionItems.push(
    {
      kind: 'awaiting',
      severity: 'warning',
      count: 1,
      since: AT,
      message: 'the run waits for a human',
      runId: 'run-1',
      source: 'default',
      workflowId: 'wf-1',
      workflowName: 'invoices',
      runUrl: null,
      acknowledged,
    },
    {
      kind: 'failed',
      severity: 'error',
      count: 2,
      since: AT + 1,
      message: '2 runs failed',
      source: 'default',
      workflowId: null,
      runs: [{ runId: 'run-2', since: AT, runUrl: null }],
    },
    {
      kind: 'dead',
      severity: 'warning',
      since: AT + 1,
      message: '2 deliveries',
      endpoint: 'ops',
      count: 2,
      deliveries: { waiting: 0, dead: 2 },
    },
  );
});

afterAll(() => server.close());

test('what needs a person is listed with what each item is about, and with counts', async () => {
  const response = await server.fetch('/v1/attention');
  expect(response.status).toBe(200);
  const page = attentionPage.strict().parse(await response.json());
  expect(page.data).toEqual([
    {
      kind: 'awaiting',
      severity: 'warning',
      count: 1,
      since: '2025-05-04T10:00:00.000Z',
      message: 'the run waits for a human',
      run_id: 'run-1',
      source: 'default',
      workflow_id: 'wf-1',
      workflow_name: 'invoices',
      run_url: null,
      acknowledged: { by: 'ana', comment: null, at: '2025-05-04T10:00:00.000Z', until: null },
    },
    {
      kind: 'failed',
      severity: 'error',
      count: 2,
      since: '2025-05-04T10:00:00.001Z',
      message: '2 runs failed',
      source: 'default',
      workflow_id: null,
      runs: [{ run_id: 'run-2', since: '2025-05-04T10:00:00.000Z', run_url: null }],
    },
    {
      kind: 'dead',
      severity: 'warning',
      since: '2025-05-04T10:00:00.001Z',
      message: '2 deliveries',
      endpoint: 'ops',
      count: 2,
      deliveries: { waiting: 0, dead: 2 },
    },
  ]);
  expect(page).toMatchObject({ counts: { failed: 1, awaiting: 1, dead: 1, gone: 0 }, total: 3 });
});

test('what a user has acknowledged is listed only where that is asked for', async () => {
  server.services.calls.attentionQueries.length = 0;
  await server.fetch('/v1/attention');
  await server.fetch('/v1/attention?acknowledged=include');
  expect(server.services.calls.attentionQueries).toEqual([
    { withAcknowledged: false },
    { withAcknowledged: true },
  ]);
  expect((await server.fetch('/v1/attention?acknowledged=yes')).status).toBe(422);
});
