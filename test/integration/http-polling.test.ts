import { binOf, NO_FIGURES } from '../../src/core/watch/run-figures.ts';
import { workflowList, pollingPage } from '../../src/http/schemas/workflow.ts';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { aWorkflow } from '../support/fake-services.ts';
import { startServer, type TestServer } from '../support/http-server.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
  const unknown = { duration: null, measured: null, expected: null };
  server.services.polledWorkflows.push(aWorkflow(), aWorkflow({ workflowId: 'wf-2', ...unknown }));
});
afterAll(() => server.close());

describe('what was learned of workflows', () => {
  it('polling of workflows is listed in milliseconds, with the expected profile', async () => {
    const response = await server.fetch('/v1/polling?source=default&limit=2&cursor=c1');
    const { data } = pollingPage.strict().parse(await response.json());
    expect(data).toEqual([
      {
        source: 'default',
        workflow_id: 'wf-1',
        runs: 120,
        states: 12,
        duration: { median_ms: 61_200, p90_ms: 90_400 },
        measured: { requests: 7.46, delay_ms: 812 },
        expected: { requests: 8.5, delay_ms: 1_200, profile: 'normal' },
      },
      expect.objectContaining({ workflow_id: 'wf-2', duration: null, expected: null }),
    ]);
    expect(server.services.calls.pollingQueries).toEqual([
      { workflowId: undefined, sources: ['default'], limit: 2, cursor: 'c1' },
    ]);
  });

  it('polling of one workflow is shown alone', async () => {
    const response = await server.fetch('/v1/polling?workflow_id=wf-2');
    expect(await response.json()).toMatchObject({ data: [{ workflow_id: 'wf-2' }] });
  });

  it('polling of an unknown workflow is 404, with what to do', async () => {
    const response = await server.fetch('/v1/polling?workflow_id=nope&source=default');
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({
      code: 'workflow_not_found',
      detail: expect.stringMatching(/workflow nope of source default.*GET \/v1\/watches/),
    });
  });

  it.each(['workflow=wf-1', 'limit=0', 'cursor=nonsense', 'workflow_id=nope&source=slip'])(
    'the polling query %s is refused',
    async (query) => {
      expect((await server.fetch(`/v1/polling?${query}`)).status).toBe(422);
    },
  );
});

describe('workflows', () => {
  it('workflows are listed with the figures of their runs, those with the most runs first', async () => {
    const figures = {
      ended: { completed: 6, failed: 2 },
      durations: { [binOf(60_000)]: 8 },
      delays: { [binOf(500)]: 8 },
      requests: 30,
      polled: 8,
    };
    expect((await server.fetch('/v1/workflows?source=slip')).status).toBe(422);
    server.services.workflowFigures.push(
      { source: 'default', workflowId: 'wf-1', figures: NO_FIGURES, active: {} },
      { source: 'default', workflowId: 'wf-2', figures, active: { running: 1 } },
    );
    const response = await server.fetch('/v1/workflows?since=1h');
    const { since, data } = workflowList.parse(await response.json());
    expect(since).toBe('2025-05-04T09:00:00.000Z');
    expect(data).toMatchObject([
      {
        workflow_id: 'wf-2',
        name: null,
        watched: 9,
        active: 1,
        by_status: { completed: 6, failed: 2, running: 1 },
        failure_rate: 0.25,
        duration: { p50_ms: expect.any(Number), p90_ms: expect.any(Number) },
        detection_delay: { p50_ms: expect.any(Number), p95_ms: expect.any(Number) },
        requests_per_run: 3.75,
      },
      { workflow_id: 'wf-1', watched: 0, failure_rate: null, duration: null },
    ]);
    expect((await server.fetch('/v1/workflows?since=soon')).status).toBe(422);
  });
});
