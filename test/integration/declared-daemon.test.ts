import { rm } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { RereadHeaders } from '../../src/config/header-files.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { PRIVATE_CANARY } from '../../src/simulator/wire-run.ts';
import { OpenaiResponses } from '../support/apis/openai-responses.ts';
import { tempDir } from '../support/daemon-process.ts';
import { dumpRedis } from '../support/dump-redis.ts';
import { startInside } from '../support/inside-daemon.ts';
import { testRedis } from '../support/redis.ts';
import { ScriptedApi } from '../support/scripted-api.ts';
import { waitFor } from '../support/wait-for.ts';

let receiver: Receiver;
let daemon: Awaited<ReturnType<typeof startInside>> | null = null;
let dataDir: string;
let closing: { close(): Promise<void> }[];

beforeEach(async () => {
  receiver = await startReceiver({ secrets: [] });
  dataDir = await tempDir();
  closing = [receiver];
});

afterEach(async () => {
  await daemon?.stop();
  daemon = null;
  for (const one of closing) await one.close();
  await rm(dataDir, { recursive: true });
});

async function start(source: Record<string, unknown>, rereadHeaders?: RereadHeaders) {
  const { url, prefix } = testRedis();
  daemon = await startInside(
    {
      data_dir: dataDir,
      redis: { url, prefix },
      sources: { ci: { type: 'http', rate_limit: { requests: 200, per: '1s' }, ...source } },
      polling: {
        min_interval: '50ms',
        max_interval: '250ms',
        gone_after: '300ms',
        unauthorized_probe: '250ms',
      },
      endpoints: { hooks: { type: 'webhook', url: receiver.url, events: ['run.*', 'source.*'] } },
    },
    rereadHeaders && { rereadHeaders },
  );
  return daemon;
}

