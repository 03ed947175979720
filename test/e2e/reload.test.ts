import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import {
  startDaemonProcess,
  stopAll,
  tempDir,
  type DaemonOptions,
  type DaemonProcess,
} from '../support/daemon-process.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const [OLD_TOKEN, NEW_TOKEN] = ['the-token-of-yesterday', 'the-token-of-today'] as const;

let noxus: Simulator;
let receiver: Receiver;
let folder: string;
/** Of the test that runs. */
const daemons: DaemonProcess[] = [];
/** Of the tests that change its configuration alone, with a Noxus and secrets that stay. */
let shared: DaemonProcess;
let calm: Simulator;
let calmFolder: string;

beforeAll(async () => {
  receiver = await startReceiver({ secrets: [SECRET] });
  calm = await startSimulator();
  calmFolder = await tempDir();
  shared = await launch(calmFolder, calm.apiKey, { config: configOf({}, calm) });
});

beforeEach(async () => {
  noxus = await startSimulator();
  folder = await tempDir();
});

afterEach(async () => {
  await stopAll(daemons.splice(0));
  await noxus.close();
  await rm(folder, { recursive: true, force: true });
});

afterAll(async () => {
  await stopAll([shared]);
  await Promise.all([receiver.close(), calm.close()]);
  await rm(calmFolder, { recursive: true, force: true });
});

const hooks = () => ({ type: 'webhook', url: receiver.url, secret: SECRET });

function configOf(changes: Record<string, unknown> = {}, of = noxus): Record<string, unknown> {
  return {
    sources: {
      default: {
        base_url: of.url,
        api_key: '${NOXUS_API_KEY}',
        rate_limit: { requests: 1_000, per: '1s' },
      },
    },
    auth: { tokens: [{ name: 'ops', token: '${OPS_TOKEN}' }] },
    polling: { min_interval: '50ms', max_interval: '100ms', unauthorized_probe: '5m' },
    endpoints: { hooks: hooks() },
    ...changes,
  };
}

/** Starts a daemon with its secrets in files. */
async function launch(dir: string, apiKey: string, options: DaemonOptions) {
  const [key, token] = [join(dir, 'key'), join(dir, 'token')];
  await writeFile(key, apiKey);
  await writeFile(token, OLD_TOKEN);
  const env = { NOXUS_API_KEY_FILE: key, OPS_TOKEN_FILE: token };
  return startDaemonProcess({ ...options, env });
}

async function start({
  apiKey = noxus.apiKey,
  ...options
}: DaemonOptions & { apiKey?: string } = {}) {
  const daemon = await launch(folder, apiKey, { config: configOf(), ...options });
  daemons.push(daemon);
  return daemon;
}

/** The shared daemon, with the usual configuration. */
async function withUsual(): Promise<DaemonProcess> {
  await shared.configure(configOf({}, calm));
  await hangUp(shared, READ_AGAIN);
  return shared;
}

const keep = (name: string, secret: string) => writeFile(join(folder, name), secret);

