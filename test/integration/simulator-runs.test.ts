import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { STORY_NAMES, type StoryName } from '../../src/simulator/stories.ts';
import { workflowOfStory } from '../../src/simulator/workflow.ts';
import { waitFor } from '../support/wait-for.ts';

let simulator: Simulator;

beforeEach(async () => {
  // The stories are over within a few tens of milliseconds.
  simulator = await startSimulator({ speed: 200 });
});

afterEach(() => simulator.close());

async function call(method: string, path: string, body?: unknown) {
  const response = await fetch(`${simulator.url}/v1/${path}`, {
    method,
    headers: {
      'x-api-key': simulator.apiKey,
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? null : JSON.parse(text) };
}

async function start(story: StoryName, body: object = {}) {
  const path = `workflows/${workflowOfStory(story)}/runs`;
  const { body: run } = await call('POST', path, { input: {}, ...body });
  return run as { id: string; workflow_id: string; status: string };
}

/** Waits until a run has such a status. */
async function reach(run: { id: string; workflow_id: string }, status: string) {
  return waitFor(async () => {
    const { body } = await call('GET', `workflows/${run.workflow_id}/runs/${run.id}`);
    return body.status === status ? body : undefined;
  });
}

describe('simulator: starting a run', () => {
  test('a started run is queued, and plays the story of its workflow', async () => {
    await simulator.close();
    let now = Date.now();
    simulator = await startSimulator({ now: () => now });
    const run = await start('fails', { input: { invoice: 4711 } });
    expect(run).toMatchObject({
      status: 'queued',
      progress: 0,
      workflow_id: workflowOfStory('fails'),
      input: { invoice: 4711 },
      output: null,
      progress_details: { executed_nodes: [], running_nodes: [] },
    });
    now += 60_000;
    expect(await reach(run, 'failed')).toMatchObject({
      output: null,
      progress_details: { executed_nodes: ['node-1', 'node-2', 'node-3'] },
    });
  });

  test('a started run plays the story that its input names', async () => {
    const run = await start('completes', { input: { story: 'stops' } });
    await reach(run, 'stopped');
  });

  test('a started run repeats its input in its output', async () => {
    const run = await start('completes', { input: { invoice: 4711 } });
    expect(await reach(run, 'completed')).toMatchObject({
      progress: 100,
      output: { input: { invoice: 4711 } },
    });
  });

  test('a run can be started in an added workflow', async () => {
    const workflow = { id: '6a0d3c52-8f1e-4b7a-9c2d-51e7f0a94b30', name: 'mine', story: 'fails' };
    const added = await fetch(`${simulator.url}/_sim/workflows`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(workflow),
    });
    expect(added.status).toBe(201);
    expect(await call('GET', `workflows/${workflow.id}`)).toMatchObject({
      body: { id: workflow.id, name: 'mine', definition: { nodes: expect.any(Array) } },
    });
    const { body: run } = await call('POST', `workflows/${workflow.id}/runs`, { input: {} });
    await reach(run, 'failed');
  });

  test.each([
    ['without a body', undefined, { type: 'missing', loc: ['body'] }],
    ['with half of the JSON', '{"input":', { type: 'json_invalid' }],
    ['without an input', {}, { type: 'missing', loc: ['body', 'input'], msg: 'Field required' }],
    ['with a list as input', { input: [] }, { type: 'dict_type', loc: ['body', 'input'] }],
    [
      'with a story that there is not',
      { input: { story: 'explodes' } },
      { type: 'enum', loc: ['body', 'input', 'story'], input: 'explodes' },
    ],
  ])('an invalid start is refused in the words of FastAPI: %s', async (_, body, complaint) => {
    const answer = await call('POST', `workflows/${workflowOfStory('fails')}/runs`, body);
    expect(answer).toMatchObject({ status: 422, body: { detail: [complaint] } });
  });

  test('a start in an unknown workflow is refused', async () => {
    const unknown = await call('POST', `workflows/${crypto.randomUUID()}/runs`, { input: {} });
    expect(unknown).toEqual({ status: 404, body: { detail: 'Workflow not found' } });
    const invalid = await call('POST', 'workflows/mine/runs', { input: {} });
    expect(invalid).toMatchObject({ status: 422, body: { detail: [{ type: 'uuid_parsing' }] } });
  });

  test('a synchronous start waits for the end, and can return the output only', async () => {
    const path = `workflows/${workflowOfStory('completes')}/runs/sync`;
    const whole = await call('POST', path, { input: { a: 1 } });
    expect(whole.body).toMatchObject({ status: 'completed', output: { input: { a: 1 } } });
    const output = await call('POST', `${path}?output_only=true`, { input: { a: 1 } });
    expect(output.body).toMatchObject({ input: { a: 1 } });
  });
});

describe('simulator: callback_url', () => {
  let receiver: Server;
  let received: { id: string; status: string }[];

  beforeEach(async () => {
    received = [];
    receiver = createServer((request, response) => {
      let text = '';
      request.on('data', (chunk: Buffer) => (text += chunk.toString()));
      request.on('end', () => {
        received.push(JSON.parse(text));
        response.end();
      });
    });
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  });

  afterEach(() => {
    receiver.close();
  });

  test('the callback_url gets the run after its end, and not during a wait', async () => {
    const callback_url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`;
    const stories: StoryName[] = ['completes', 'fails', 'stops', 'waits_forever'];
    const runs = await Promise.all(stories.map((story) => start(story, { callback_url })));
    await waitFor(() => received.length === 3);
    const statuses = new Map(received.map(({ id, status }) => [id, status]));
    expect(runs.map(({ id }) => statuses.get(id))).toEqual([
      'completed',
      'failed',
      'stopped',
      undefined,
    ]);
    const waiting = runs[3] ?? { id: '' };
    await call('POST', `runs/${waiting.id}/stop`);
    await waitFor(() => received.some(({ id }) => id === waiting.id));
    expect(simulator.callbacks).toEqual({ sent: 4, failed: 0 });
  });
});

describe('simulator: started run', () => {
  test('a started run can be stopped once, and does not change after its end', async () => {
    const run = await start('never_finishes');
    const stopped = await call('POST', `runs/${run.id}/stop`);
    expect(stopped.body).toMatchObject({ id: run.id, status: 'stopped' });
    const again = await call('POST', `runs/${run.id}/stop`);
    expect(again.body.finished_at).toBe(stopped.body.finished_at);
    const ended = await start('completes');
    await reach(ended, 'completed');
    expect((await call('POST', `runs/${ended.id}/stop`)).body.status).toBe('completed');
  });

  test('a started run is found only in its own workflow', async () => {
    const run = await start('completes');
    const other = await call('GET', `workflows/${workflowOfStory('fails')}/runs/${run.id}`);
    expect(other).toEqual({ status: 404, body: { detail: 'Run not found' } });
  });

  test('GET /v1/runs/{id} contains neither output nor progress details', async () => {
    const { id } = await start('completes');
    const { body } = await call('GET', `runs/${id}`);
    expect(Object.keys(body)).not.toEqual(expect.arrayContaining(['output', 'progress_details']));
  });

  test('a started run returns its input and output, and those of its nodes', async () => {
    const run = await start('completes', { input: { a: 1 } });
    await reach(run, 'completed');
    const data = await call('GET', `runs/${run.id}/data?fetch_structured_data=true`);
    expect(data.body).toMatchObject({ input: { a: 1 }, nodes: { 'node-5': {} } });
    const io = await call('GET', `runs/${run.id}/io/node-1?it=0`);
    expect(io.body).toMatchObject({ node_id: 'node-1', outputs: expect.any(Object) });
    expect((await call('GET', `runs/${run.id}/io/none`)).status).toBe(404);
  });

  test('a started run is found by its id, input and output', async () => {
    const run = await start('completes', { input: { customer: 'Ærø Ltd' } });
    await start('completes', { input: { customer: 'another' } });
    for (const search of [{ query: run.id }, { query: 'ærø ltd', search_in: ['input'] }]) {
      const { body } = await call('POST', 'runs/search', search);
      expect(body.items.map(({ id }: { id: string }) => id)).toEqual([run.id]);
    }
    const none = await call('POST', 'runs/search', { query: 'ærø', search_in: ['run_id'] });
    expect(none.body).toEqual({ items: [], total: 0 });
  });
});

describe('simulator: deleting runs', () => {
  test('the simulator deletes an ended run, and refuses one in flight with the reason', async () => {
    const [ended, live] = await Promise.all([start('completes'), start('never_finishes')]);
    await reach(ended, 'completed');
    expect(await call('DELETE', `runs/${ended.id}`)).toEqual({
      status: 200,
      body: { matched: 1, succeeded: 1, failed: 0, errors: {} },
    });
    expect((await call('DELETE', `runs/${ended.id}`)).status).toBe(404);
    expect((await call('DELETE', `runs/${live.id}`)).body).toMatchObject({
      succeeded: 0,
      failed: 1,
      errors: { [live.id]: expect.stringContaining('in flight') },
    });
    expect((await call('GET', `runs/${live.id}`)).status).toBe(200);
  });

  test('bulk delete removes runs by ids, or by age and workflow, if the expected count matches', async () => {
    const [one, two] = await Promise.all([start('completes'), start('fails')]);
    await Promise.all([reach(one, 'completed'), reach(two, 'failed')]);
    const filters = { to_date: new Date(Date.now() + 60_000).toISOString() };
    const counted = await call('POST', 'runs/bulk/delete', { filters, dry_run: true });
    expect(counted.body).toMatchObject({ matched: 2, succeeded: 0 });
    const wrong = await call('POST', 'runs/bulk/delete', { filters, expected_count: 3 });
    expect(wrong.status).toBe(409);
    const of = { ...filters, workflow_id: one.workflow_id };
    const first = await call('POST', 'runs/bulk/delete', { filters: of, expected_count: 1 });
    expect(first.body).toMatchObject({ matched: 1, succeeded: 1 });
    const rest = await call('POST', 'runs/bulk/delete', { run_ids: [two.id, 'none'] });
    expect(rest.body).toEqual({
      matched: 1,
      succeeded: 1,
      failed: 1,
      errors: { none: 'Run not found' },
    });
    expect((await call('POST', 'runs/bulk/delete', {})).status).toBe(400);
  });
});

describe('simulator: requests of the SDK', () => {
  test('the simulator answers the first requests of the SDK: nodes, key and workflows', async () => {
    const { body: nodes } = await call('GET', 'nodes');
    expect(nodes).toContainEqual(expect.objectContaining({ type: 'InputNode', config: {} }));
    expect((await call('GET', 'admin/me')).body).toMatchObject({ tenant_admin: false });
    const { body } = await call('GET', 'workflows?page=1&size=100&type=flow');
    const names = body.items.map(({ name }: { name: string }) => name);
    const startable = STORY_NAMES.filter(
      (name) => name !== 'rejected' && name !== 'already_finished',
    );
    expect(names).toEqual(['anything', ...startable]);
    expect((await call('GET', 'workflows?type=agent_flow')).body).toMatchObject({ items: [] });
  });
});
