import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { LangGraph } from '../support/apis/langgraph.ts';
import { NOON } from '../support/builders.ts';

let graph: LangGraph;
let id: string;

beforeEach(async () => {
  graph = await new LangGraph({ now: () => NOON }).listen();
  id = graph.add();
});

afterEach(() => graph.close());

async function get(path: string, key = graph.key) {
  const response = await fetch(`${graph.url}${path}`, { headers: { 'x-api-key': key } });
  return { status: response.status, body: JSON.parse(await response.text()) };
}

const idsOf = (run: string) => run.split('/') as [thread: string, run: string];
const threadOf = (run: string) => idsOf(run)[0];
const runPath = (run: string) => `/threads/${run.replace('/', '/runs/')}`;
const readRun = async (run = id) => (await get(runPath(run))).body;
const readState = async (run = id) => (await get(`/threads/${threadOf(run)}/state`)).body;

describe('fake LangGraph: runs', () => {
  test('a run of the fake LangGraph has the documented fields', async () => {
    const [thread_id, run_id] = idsOf(id);
    expect(await readRun()).toMatchObject({
      run_id,
      thread_id,
      assistant_id: expect.any(String),
      created_at: '2026-01-01T00:00:00.000000+00:00',
      updated_at: '2026-01-01T00:00:00.000000+00:00',
      status: 'pending',
      multitask_strategy: 'enqueue',
    });
    graph.start(id);
    expect(await readRun()).toMatchObject({ status: 'running' });
  });

  test.each(['success', 'error', 'timeout', 'interrupted'] as const)(
    'a run of the fake LangGraph ends with %s',
    async (status) => {
      graph.start(id);
      graph.finish(id, { status });
      expect(await readRun()).toMatchObject({ status });
    },
  );
});

describe('fake LangGraph: states of threads', () => {
  test('a thread of the fake LangGraph on which nothing ran has an empty state', async () => {
    expect(await readState()).toMatchObject({ next: [], tasks: [], interrupts: [], metadata: {} });
  });

  test('a run of the fake LangGraph that succeeded has nothing left in the state of its thread', async () => {
    graph.start(id);
    expect(await readState()).toMatchObject({ next: ['agent'], tasks: [{ interrupts: [] }] });
    graph.finish(id, { status: 'success' });
    const [, run_id] = idsOf(id);
    expect(await readState()).toMatchObject({
      next: [],
      tasks: [],
      interrupts: [],
      metadata: { run_id, source: 'loop' },
      checkpoint: { thread_id: threadOf(id), checkpoint_ns: '' },
    });
  });

  test('a run of the fake LangGraph with an interrupt is a success, and its thread waits', async () => {
    graph.start(id);
    graph.finish(id, { status: 'success', interruptIn: 'approval' });
    expect(await readRun()).toMatchObject({ status: 'success' });
    const [, run_id] = idsOf(id);
    const interrupt = { id: expect.stringMatching(/^[\da-f]{32}$/), value: expect.any(Object) };
    expect(await readState()).toMatchObject({
      next: ['approval'],
      tasks: [{ name: 'approval', error: null, interrupts: [interrupt] }],
      metadata: { run_id },
    });
  });

  test('a run of the fake LangGraph that stops before a node has a next node and no interrupt', async () => {
    graph.start(id);
    graph.finish(id, { status: 'success', pauseBefore: 'approval' });
    expect(await readState()).toMatchObject({ next: ['approval'], tasks: [{ interrupts: [] }] });
  });

  test('the state of a thread of the fake LangGraph belongs to the run that resumed it', async () => {
    graph.start(id);
    graph.finish(id, { status: 'success', interruptIn: 'approval' });
    const next = graph.resume(id);
    const [thread, run_id] = idsOf(next);
    expect(thread).toBe(threadOf(id));
    expect(await readRun()).toMatchObject({ status: 'success' });
    expect(await readRun(next)).toMatchObject({ status: 'running' });
    expect(await readState()).toMatchObject({ metadata: { run_id }, tasks: [{ interrupts: [] }] });
  });
});

describe('fake LangGraph: refusals', () => {
  test('the fake LangGraph answers 404 as JSON for a run and a thread that it lacks', async () => {
    graph.deleteThread(threadOf(id));
    expect(await get(runPath(id))).toMatchObject({
      status: 404,
      body: { detail: `Run with ID ${idsOf(id)[1]} not found` },
    });
    const thread = randomUUID();
    expect(await get(`/threads/${thread}/state`)).toMatchObject({
      status: 404,
      body: { detail: `Thread with ID ${thread} not found` },
    });
  });

  test('the fake LangGraph answers 422 to an id that is no UUID', async () => {
    const { status, body } = await get('/threads/t-1/state');
    expect({ status, ...body }).toEqual({
      status: 422,
      detail: 'Invalid thread ID: must be a UUID',
    });
  });

  test('the fake LangGraph answers 403 to a wrong key, and says that it is well without one', async () => {
    expect(await get(runPath(id), 'wrong')).toMatchObject({ status: 403 });
    expect(await get('/ok', 'wrong')).toEqual({ status: 200, body: { ok: true } });
  });
});