async function call(daemon: DaemonProcess, token: string, path: string, body?: unknown) {
  const response = await fetch(`${daemon.url}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return { status: response.status, text: await response.text() };
}

const linesOf = (daemon: DaemonProcess, msg: RegExp) =>
  daemon.log().filter((line) => msg.test(line.msg));

/** Sends SIGHUP and waits for the daemon's word on it. */
async function hangUp(daemon: DaemonProcess, word: RegExp) {
  const before = linesOf(daemon, word).length;
  daemon.signal('SIGHUP');
  const lines = await waitFor(() => {
    const found = linesOf(daemon, word);
    return found.length > before && found;
  });
  return lines.at(-1);
}

const READ_AGAIN = /^configuration read again/;
const REFUSED = /^the configuration is wrong/;

test('an API key and a token are rotated by SIGHUP, and no event is lost', async () => {
  const daemon = await start();
  const runs = Array.from({ length: 20 }, () => {
    return noxus.add({ steps: [{ after_ms: 0, status: 'running' }] }).id;
  });
  const watches = runs.map((run_id) => ({ run_id }));
  const registered = await call(daemon, OLD_TOKEN, '/v1/watches/batch', { watches });
  expect(registered.status).toBe(200);
  const stream = await fetch(`${daemon.url}/v1/events/stream`, {
    headers: { authorization: `Bearer ${OLD_TOKEN}` },
  });

  noxus.useApiKey('the-key-of-today');
  await waitFor(() => linesOf(daemon, /^source.unauthorized/).length > 0);
  await keep('key', 'the-key-of-today');
  await keep('token', NEW_TOKEN);
  for (const id of runs) noxus.setStatus(id, 'completed', 100);
  const line = await hangUp(daemon, READ_AGAIN);
  expect(line?.['changed']).toEqual(['auth.tokens', 'sources.default.api_key']);

  // The stream of the token that was taken back ends.
  await stream.text();
  expect((await call(daemon, OLD_TOKEN, '/v1/watches')).status).toBe(401);
  expect((await call(daemon, NEW_TOKEN, '/v1/watches')).status).toBe(200);
  // Without the reload the source would be probed in five minutes.
  const isTold = (id: string) =>
    receiver.received.some(({ body }) => body.includes(id) && body.includes('run.completed'));
  await waitFor(() => runs.every(isTold));
});

test('daemons that are configured differently say in which sections, until a reload makes them agree', async () => {
  const rules = [{ name: 'failures', events: ['run.failed'], notify: ['hooks'] }];
  const first = await start();
  const second = await start({ dataDir: first.dataDir, config: configOf({ rules }) });
  const readiness = async (daemon: DaemonProcess) => {
    return (await fetch(`${daemon.url}/readyz`)).text();
  };
  const differ = 'degraded configuration: daemons differ in rules (';
  for (const daemon of [first, second]) {
    await waitFor(async () => (await readiness(daemon)).includes(differ));
  }

  await first.configure(configOf({ rules }));
  await hangUp(first, READ_AGAIN);
  for (const daemon of [first, second]) {
    await waitFor(async () => !(await readiness(daemon)).includes('daemons differ'));
  }
});

/** Noxus behind a gateway that keeps requests for event streams until the test answers them. */
async function startGateway() {
  const streams: ServerResponse[] = [];
  const server = createServer(({ url = '', headers }, response) => {
    if (url.includes('/events')) return void streams.push(response);
    const apiKey = String(headers['x-api-key']);
    void fetch(noxus.url + url, { headers: { 'x-api-key': apiKey } })
      .then(async (answer) => {
        response.writeHead(answer.status, { 'content-type': 'application/json' });
        response.end(await answer.text());
      })
      .catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    streams,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

test('a pause that a stream of the old key is asked for does not hold the new key', async () => {
  const gateway = await startGateway();
  const source = { base_url: gateway.url, api_key: '${NOXUS_API_KEY}', timeout: '60s' };
  const daemon = await start({
    config: configOf({ sources: { default: source }, polling: {}, log: { level: 'debug' } }),
  });
  for (let at = 0; at < 5; at += 1) {
    const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'running', progress: 40 }] });
    await call(daemon, OLD_TOKEN, '/v1/watches', { run_id: id });
  }
  await waitFor(() => gateway.streams.length > 0);
  noxus.useApiKey('the-key-of-today');
  await keep('key', 'the-key-of-today');
  await hangUp(daemon, READ_AGAIN);

  const old = gateway.streams.splice(0);
  for (const response of old) response.writeHead(429, { 'retry-after': '600' }).end();
  const throttled = () =>
    linesOf(daemon, /^stream.ended/).filter(({ end }) => end === 'throttled').length;
  await waitFor(() => throttled() > 0);
  const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'failed' }] });
  await call(daemon, OLD_TOKEN, '/v1/watches', { run_id: id });
  await waitFor(() => receiver.received.some(({ body }) => body.includes(id)));
  expect(linesOf(daemon, /^source.paused/)).toEqual([]);
  gateway.close();
});

test('a start with another key or URL tries the source at once, whatever was met before', async () => {
  const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'completed' }] });
  const wrongKey = await start({ apiKey: 'a-wrong-key' });
  const { dataDir } = wrongKey;
  await call(wrongKey, OLD_TOKEN, '/v1/watches', { run_id: id });
  await waitFor(() => linesOf(wrongKey, /^source.unauthorized/).length > 0);
  await wrongKey.stop();

  const elsewhere = await startSimulator({ apiKey: 'the-key-of-another' });
  const sources = { default: { base_url: elsewhere.url, api_key: '${NOXUS_API_KEY}' } };
  const wrongUrl = await start({ dataDir, config: configOf({ sources }) });
  await waitFor(async () => {
    const { text } = await call(wrongUrl, OLD_TOKEN, '/v1/sources');
    return elsewhere.requests.total > 0 && text.includes('unauthorized');
  });
  await wrongUrl.stop();
  await elsewhere.close();

  // Without that the source would be probed in five minutes.
  await start({ dataDir });
  await waitFor(() => receiver.received.some(({ body }) => body.includes(id)));
});

test('a new key that comes with a new URL is not sent to the old one', async () => {
  const daemon = await start();
  const elsewhere = { base_url: 'http://127.0.0.1:9', api_key: 'the-key-of-another' };
  await daemon.configure(configOf({ sources: { default: elsewhere } }));
  await hangUp(daemon, READ_AGAIN);
  const restart = await waitFor(() => linesOf(daemon, /need a restart$/)[0]);
  expect(restart['settings']).toContain('sources.default.base_url');
  const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'failed' }] });
  await call(daemon, OLD_TOKEN, '/v1/watches', { run_id: id });
  await waitFor(() => receiver.received.some(({ body }) => body.includes(id)));
  expect(linesOf(daemon, /^source.unauthorized/)).toEqual([]);
  expect(linesOf(daemon, /^source.headers_held/)).toMatchObject([{ source: 'default' }]);
});

test('a reload that takes the last token away is refused', async () => {
  const daemon = await withUsual();
  await daemon.configure(configOf({ auth: { tokens: [] } }, calm));
  const refused = await hangUp(daemon, REFUSED);
  expect(refused?.['problems']).toEqual([expect.stringContaining('no token any more')]);
  expect((await fetch(`${daemon.url}/v1/watches`)).status).toBe(401);
});

test('a wrong configuration is refused by SIGHUP, and the next right one is taken', async () => {
  const daemon = await withUsual();
  await daemon.configure(
    configOf({ endpoints: { hooks: { type: 'webhook', url: 'nowhere' } } }, calm),
  );
  const refused = await hangUp(daemon, REFUSED);
  expect(refused?.['problems']).toEqual([expect.stringContaining('endpoints.hooks.url')]);
  const { text } = await call(daemon, OLD_TOKEN, '/readyz');
  expect(text).toMatch(/^degraded configuration: .*SIGHUP/m);
  expect((await call(daemon, OLD_TOKEN, '/v1/endpoints')).text).toContain('"name":"hooks"');

  await daemon.configure(
    configOf(
      {
        endpoints: { hooks: hooks(), more: hooks() },
        workflows: { 'wf-1': { name: 'invoices' } },
        watches: { timeout: '3d' },
      },
      calm,
    ),
  );
  const line = await hangUp(daemon, READ_AGAIN);
  expect(line?.['changed']).toEqual(['workflows.wf-1', 'endpoints.more']);
  const restart = await waitFor(() => linesOf(daemon, /need a restart$/)[0]);
  expect(restart['settings']).toEqual(['watches.timeout']);
  expect((await call(daemon, OLD_TOKEN, '/readyz')).text).not.toContain('configuration');

  const { id } = calm.add({
    workflow_id: 'wf-1',
    steps: [{ after_ms: 0, status: 'failed' }],
  });
  await call(daemon, OLD_TOKEN, '/v1/watches', { run_id: id, endpoints: ['more'] });
  const received = await waitFor(() => receiver.received.find(({ body }) => body.includes(id)));
  expect(JSON.parse(received.body)).toMatchObject({ data: { workflow_name: 'invoices' } });
});

test('a rule that notifies an unknown endpoint degrades readiness, and says not that it did', async () => {
  const daemon = await withUsual();
  const rule = { name: 'failures', events: ['run.failed'], group_wait: '0s' };
  const rules = [{ ...rule, notify: ['hooks', 'hoks'] }];
  await daemon.configure(configOf({ endpoints: { hooks: hooks() }, rules }, calm));
  await hangUp(daemon, READ_AGAIN);
  const { text } = await call(daemon, OLD_TOKEN, '/readyz');
  expect(text).toMatch(
    /^degraded configuration: the rule failures notifies hoks, which is no end/m,
  );

  const { id } = calm.add({ steps: [{ after_ms: 0, status: 'failed' }] });
  await call(daemon, OLD_TOKEN, '/v1/watches', { run_id: id });
  const { body } = await waitFor(() =>
    receiver.received.find((one) => one.body.includes(id) && one.body.includes('alert.firing')),
  );
  const { notified } = JSON.parse(body).data.alert;
  expect(notified).toMatchObject([{ endpoint: 'hooks' }]);
});

test('SIGHUP with a corrected URL sends at once what waited for the endpoint', async () => {
  const daemon = await withUsual();
  const wrong = { ...hooks(), url: 'http://127.0.0.1:9/', retry: ['1h'] };
  await daemon.configure(configOf({ endpoints: { hooks: wrong } }, calm));
  await hangUp(daemon, READ_AGAIN);
  const runs = Array.from({ length: 12 }, () => {
    return calm.add({ steps: [{ after_ms: 0, status: 'failed' }] }).id;
  });
  const watches = runs.map((run_id) => ({ run_id }));
  await call(daemon, OLD_TOKEN, '/v1/watches/batch', { watches });
  await waitFor(() => linesOf(daemon, /^endpoint.failing/).length > 0);

  await daemon.configure(configOf({}, calm));
  await hangUp(daemon, READ_AGAIN);
  // Without the reload a probe comes after half a minute, and what has failed goes again after an hour.
  const isTold = (id: string) => receiver.received.some(({ body }) => body.includes(id));
  await waitFor(() => runs.every(isTold));
});
