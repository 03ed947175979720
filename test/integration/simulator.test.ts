import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { story } from '../../src/simulator/stories.ts';
import { PRIVATE_CANARY } from '../../src/simulator/wire-run.ts';
import { waitFor } from '../support/wait-for.ts';

const T0 = Date.parse('2026-01-01T00:00:00.000Z');

let simulator: Simulator;
let clock: number;

beforeEach(async () => {
  clock = T0;
  simulator = await startSimulator({ now: () => clock, apiKey: 'the-key' });
});

afterEach(async () => {
  await simulator.close();
});

async function call(path: string, init: RequestInit = {}) {
  return fetch(`${simulator.url}${path}`, { headers: { 'x-api-key': 'the-key' }, ...init });
}

/** The JSON of an answer, untyped. */
async function json(path: string) {
  return JSON.parse(await (await call(path)).text());
}

async function status(path: string, init: RequestInit = {}): Promise<number> {
  const response = await call(path, init);
  await response.arrayBuffer();
  return response.status;
}

async function control(method: string, path: string, body?: unknown) {
  const response = await fetch(`${simulator.url}/_sim/${path}`, {
    method,
    ...(body !== undefined && {
      headers: { 'content-type': 'application/json' },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    }),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? null : JSON.parse(text) };
}

describe('simulator: reading a run', () => {
  test('the simulator answers with all of RunNoIO, and follows the script', async () => {
    simulator.add({ id: 'run-1', ...story('completes') });
    clock += 5_000;
    const run = await json('/v1/runs/run-1');
    expect(run).toMatchObject({
      id: 'run-1',
      status: 'running',
      progress: 50,
      created_at: '2026-01-01T00:00:00.000Z',
      started_at: '2026-01-01T00:00:01.000Z',
      finished_at: null,
    });
    for (const field of ['input', 'definitions', 'node_ids', 'meta']) {
      expect(JSON.stringify(run[field])).toContain(PRIVATE_CANARY);
    }
  });

  test('a simulated run is as large as its script says', async () => {
    simulator.add({ id: 'run-1', private_bytes: 500_000 });
    const text = await (await call('/v1/runs/run-1')).text();
    expect(text.length).toBeGreaterThan(500_000);
    expect(JSON.parse(text).id).toBe('run-1');
  });

  test('the simulator requires the API key', async () => {
    simulator.add({ id: 'run-1' });
    expect(await status('/v1/runs/run-1', { headers: {} })).toBe(401);
    expect(await status('/v1/runs/run-1', { headers: { 'x-api-key': 'another' } })).toBe(401);
    expect(await status('/v1/runs/run-1')).toBe(200);
  });

  test('the simulator answers 404 for an unknown run, 422 for an invalid id', async () => {
    simulator.add({ id: 'bad', ...story('rejected') });
    expect(await status('/v1/runs/nobody')).toBe(404);
    const rejected = await call('/v1/runs/bad');
    expect(rejected.status).toBe(422);
    expect(await rejected.json()).toMatchObject({
      detail: [{ loc: ['path', 'run_id'], type: 'uuid_parsing', input: 'bad' }],
    });
  });

  test('the simulator answers 404 for a deleted run', async () => {
    simulator.add({ id: 'by-script', deleted_after_ms: 1_000 });
    simulator.add({ id: 'by-api', steps: [{ after_ms: 0, status: 'completed' }] });
    simulator.add({ id: 'by-hand' });
    expect(await status('/v1/runs/by-api', { method: 'DELETE' })).toBe(200);
    expect(await status('/v1/runs/by-api', { method: 'DELETE' })).toBe(404);
    expect(simulator.delete('by-hand')).toBe(true);
    expect(simulator.delete('by-hand')).toBe(false);
    clock += 1_000;
    for (const id of ['by-script', 'by-api', 'by-hand']) {
      expect(await status(`/v1/runs/${id}`)).toBe(404);
    }
  });

  test('a simulated run takes a status set by hand', async () => {
    simulator.add({ id: 'run-1', ...story('never_finishes') });
    clock += 500;
    simulator.setStatus('run-1', 'failed', 12);
    clock += 60_000;
    expect(await json('/v1/runs/run-1')).toMatchObject({
      status: 'failed',
      progress: 12,
      finished_at: '2026-01-01T00:00:00.500Z',
    });
    expect(() => {
      simulator.setStatus('nobody', 'failed');
    }).toThrow('there is no run nobody');
  });

  test('the first read starts a simulated run that waits for it', async () => {
    simulator.add({ id: 'run-1', starts: 'when_read', ...story('completes') });
    clock += 3_600_000;
    expect(await json('/v1/runs')).toMatchObject({ items: [{ status: 'queued' }] });
    expect(await json('/v1/runs/run-1')).toMatchObject({ status: 'queued' });
    clock += 9_000;
    expect(await json('/v1/runs/run-1')).toMatchObject({ status: 'completed' });
  });

  test('each answer of the simulator has its own request id', async () => {
    const answers = await Promise.all([call('/v1/runs'), call('/v1/runs/none')]);
    const ids = answers.map(({ headers }) => headers.get('x-request-id'));
    expect(new Set(ids).size).toBe(2);
    expect(ids).not.toContain(null);
  });

  test('a simulated run with an age does not wait for its first read', async () => {
    simulator.add({ id: 'old', starts: 'when_read', ...story('already_finished') });
    expect(await json('/v1/runs/old')).toMatchObject({
      status: 'completed',
      finished_at: '2025-12-31T23:00:00.000Z',
    });
  });

  test('the simulator answers unknown paths and methods as Noxus does', async () => {
    expect(await status('/v1/runs/run-1', { method: 'PUT' })).toBe(405);
    expect(await status('/v1/runs', { method: 'DELETE' })).toBe(405);
    for (const path of [
      '/',
      '/v1/runs/',
      '/v1/runs/a/b',
      '/v2/runs/a',
      '/v1/workflows/w',
      '/v1/workflows/w/runs/r',
      '/v1/constructor',
    ]) {
      expect(await status(path)).toBe(404);
    }
  });
});

describe('simulator: listing runs', () => {
  test('the simulator lists readable runs in pages, newest first', async () => {
    for (const index of [3, 1, 5, 4, 2]) {
      simulator.add({ id: `run-${index}`, age_ms: 10_000 - index });
    }
    simulator.add({ id: 'deleted', deleted_after_ms: 0 });
    simulator.add({ id: 'bad', rejected: true });
    const page = await json('/v1/runs?page=2&size=2');
    expect(page).toMatchObject({ total: 5, page: 2, size: 2, pages: 3 });
    expect(page.items.map((run: { id: string }) => run.id)).toEqual(['run-3', 'run-2']);
    expect(JSON.stringify(page.items[0].definitions)).toContain(PRIVATE_CANARY);
  });

  test('the simulator lists the runs of one workflow', async () => {
    const workflow = randomUUID();
    simulator.add({ id: 'mine', workflow_id: workflow });
    simulator.add({ id: 'other' });
    const page = await json(`/v1/workflows/${workflow}/runs`);
    expect(page).toMatchObject({ total: 1, items: [{ id: 'mine' }] });
  });

  test.each(['size=0', 'size=101', 'page=0', 'size=x'])(
    'the simulator refuses a list with %s',
    async (query) => {
      const response = await call(`/v1/runs?${query}`);
      expect(response.status).toBe(422);
      expect(await response.json()).toMatchObject({
        detail: [{ loc: ['query', query.split('=')[0]] }],
      });
    },
  );
});

describe('simulator: faults', () => {
  beforeEach(() => {
    simulator.add({ id: 'run-1' });
  });

  test('a fault can be any status, with both forms of Retry-After', async () => {
    clock += 1;
    simulator.fault({ kind: 'status', status: 429, retry_after: 7, count: 1 });
    simulator.fault({
      kind: 'status',
      status: 503,
      retry_after: 7,
      retry_after_form: 'date',
      count: 1,
    });
    const seconds = await call('/v1/runs/run-1');
    expect([seconds.status, seconds.headers.get('retry-after')]).toEqual([429, '7']);
    const date = await call('/v1/runs/run-1');
    expect([date.status, date.headers.get('retry-after')]).toEqual([
      503,
      'Thu, 01 Jan 2026 00:00:08 GMT',
    ]);
    expect(await status('/v1/runs/run-1')).toBe(200);
  });

  test('a fault can be a reset connection', async () => {
    simulator.fault({ kind: 'reset', count: 1 });
    await expect(call('/v1/runs/run-1')).rejects.toThrow('fetch failed');
    expect(await status('/v1/runs/run-1')).toBe(200);
    expect(simulator.requests.statuses).toEqual({ 200: 1 });
  });

  test('a fault can be HTML, half of the JSON, or garbage with status 200', async () => {
    simulator.fault({ kind: 'html', count: 1 });
    simulator.fault({ kind: 'truncated', count: 1 });
    simulator.fault({ kind: 'garbage', count: 1 });
    for (const start of ['<!doctype html>', '{"id":"run-1"', '\u001f']) {
      const response = await call('/v1/runs/run-1');
      expect(response.status).toBe(200);
      const text = await response.text();
      expect(text.startsWith(start)).toBe(true);
      expect(() => JSON.parse(text)).toThrow(SyntaxError);
    }
  });

  test('a fault can be a run that was not requested', async () => {
    simulator.fault({ kind: 'other_run', count: 1 });
    const run = await json('/v1/runs/run-1');
    expect(run.status).toBe('queued');
    expect(run.id).not.toBe('run-1');
  });

  test('a fault can be an oversized body', async () => {
    simulator.fault({ kind: 'oversize', bytes: 3_000_000, count: 1 });
    const response = await call('/v1/runs/run-1');
    expect(response.headers.get('content-length')).toBeNull();
    expect((await response.text()).length).toBeGreaterThan(3_000_000);
  });

  test('a fault can be a late or slow answer', async () => {
    simulator.fault({ kind: 'stall', ms: 30, count: 1 });
    simulator.fault({ kind: 'drip', ms: 200, count: 1 });
    for (let index = 0; index < 2; index += 1) {
      expect(await json('/v1/runs/run-1')).toMatchObject({ id: 'run-1' });
    }
  });

  test('a fault of a script applies to its run only', async () => {
    simulator.add({ id: 'flaky', ...story('flaky') });
    const statuses: number[] = [];
    for (let index = 0; index < 6; index += 1) statuses.push(await status('/v1/runs/flaky'));
    expect(statuses).toEqual([500, 500, 500, 500, 500, 200]);
    expect(await status('/v1/runs/run-1')).toBe(200);
  });

  test('a fault applies to lists only if it is for all runs', async () => {
    simulator.fault({ kind: 'status', status: 500, run_id: 'run-1' });
    expect(await status('/v1/runs')).toBe(200);
    simulator.fault({ kind: 'status', status: 502 });
    expect(await status('/v1/runs')).toBe(502);
    simulator.clearFaults();
    expect(await status('/v1/runs/run-1')).toBe(200);
  });

  test('a fault can be limited to lists, or to reads of runs', async () => {
    simulator.fault({ kind: 'status', status: 403, on: 'list' });
    simulator.fault({ kind: 'status', status: 500, on: 'run' });
    expect(await status('/v1/runs')).toBe(403);
    expect(await status('/v1/runs/run-1')).toBe(500);
    expect(simulator.requests).toMatchObject({ total: 2, lists: 1 });
  });

  test('a fault can be valid JSON of another shape', async () => {
    simulator.fault({ kind: 'wrong_shape' });
    expect(Object.keys(await json('/v1/runs'))).toEqual(['data']);
  });

  test('a fault can claim a false status for each listed run', async () => {
    simulator.add({ id: 'run-2' });
    simulator.fault({ kind: 'claim', status: 'completed', progress: 100, on: 'list' });
    const { items } = await json('/v1/runs');
    const claim = { status: 'completed', progress: 100, finished_at: '2026-01-01T00:00:00.000Z' };
    expect(items).toMatchObject([
      { id: 'run-2', ...claim },
      { id: 'run-1', ...claim },
    ]);
    expect(await json('/v1/runs/run-1')).toMatchObject({ status: 'queued', finished_at: null });
  });

  test('a fault can be a replica that lags', async () => {
    simulator.add({ id: 'late', steps: [{ after_ms: 1_000, status: 'completed' }] });
    clock += 1_500;
    simulator.fault({ kind: 'lag', ms: 1_000, count: 2 });
    expect(await json('/v1/runs/late')).toMatchObject({ status: 'queued' });
    expect(await json('/v1/runs')).toMatchObject({ items: [{ status: 'queued' }, {}] });
    expect(await json('/v1/runs/late')).toMatchObject({ status: 'completed' });
  });

  test('a fault can add a large document to each listed run', async () => {
    simulator.add({ id: 'run-2' });
    simulator.fault({ kind: 'bulky', bytes: 100_000 });
    const { items } = await json('/v1/runs');
    expect(items.map((run: { id: string }) => run.id)).toEqual(['run-2', 'run-1']);
    for (const { workflow } of items) {
      expect(workflow.text.length).toBe(100_000 + PRIVATE_CANARY.length);
    }
  });

  test('a fault can shift a list while its pages are read', async () => {
    for (const id of ['run-2', 'run-3', 'run-4', 'run-5']) simulator.add({ id });
    const ids = async (page: number) => {
      const { items } = await json(`/v1/runs?size=2&page=${page}`);
      return items.map((run: { id: string }) => run.id);
    };
    simulator.fault({ kind: 'shift', by: 1, count: 2 });
    expect(await ids(1)).toEqual(['run-5', 'run-4']);
    expect(await ids(2)).toEqual(['run-4', 'run-3']);
    simulator.fault({ kind: 'shift', by: -1, count: 1 });
    expect(await ids(2)).toEqual(['run-2', 'run-1']);
  });
});

describe('simulator: request log', () => {
  test('the request log shows reads in flight, until the client disconnects', async () => {
    simulator.add({ id: 'run-1' });
    simulator.fault({ kind: 'stall', ms: 600_000 });
    const client = new AbortController();
    const reads = [1, 2].map(async () => call('/v1/runs/run-1', { signal: client.signal }));
    const ended = Promise.allSettled(reads);
    await waitFor(() => simulator.requests.run('run-1').inFlight === 2);
    client.abort();
    await ended;
    await waitFor(() => simulator.requests.run('run-1').inFlight === 0);
    expect(simulator.requests).toMatchObject({ maxInFlight: 2, maxInFlightPerRun: 2 });
  });

  test('the request log never shows two reads at once of a sequential client', async () => {
    simulator.add({ id: 'run-1' });
    for (let index = 0; index < 50; index += 1) await status('/v1/runs/run-1');
    expect(simulator.requests.run('run-1')).toMatchObject({ count: 50, maxInFlight: 1 });
  });

  test('the request log holds the times of requests', async () => {
    await status('/v1/runs/a');
    clock += 1_000;
    await status('/v1/runs');
    expect(simulator.requests.run('a').times).toEqual([T0]);
    expect(simulator.requests.requestsBetween(T0, T0 + 1_000)).toBe(1);
    expect(simulator.requests.total).toBe(2);
    expect(simulator.requests.statuses).toEqual({ 200: 1, 404: 1 });
  });
});

describe('simulator: control API', () => {
  test('the control API adds a script, a story and random runs', async () => {
    const script = await control('POST', 'runs', {
      id: 'mine',
      steps: [{ after_ms: 0, status: 'stopped' }],
    });
    expect(script).toMatchObject({ status: 201, body: { runs: [{ id: 'mine' }] } });
    const ready = await control('POST', 'runs', { story: 'rejected', id: 'bad' });
    expect(ready).toMatchObject({ status: 201, body: { runs: [{ id: 'bad' }] } });
    const random = await control('POST', 'runs', { random: { count: 3, seed: 1 } });
    expect(random.body.runs).toHaveLength(3);
    expect(await json('/v1/runs/mine')).toMatchObject({ status: 'stopped' });
    expect(await status('/v1/runs/bad')).toBe(422);
    expect(await status(`/v1/runs/${random.body.runs[2].id}`)).toBe(200);
  });

  test('the control API sets the status of a run', async () => {
    simulator.add({ id: 'run-1' });
    const answer = await control('POST', 'runs/run-1', { status: 'failed', progress: 3 });
    expect(answer).toEqual({ status: 200, body: { id: 'run-1', status: 'failed', progress: 3 } });
    expect(await json('/v1/runs/run-1')).toMatchObject({ status: 'failed' });
  });

  test('the control API sets and clears faults', async () => {
    simulator.add({ id: 'run-1' });
    expect(await control('POST', 'faults', { kind: 'status', status: 502 })).toMatchObject({
      status: 201,
      body: { active: 1 },
    });
    expect(await status('/v1/runs/run-1')).toBe(502);
    expect(await control('DELETE', 'faults')).toEqual({ status: 204, body: null });
    expect(await status('/v1/runs/run-1')).toBe(200);
  });

  test('the control API returns and resets the request log', async () => {
    simulator.add({ id: 'run-1' });
    await status('/v1/runs/run-1');
    await status('/v1/runs/nobody');
    const stats = await control('GET', `stats?run_id=run-1&from=${T0}`);
    expect(stats).toEqual({
      status: 200,
      body: {
        runs_in_all: 1,
        faults: 0,
        total: 2,
        statuses: { 200: 1, 404: 1 },
        streams: { opened: 0, open: 0, max_open: 0 },
        callbacks: { sent: 0, failed: 0 },
        lists: 0,
        stops: 0,
        in_flight: 0,
        max_in_flight: 1,
        max_in_flight_per_run: 1,
        between: 2,
        runs: { 'run-1': { count: 1, in_flight: 0, max_in_flight: 1, last_at: T0 } },
      },
    });
    expect(await control('DELETE', 'stats')).toEqual({ status: 204, body: null });
    expect((await control('GET', 'stats')).body.total).toBe(0);
  });

  test.each<{ path: string; why: string; body: unknown; expected: number; code: string }>([
    { path: 'runs', why: 'is not JSON', body: '{', expected: 400, code: 'malformed_json' },
    { path: 'runs', why: 'is no object', body: 7, expected: 422, code: 'invalid_input' },
    {
      path: 'runs',
      why: 'names no story',
      body: { story: '?' },
      expected: 422,
      code: 'invalid_input',
    },
    {
      path: 'runs',
      why: 'has an unknown key',
      body: { stepz: [] },
      expected: 422,
      code: 'invalid_input',
    },
    {
      path: 'runs',
      why: 'repeats an id',
      body: { id: 'taken' },
      expected: 409,
      code: 'run_exists',
    },
    {
      path: 'runs/nobody',
      why: 'has no run',
      body: { status: 'x' },
      expected: 404,
      code: 'run_not_found',
    },
    {
      path: 'faults',
      why: 'is of no kind',
      body: { kind: '?' },
      expected: 422,
      code: 'invalid_input',
    },
    {
      path: 'runs',
      why: 'is too large',
      body: ' '.repeat(1_048_577),
      expected: 413,
      code: 'body_too_large',
    },
    { path: 'nothing', why: 'goes nowhere', body: {}, expected: 404, code: 'not_found' },
    { path: 'runs/a/b', why: 'goes too deep', body: {}, expected: 404, code: 'not_found' },
  ])(
    'the control API refuses a POST to $path that $why',
    async ({ path, body, expected, code }) => {
      simulator.add({ id: 'taken' });
      const answer = await control('POST', path, body);
      expect(answer).toMatchObject({ status: expected, body: { status: expected, code } });
    },
  );

  test('the control API names the path of an invalid field', async () => {
    const { body } = await control('POST', 'runs', { steps: [{ after_ms: -1 }] });
    expect(body.errors).toEqual([{ path: 'steps.0.after_ms', message: expect.any(String) }]);
  });

  test('the control API refuses content types that web pages can send', async () => {
    const response = await fetch(`${simulator.url}/_sim/runs`, { method: 'POST', body: '{}' });
    expect(response.status).toBe(415);
  });
});

test('a closed simulator ends open connections and frees its port', async () => {
  const other = await startSimulator();
  other.add({ id: 'run-1' });
  other.fault({ kind: 'stall', ms: 600_000 });
  const read = fetch(`${other.url}/v1/runs/run-1`, { headers: { 'x-api-key': other.apiKey } });
  const ended = expect(read).rejects.toThrow('fetch failed');
  await waitFor(() => other.requests.inFlight === 1);
  await other.close();
  await ended;
  const next = await startSimulator({ port: Number(new URL(other.url).port) });
  expect(next.url).toBe(other.url);
  await next.close();
});

test('a simulator reports a port in use', async () => {
  const port = Number(new URL(simulator.url).port);
  await expect(startSimulator({ port })).rejects.toMatchObject({
    code: 'port_in_use',
    message: expect.stringContaining(`port ${port} on 127.0.0.1 is in use`),
  });
});

test('a simulator with a higher speed plays its scripts faster', async () => {
  const fast = await startSimulator({ speed: 1_000 });
  fast.add({ id: 'run-1', ...story('completes') });
  await waitFor(async () => {
    const response = await fetch(`${fast.url}/v1/runs/run-1`, {
      headers: { 'x-api-key': fast.apiKey },
    });
    return /"status":"completed"/.test(await response.text());
  });
  await fast.close();
});
