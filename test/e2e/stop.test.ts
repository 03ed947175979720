import { randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { FaultInput } from '../../src/simulator/fault.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { PRIVATE_CANARY } from '../../src/simulator/wire-run.ts';
import { callAs } from '../support/call-as.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { waitFor } from '../support/wait-for.ts';

const ALL = 'token-with-all-scopes';
const WRITER = 'token-that-may-write';
const ADMIN = 'token-that-may-only-admin';

let noxus: Simulator;
let second: Simulator;
let hostile: Server;
let daemon: DaemonProcess;

beforeAll(async () => {
  noxus = await startSimulator();
  second = await startSimulator({ apiKey: 'key-of-the-second-source' });
  hostile = await startHostile();
  daemon = await startDaemonProcess({ config: config() });
});

afterAll(async () => {
  await stopAll([daemon]);
  hostile?.close();
  hostile?.closeAllConnections();
  await Promise.all([noxus?.close(), second?.close()]);
});

afterEach(async () => {
  noxus.clearFaults();
  noxus.useApiKey(KEY);
  await post(ALL, '/v1/sources/main/resume');
});

const KEY = 'key-of-the-main-source';

function config() {
  noxus.useApiKey(KEY);
  const main = { base_url: noxus.url, api_key: KEY, timeout: '4s' };
  const { port } = hostile.address() as AddressInfo;
  return {
    sources: {
      main: { ...main, rate_limit: { requests: 200, per: '1s' } },
      second: { base_url: second.url, api_key: second.apiKey },
      quiet: main,
      busy: { ...main, rate_limit: { requests: 2, per: '1s' } },
      tight: { ...main, rate_limit: { requests: 1, per: '1h' } },
      hostile: { base_url: `http://127.0.0.1:${port}`, api_key: KEY },
    },
    auth: {
      tokens: [
        { name: 'all', token: ALL },
        { name: 'writer', token: WRITER, scopes: ['read', 'write'] },
        { name: 'admin', token: ADMIN, scopes: ['admin'] },
      ],
    },
    polling: { min_interval: '50ms', max_interval: '500ms', lists: 'off', hints: 'off' },
    endpoints: { audit: { type: 'log' } },
  };
}

/** A source whose runs go on, and that repeats the key and hides text where it refuses to stop one. */
async function startHostile(): Promise<Server> {
  const server = createServer((request, response) => {
    response.setHeader('content-type', 'application/json');
    if (request.method === 'POST') {
      const detail = `no\u202e\u0007, ${String(request.headers['x-api-key'])}\n${'x'.repeat(1_000)}`;
      response.writeHead(400).end(JSON.stringify({ detail }));
      return;
    }
    const id = request.url?.split('/').at(-1);
    response.end(JSON.stringify({ id, status: 'running' }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

async function post(token: string, path: string, key?: string, of = daemon) {
  const response = await fetch(`${of.url}${path}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      ...(key !== undefined && { 'idempotency-key': key }),
    },
  });
  const text = await response.text();
  const retryAfter = Number(response.headers.get('retry-after') ?? NaN);
  return { status: response.status, text, body: JSON.parse(text), retryAfter };
}

const stop = (id: string, { token = ALL, source = 'main', key = randomUUID() } = {}) =>
  post(token, `/v1/watches/${id}/stop?source=${source}`, key);

/** A run that goes on, watched in a source, once a poll has seen it. */
async function goingOn(source = 'main', of = noxus): Promise<string> {
  const { id } = of.add({ steps: [{ after_ms: 0, status: 'running', progress: 10 }] });
  await watch(id, source);
  return id;
}

async function watch(id: string, source: string): Promise<void> {
  const { status } = await callAs(daemon, ALL, 'POST', '/v1/watches', { run_id: id, source });
  expect(status).toBe(201);
  await waitFor(async () => (await statusOf(id, source)) === 'running');
}

async function statusOf(id: string, source = 'main'): Promise<string | undefined> {
  const { body } = await callAs(daemon, ALL, 'GET', `/v1/watches/${id}?source=${source}`);
  return body.run?.status;
}

async function stateOf(source: string): Promise<string> {
  const { body } = await callAs(daemon, ALL, 'GET', '/v1/sources');
  return body.data.find(({ name }: { name: string }) => name === source).state;
}

async function usedOf(source: string): Promise<number> {
  const { body } = await callAs(daemon, ALL, 'GET', '/v1/sources');
  return body.data.find(({ name }: { name: string }) => name === source).rate_limit.used;
}

const OUTCOMES: readonly [name: string, FaultInput | null, status: number, code: string | null][] =
  [
    ['that stops it', null, 202, null],
    ['that takes its time', { kind: 'drip', ms: 300 }, 202, null],
    ['in another form', { kind: 'wrong_shape' }, 202, null],
    ['that the key may not', { kind: 'status', status: 403 }, 502, 'source_refused'],
    ['that knows no such run', { kind: 'status', status: 404 }, 502, 'source_refused'],
    ['that it has failed', { kind: 'status', status: 500 }, 502, 'source_refused'],
    ['of a conflict', { kind: 'status', status: 409 }, 409, 'run_ended'],
    ['with a run that has ended', { kind: 'claim', status: 'completed' }, 409, 'run_ended'],
    ['of a gateway', { kind: 'status', status: 504, is_html: true }, 504, 'stop_unknown'],
    ['that does not come in time', { kind: 'stall', ms: 60_000 }, 504, 'stop_unknown'],
    ['that breaks off', { kind: 'reset' }, 504, 'stop_unknown'],
    ['with a page of a proxy', { kind: 'html' }, 504, 'stop_unknown'],
    ['with half a body', { kind: 'truncated' }, 504, 'stop_unknown'],
    ['with bytes that are no text', { kind: 'garbage' }, 504, 'stop_unknown'],
    ['about another run', { kind: 'other_run' }, 504, 'stop_unknown'],
  ];

describe('stop of a run', () => {
  test.each(OUTCOMES)(
    'stop with an answer %s sends one request, and a repeat gets the same answer',
    async (_name, fault, status, code) => {
      const id = await goingOn();
      const before = noxus.requests.stops;
      if (fault !== null) noxus.fault({ ...fault, on: 'stop' });
      const key = randomUUID();
      const answer = await stop(id, { key });
      expect(answer).toMatchObject({ status, body: code === null ? {} : { code } });
      const { polls } = (await callAs(daemon, ALL, 'GET', `/v1/watches/${id}`)).body;
      await waitFor(async () => {
        const { body } = await callAs(daemon, ALL, 'GET', `/v1/watches/${id}`);
        return body.state === 'finished' || body.polls > polls;
      });
      expect(await stop(id, { key })).toMatchObject({ status, text: answer.text });
      expect(noxus.requests.stops).toBe(before + 1);
      expect(await stateOf('main')).toBe('answering');
    },
  );

  test('stop that the source takes ends in run.stopped, and a second one is 409 without a request', async () => {
    const id = await goingOn();
    expect((await stop(id)).body).toEqual({ status: 'stopped', polled: true });
    await waitFor(async () => (await statusOf(id)) === 'stopped');
    const { body } = await callAs(daemon, ALL, 'GET', `/v1/events?run_id=${id}`);
    expect(body.data.map(({ type }: { type: string }) => type)).toContain('run.stopped');

    const before = noxus.requests.stops;
    expect(await stop(id)).toMatchObject({ status: 409, body: { code: 'run_ended' } });
    expect(noxus.requests.stops).toBe(before);
  });

  test('stop that a key is refused for pauses its source, and the next one is 503 without a request', async () => {
    const id = await goingOn();
    noxus.fault({ kind: 'status', status: 401, run_id: id, on: 'stop' });
    expect(await stop(id)).toMatchObject({ status: 502, body: { code: 'source_refused' } });
    const { stops } = noxus.requests;
    // A poll that was claimed before may have answered since, which ends a pause.
    noxus.useApiKey('another');
    await waitFor(async () => (await stateOf('main')) === 'unauthorized');
    const paused = await stop(id);
    expect(paused).toMatchObject({ status: 503, body: { code: 'source_paused' } });
    expect(paused.retryAfter).toBeGreaterThan(0);
    expect(noxus.requests.stops).toBe(stops);
  });

  test('stop that a source throttles pauses it; what was not sent may come again by the same key', async () => {
    const id = await goingOn('quiet');
    const pause = { kind: 'status', status: 429, retry_after: 300, run_id: id } as const;
    noxus.fault({ ...pause, on: 'stop' });
    const throttled = await stop(id, { source: 'quiet' });
    expect(throttled).toMatchObject({ status: 502, body: { code: 'source_refused' } });
    const { stops } = noxus.requests;
    // A poll that was claimed before may have answered since, which ends a pause.
    noxus.fault({ ...pause, on: 'run' });
    await waitFor(async () => (await stateOf('quiet')) === 'paused');
    const key = randomUUID();
    const paused = await stop(id, { source: 'quiet', key });
    expect(paused).toMatchObject({ status: 503, body: { code: 'source_paused' } });
    expect(paused.retryAfter).toBeGreaterThan(200);
    expect(noxus.requests.stops).toBe(stops);

    noxus.clearFaults();
    await post(ALL, '/v1/sources/quiet/resume');
    expect(await stop(id, { source: 'quiet', key })).toMatchObject({ status: 202 });
    expect(noxus.requests.stops).toBe(stops + 1);
  });

  test('stop needs the scope admin, and shows no status to a token that may not read', async () => {
    const id = await goingOn();
    const before = noxus.requests.stops;
    const refused = await stop(id, { token: WRITER });
    expect(refused).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    expect(noxus.requests.stops).toBe(before);
    const asked = await stop(id, { token: ADMIN });
    expect(asked).toMatchObject({ status: 202, body: { status: null, polled: true } });
  });

  test('stop of a run that two sources have goes to the one that is named', async () => {
    const id = await goingOn();
    second.add({ id, steps: [{ after_ms: 0, status: 'running', progress: 10 }] });
    await watch(id, 'second');
    const before = noxus.requests.stops;
    expect(await post(ALL, `/v1/watches/${id}/stop`)).toMatchObject({
      status: 409,
      body: { code: 'several_sources' },
    });
    expect(await stop(id, { source: 'second' })).toMatchObject({ status: 202 });
    await waitFor(async () => (await statusOf(id, 'second')) === 'stopped');
    expect(await statusOf(id)).toBe('running');
    expect([noxus.requests.stops, second.requests.stops]).toEqual([before, 1]);
  });

  test('stop goes before polls that use the rate limit up', async () => {
    const ids = Array.from({ length: 20 }, () => {
      return noxus.add({ steps: [{ after_ms: 0, status: 'running', progress: 10 }] }).id;
    });
    const watches = ids.map((run_id) => ({ run_id, source: 'busy' }));
    await callAs(daemon, ALL, 'POST', '/v1/watches/batch', { watches });
    for (const id of ids.slice(0, 2)) {
      expect(await stop(id, { source: 'busy' })).toMatchObject({ status: 202 });
    }
  });

  test('stop without a permit is 429 with Retry-After, and sends no request', async () => {
    const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'running', progress: 10 }] });
    // The request that finds out whether the source answers, or the first read, has the only permit.
    await callAs(daemon, ALL, 'POST', '/v1/watches', { run_id: id, source: 'tight' });
    await waitFor(async () => (await usedOf('tight')) === 1);
    const before = noxus.requests.stops;
    const answer = await stop(id, { source: 'tight' });
    expect(answer).toMatchObject({ status: 429, body: { code: 'too_many_requests' } });
    expect(answer.retryAfter).toBeGreaterThan(0);
    expect(noxus.requests.stops).toBe(before);
  });

  test('stop passes on the words of a source on one line, without its key and hidden characters', async () => {
    const id = randomUUID();
    await watch(id, 'hostile');
    const { status, body } = await stop(id, { source: 'hostile' });
    expect({ status, code: body.code }).toEqual({ status: 502, code: 'source_refused' });
    expect(body.detail).toMatch(/status 400, in its words: no ?, \[redacted\] x+…$/);
    expect(body.detail.length).toBeLessThan(400);
    expect(body.detail).not.toContain(KEY);
  });

  test('stop leaves a line in the log with token, run and outcome, without what the source said', async () => {
    const id = await goingOn();
    noxus.fault({ kind: 'status', status: 403, on: 'stop', count: 1 });
    expect((await stop(id)).body.detail).toContain(PRIVATE_CANARY);
    const line = await waitFor(() =>
      daemon.log().find(({ msg, run_id }) => msg === 'run.stop' && run_id === id),
    );
    expect(line).toMatchObject({ source: 'main', token: 'all', outcome: 'refused', status: 403 });
    expect(JSON.stringify(daemon.log())).not.toContain(PRIVATE_CANARY);
  });
});

test('a daemon that is killed after it asked for a stop asks once, and finds the end by polling', async () => {
  const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'running', progress: 10 }] });
  const source = { base_url: noxus.url, api_key: KEY, timeout: '30s' };
  const options = {
    config: {
      sources: { main: source },
      auth: { tokens: [{ name: 'all', token: ALL }] },
      polling: { max_interval: '1s', lists: 'off', hints: 'off' },
    },
  };
  const killed = await startDaemonProcess(options);
  let restarted: DaemonProcess | null = null;
  try {
    await callAs(killed, ALL, 'POST', '/v1/watches', { run_id: id });
    noxus.fault({ kind: 'stall', ms: 60_000, on: 'stop' });
    const before = noxus.requests.stops;
    const key = randomUUID();
    const path = `/v1/watches/${id}/stop`;
    const lost = post(ALL, path, key, killed).catch(() => 'lost');
    await waitFor(() => noxus.requests.stops === before + 1);
    await killed.stop('SIGKILL');
    expect(await lost).toBe('lost');
    noxus.setStatus(id, 'stopped');

    restarted = await startDaemonProcess({ ...options, dataDir: killed.dataDir });
    expect(await post(ALL, path, key, restarted)).toMatchObject({
      status: 504,
      body: { code: 'stop_unknown' },
    });
    const after = restarted;
    await waitFor(async () => {
      const { body } = await callAs(after, ALL, 'GET', `/v1/watches/${id}`);
      return body.run?.status === 'stopped';
    });
    expect(noxus.requests.stops).toBe(before + 1);
  } finally {
    await stopAll([restarted ?? killed]);
  }
});
