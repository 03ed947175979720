import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { pollingPage } from '../../src/http/schemas/polling.ts';
import { aWorkflow } from '../support/fake-services.ts';
import { startServer, type TestServer } from '../support/http-server.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
  const unknown = { duration: null, measured: null, expected: null };
  server.services.workflows.push(aWorkflow(), aWorkflow({ workflowId: 'wf-2', ...unknown }));
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
      { sources: ['default'], limit: 2, cursor: 'c1' },
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

  it.each(['workflow=wf-1', 'limit=0', 'cursor=nonsense'])(
    'the polling query %s is refused',
    async (query) => {
      expect((await server.fetch(`/v1/polling?${query}`)).status).toBe(422);
    },
  );
});