async function call(method: string, path: string, body?: object): Promise<Response> {
  return fetch(`${daemon?.url}/v1/${path}`, {
    method,
    ...(body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
}

async function watch(runId: string): Promise<void> {
  expect((await call('POST', 'watches', { run_id: runId })).status).toBe(201);
}

async function watchOf(runId: string) {
  const response = await call('GET', `watches/${encodeURIComponent(runId)}`);
  return (await response.json()) as {
    state: string;
    polls: number;
    workflow_name: string | null;
    run: Record<string, unknown> | null;
  };
}

interface Told {
  type: string;
  timestamp: string;
  data: {
    run_id: string;
    run: Record<string, unknown> | null;
    workflow_name: string | null;
    run_url?: string;
  };
}

const told = () => receiver.received.map(({ body }) => JSON.parse(body) as Told);
const toldOf = (type: string) => told().filter((event) => event.type === type);

const OPENAI = {
  run: {
    get: '/v1/responses/{run}',
    id: '$.id',
    status: '$.status',
    workflow: '$.model',
    workflow_name: '$.object',
    created: '$.created_at',
    finished: '$.completed_at',
  },
  states: {
    queued: ['queued'],
    running: ['in_progress'],
    completed: ['completed'],
    failed: ['failed', 'incomplete'],
    stopped: ['cancelled'],
  },
  probe: '/v1/models',
};

test('a run of a declared API is polled to its end and notified, and nothing else of it is kept', async () => {
  const openai = await new OpenaiResponses().listen();
  closing.push(openai);
  const headers = { authorization: `Bearer ${openai.key}` };
  const { lines } = await start({ base_url: openai.url, headers, ...OPENAI });
  const id = openai.add();
  await watch(id);
  await waitFor(async () => (await watchOf(id)).run?.['status'] === 'queued');
  openai.setStatus(id, 'in_progress');
  await waitFor(() => toldOf('run.started').length === 1);
  openai.setStatus(id, 'completed');
  await waitFor(() => toldOf('run.completed').length === 1);
  const [end] = toldOf('run.completed');
  expect(end?.data).toMatchObject({
    run_id: id,
    workflow_name: 'response',
    run: { id, workflow_id: 'gpt-5.2', status: 'completed', source_status: 'completed' },
  });
  expect(end?.timestamp).toBe(end?.data.run?.['finished_at']);
  const { state, workflow_name, run } = await watchOf(id);
  expect([state, workflow_name, run]).toEqual(['finished', 'response', end?.data.run]);
  const { url, prefix } = testRedis();
  const stored = JSON.stringify(await dumpRedis(url, prefix));
  const kept = [stored, lines.join('\n'), JSON.stringify(told())].join('\n');
  expect(kept).toContain(id);
  for (const secret of [PRIVATE_CANARY, openai.key]) expect(kept).not.toContain(secret);
});

test('a run that the API has forgotten is gone by its word, and a proxy says nothing', async () => {
  const openai = await new OpenaiResponses().listen();
  closing.push(openai);
  await start({
    base_url: openai.url,
    headers: { authorization: `Bearer ${openai.key}` },
    ...OPENAI,
  });
  const id = openai.add();
  await watch(id);
  await waitFor(async () => (await watchOf(id)).run !== null);
  openai.instead = { status: 404, body: '<html>', headers: { 'content-type': 'text/html' } };
  const { polls } = await watchOf(id);
  await waitFor(async () => (await watchOf(id)).polls > polls + 2);
  expect((await watchOf(id)).state).toBe('active');
  openai.instead = null;
  openai.forget(id);
  await waitFor(async () => (await watchOf(id)).state === 'gone');
  await waitFor(() => toldOf('run.gone').length === 1);
});

test('a run with an id of parts is read by its parts, and its events have its address', async () => {
  const api = await new ScriptedApi().listen();
  closing.push(api);
  api.reply = ({ path }) =>
    path === '/base/acme/shop/actions/runs/12'
      ? { status: 200, body: { id: 12, status: 'done' } }
      : { status: 500 };
  await start({
    base_url: `${api.url}/base`,
    id: '{owner}/{repo}/{run}',
    run: { get: '/{owner}/{repo}/actions/runs/{run}', id: '$.id', status: '$.status' },
    states: { completed: ['done'] },
    run_url: 'https://ci.example/{owner}/{repo}/actions/runs/{run}',
  });
  const refused = await call('POST', 'watches', { run_id: 'acme/12' });
  expect(refused.status).toBe(422);
  expect(await refused.text()).toContain('expected owner/repo/run');
  await watch('acme/shop/12');
  await waitFor(() => toldOf('run.completed').length === 1);
  expect(toldOf('run.completed')[0]?.data).toMatchObject({
    run_id: 'acme/shop/12',
    run_url: 'https://ci.example/acme/shop/actions/runs/12',
  });
});

test('an unknown word raises run.status_unknown, and a word of ours is not taken for one', async () => {
  const api = await new ScriptedApi().listen();
  closing.push(api);
  const words = { a: 'completed', b: 'Doing' };
  api.reply = ({ path }) => {
    const id = path.slice(1) as keyof typeof words;
    return { status: 200, body: { id, status: words[id] } };
  };
  const run = { get: '/{run}', id: '$.id', status: '$.status' };
  await start({ base_url: api.url, run, states: { completed: ['done'] } });
  await watch('a');
  await watch('b');
  await waitFor(() => toldOf('run.status_unknown').length === 2);
  const statuses = toldOf('run.status_unknown').map(({ data }) => [
    data.run_id,
    data.run?.['status'],
  ]);
  expect(Object.fromEntries(statuses)).toEqual({ a: 'unmapped_completed', b: 'Doing' });
  expect((await watchOf('a')).state).toBe('active');
});

test('a wait that only a second read shows is notified, within the tightest limit and after an outage', async () => {
  const api = await new ScriptedApi().listen();
  closing.push(api);
  let isWaiting = true;
  let isDown = false;
  api.reply = ({ path }) => {
    if (isDown) return { status: 500 };
    if (path.startsWith('/state/')) {
      return { status: 200, body: { run: 'a', next: isWaiting ? ['node'] : [] } };
    }
    const id = path.slice(1);
    return { status: 200, body: { id, status: 'success', ended: '2025-12-31T23:00:00Z' } };
  };
  await start({
    base_url: api.url,
    run: { get: '/{run}', id: '$.id', status: '$.status', finished: '$.ended' },
    states: { completed: ['success'] },
    also: {
      when: ['completed'],
      get: '/state/{run}',
      id: '$.run',
      status: '$.next[0]',
      states: { awaiting_human_feedback: ['*'] },
    },
    rate_limit: { requests: 2, per: '500ms' },
  });
  await watch('a');
  await waitFor(() => toldOf('run.awaiting_human_feedback').length === 1);
  isDown = true;
  const before = api.requests.length;
  await waitFor(() => api.requests.length > before + 6);
  isDown = false;
  isWaiting = false;
  await waitFor(() => toldOf('run.completed').length === 1);
  const [end] = toldOf('run.completed');
  // The API says when the run was interrupted.
  expect(end?.data.run).toMatchObject({ status: 'completed', finished_at: null });
});

test('headers that come from a file are read again once they are refused', async () => {
  const api = await new ScriptedApi().listen();
  closing.push(api);
  let token = 'first';
  api.reply = ({ path, headers }) =>
    headers.authorization === `Bearer ${token}`
      ? { status: 200, body: { id: path.slice(1), status: 'busy' } }
      : { status: 401, body: {} };
  let kept = 'first';
  await start(
    {
      base_url: api.url,
      headers: { authorization: 'Bearer first' },
      run: { get: '/{run}', id: '$.id', status: '$.status' },
      states: { running: ['busy'] },
    },
    () => ({ headers: { authorization: `Bearer ${kept}` } }),
  );
  await watch('a');
  await waitFor(async () => (await watchOf('a')).run !== null);
  kept = 'second';
  token = 'second';
  const { polls } = await watchOf('a');
  await waitFor(async () => (await watchOf('a')).polls > polls + 3);
  await waitFor(() => api.requests.at(-1)?.headers.authorization === 'Bearer second');
  expect(toldOf('source.unauthorized')).toEqual([]);
});
