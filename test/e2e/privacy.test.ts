import { once } from 'node:events';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { stringify } from 'yaml';
import type { RunwatchEvent } from '../../src/core/event/event.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import type { ScriptInput } from '../../src/simulator/script.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { PRIVATE_CANARY } from '../../src/simulator/wire-run.ts';
import { runBuiltCli } from '../support/built-cli.ts';
import { startDaemonProcess, stopAll, tempDir } from '../support/daemon-process.ts';
import type { DaemonProcess } from '../support/daemon-process.ts';
import { dumpRedis } from '../support/dump-redis.ts';
import { startPrivateRedis, type PrivateRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

/** A signing secret with readable bytes, so that the search finds it in any encoding. */
const whsec = (text: string) => `whsec_${Buffer.from(text.padEnd(32, '.')).toString('base64')}`;

const TOKEN = 'canary-api-token-5cfd2a81';
const READER = 'canary-reader-token-77b0e1d9';
const ENCRYPTION_KEY = Buffer.from('canary-encryption-key-0123456789');

/** Everything that must be found nowhere, by what it is. */
const SECRETS = {
  'private data of a run': PRIVATE_CANARY,
  'the API key of a source': 'canary-noxus-key-91e7c4b2',
  'an API token': TOKEN,
  'a read-only API token': READER,
  'the secret of an endpoint': whsec('canary-endpoint-secret'),
  'a header of an endpoint': 'Bearer canary-endpoint-header-3f1a',
  'the secret of the instance': whsec('canary-signing-secret'),
  'the secret of a webhook that came with a watch': whsec('canary-per-watch-secret'),
  'a header of a webhook that came with a watch': 'canary-per-watch-header-c0de',
  'the query of a webhook URL': 'canary-webhook-query-e4d5',
  'the path of a webhook of a watch': 'canary-own-path-T0A1B2C3',
  'the query of a webhook of a watch': 'canary-own-query-77f0',
  'the path of a Slack webhook': 'canary-slack-path-B9D8',
  'the key that encrypts': ENCRYPTION_KEY.toString('base64'),
} as const;

/** Every form in which a secret might turn up. */
const FORMS = Object.entries(SECRETS).flatMap(([what, secret]) => {
  const bare = secret.replace(/^(whsec_|Bearer )/, '');
  const isBase64 = secret.startsWith('whsec_') || what === 'the key that encrypts';
  const plain = isBase64 ? Buffer.from(bare, 'base64').toString().replace(/\.+$/, '') : bare;
  const encoded = Buffer.from(plain);
  return [bare, plain, encoded.toString('base64').replace(/=+$/, ''), encoded.toString('hex')].map(
    (form) => ({ what, form }),
  );
});

/** Which secrets a text gives away. */
function leaksIn(text: string): string[] {
  return [...new Set(FORMS.filter(({ form }) => text.includes(form)).map(({ what }) => what))];
}

/** Runs with every end, and with every fault that carries private data. */
const SCRIPTS: ScriptInput[] = [
  ...['completed', 'failed', 'stopped', 'awaiting_human_feedback', 'hibernating'].map((status) => ({
    steps: [{ after_ms: 0, status, progress: 50 }],
  })),
  { rejected: true },
  { steps: [{ after_ms: 0, status: 'running' }], deleted_after_ms: 0 },
  ...(
    [
      { kind: 'html' },
      { kind: 'truncated' },
      { kind: 'oversize' },
      { kind: 'garbage' },
      { kind: 'other_run' },
      { kind: 'reset' },
      { kind: 'stall', ms: 5_000 },
      { kind: 'status', status: 500 },
      { kind: 'status', status: 422 },
    ] as const
  ).map((fault) => ({
    steps: [{ after_ms: 0, status: 'completed' }],
    faults: [fault],
  })),
];

let noxus: Simulator;
let refusing: Simulator;
let endpoint: Receiver;
let perWatch: Receiver;
let echo: Server;
let redis: PrivateRedis;
let daemon: DaemonProcess;
let runIds: string[];
/** Answers to requests that change something, and to requests that are refused. */
const answers: string[] = [];
/** What signs for webhooks that came without a secret, as their registration was answered. */
const secretsShown: string[] = [];

const echoUrl = () => `http://127.0.0.1:${(echo.address() as AddressInfo).port}/`;

/** A URL of which everything but the origin is secret. */
function ownUrl(origin: string, way = ''): string {
  const path = SECRETS['the path of a webhook of a watch'];
  const query = SECRETS['the query of a webhook of a watch'];
  return new URL(`/hooks/${path}?token=${query}${way && `&way=${way}`}`, origin).href;
}

/** Ways to fail for a receiver that repeats what it was sent, as debugging proxies do. */
const WAYS: Record<string, (said: string, response: ServerResponse) => void> = {
  status: (said, response) => response.writeHead(500).end(said),
  gone: (said, response) => response.writeHead(410).end(said),
  throttle: (said, response) => response.writeHead(429, { 'retry-after': said }).end(said),
  body: (said, response) => response.writeHead(500).end(said.repeat(5_000)),
  headers: (said, response) => response.writeHead(500, { 'x-said': said.repeat(100) }).end(),
  redirect(_said, response) {
    response.writeHead(302, { location: ownUrl(echoUrl(), 'status') }).end();
  },
  protocol: (said, { socket }) => socket?.end(`nonsense ${said}`),
  reset: (_said, { socket }) => socket?.destroy(),
  hang: () => undefined,
};

/** Of the URL of a configured endpoint. */
const keyQuery = `key=${SECRETS['the query of a webhook URL']}`;

function configOf(): Record<string, unknown> {
  return {
    log: { level: 'trace' },
    auth: {
      tokens: [
        { name: 'ops', token: TOKEN },
        { name: 'reader', token: READER, scopes: ['read'] },
      ],
    },
    sources: {
      default: {
        base_url: noxus.url,
        api_key: SECRETS['the API key of a source'],
        timeout: '300ms',
        rate_limit: { requests: 10_000, per: '1s' },
      },
      refusing: { base_url: refusing.url, api_key: SECRETS['the API key of a source'] },
    },
    polling: {
      min_interval: '50ms',
      max_interval: '1s',
      gone_after: '200ms',
      unreachable_after: '1s',
    },
    endpoints: {
      hooks: {
        type: 'webhook',
        url: `${endpoint.url}/hooks?${keyQuery}`,
        secret: SECRETS['the secret of an endpoint'],
        headers: { authorization: SECRETS['a header of an endpoint'] },
        events: ['*'],
        retry: ['50ms', '30d'],
      },
      unsigned: { type: 'webhook', url: endpoint.url },
      echo: {
        type: 'webhook',
        url: echoUrl(),
        headers: { authorization: SECRETS['a header of an endpoint'] },
      },
      slack: {
        type: 'slack',
        url: `http://127.0.0.1:9/services/${SECRETS['the path of a Slack webhook']}`,
        retry: ['30d'],
      },
      slow: {
        type: 'webhook',
        url: `${echoUrl()}?way=hang&${keyQuery}`,
        timeout: '1s',
        retry: ['30d'],
      },
      moved: { type: 'webhook', url: `${echoUrl()}?way=redirect&${keyQuery}`, retry: ['30d'] },
      blocked: { type: 'webhook', url: `http://169.254.169.254/?${keyQuery}`, retry: ['30d'] },
      audit: { type: 'log', events: ['*'] },
    },
    delivery: { signing_secret: SECRETS['the secret of the instance'] },
    egress: { allow: ['127.0.0.1/32'] },
  };
}

async function call(path: string, body?: unknown, token = TOKEN, method = 'POST') {
  const response = await fetch(`${daemon.url}${path}`, {
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body !== undefined && { method, body: JSON.stringify(body) }),
  });
  const headers = JSON.stringify([...response.headers]);
  return { status: response.status, text: `${headers}\n${await response.text()}` };
}

async function json<Answer>(path: string): Promise<Answer> {
  const { text } = await call(path);
  return JSON.parse(text.slice(text.indexOf('\n') + 1)) as Answer;
}

/** What is sent to the daemon: all that is good, and some that is refused because of a secret. */
async function register(): Promise<void> {
  const ofBatch = {
    url: ownUrl(perWatch.url),
    secret: SECRETS['the secret of a webhook that came with a watch'],
    headers: { 'x-own-key': SECRETS['a header of a webhook that came with a watch'] },
  };
  const webhook = { ...ofBatch, events: ['*'] };
  for (const run_id of runIds) {
    const { status, text } = await call('/v1/watches', {
      run_id,
      endpoints: ['hooks', 'unsigned', 'echo', 'slack', 'audit'],
      webhook,
    });
    expect(status).toBe(201);
    answers.push(text);
  }
  for (const [batch, settings] of Object.entries({ own: { webhook: ofBatch }, inherited: {} })) {
    const path = `/v1/batches/${batch}`;
    const set = await call(path, { expected: 1, ...settings }, TOKEN, 'PUT');
    const joined = await call('/v1/watches', { run_id: runIds[0], endpoints: ['hooks'], batch });
    expect([set.status, joined.status]).toEqual([201, 200]);
    answers.push(set.text, joined.text);
  }
  const { text } = await call('/v1/watches', { run_id: 'refused-key', source: 'refusing' });
  answers.push(text);
  // Receivers that fail in every way, one that cannot be reached and one that does not speak TLS.
  const ways = Object.keys(WAYS).filter((way) => way !== 'hang');
  const failing = [
    ...ways.map((way) => ownUrl(echoUrl(), way)),
    ownUrl('http://127.0.0.1:9'),
    ownUrl(echoUrl().replace('http:', 'https:')),
  ];
  for (const url of failing) {
    const { text: answer } = await call('/v1/watches', {
      run_id: runIds[0],
      endpoints: ['slow', 'moved', 'blocked'],
      webhook: { url },
    });
    // The signing secret is returned to the registering client only.
    secretsShown.push(...(answer.match(/whsec_[\w+/=]+/g) ?? []));
    answers.push(answer);
  }
  const wrong = [
    { run_id: 'wrong', webhook: { url: ownUrl('https://10.0.0.1') } },
    { run_id: 'wrong', webhook: { ...webhook, secret: `${webhook.secret}!` } },
    { run_id: 'wrong', webhook: { ...webhook, headers: { host: webhook.headers['x-own-key'] } } },
    { run_id: 'wrong', webhook: { ...webhook, colour: webhook.secret } },
    { run_id: 'wrong', [TOKEN]: webhook.secret },
    { run_id: 'wrong', metadata: { a: { b: webhook.secret } } },
  ];
  for (const body of wrong) {
    const refused = await call('/v1/watches', body);
    expect(refused.status).toBe(422);
    // The client may get its own names back, but not the values.
    answers.push(refused.text.replaceAll(TOKEN, ''));
  }
  for (const token of [`${TOKEN}x`, '', READER]) {
    answers.push((await call('/v1/watches', { run_id: 'wrong' }, token)).text);
  }
}

beforeAll(async () => {
  const apiKey = SECRETS['the API key of a source'];
  [noxus, refusing, redis] = await Promise.all([
    startSimulator({ apiKey }),
    startSimulator({ apiKey: 'another' }),
    startPrivateRedis({ aof: true }),
  ]);
  endpoint = await startReceiver({
    secrets: [SECRETS['the secret of an endpoint'], SECRETS['the secret of the instance']],
    // Every third attempt fails, so that there are retries and attempts that failed.
    respond: ({ verified }) => (verified && endpoint.received.length % 3 > 0 ? 204 : 500),
  });
  perWatch = await startReceiver({
    secrets: [SECRETS['the secret of a webhook that came with a watch']],
  });
  echo = createServer(({ headers, url = '' }, response) => {
    const way = new URL(url, 'http://localhost').searchParams.get('way') ?? 'status';
    WAYS[way]?.(`cannot POST ${url} ${JSON.stringify({ headers })}`, response);
  }).listen(0, '127.0.0.1');
  await once(echo, 'listening');
  daemon = await startDaemonProcess({
    env: { REDIS_URL: redis.url, RUNWATCH_ENCRYPTION_KEY: ENCRYPTION_KEY.toString('base64') },
    config: configOf(),
  });
  runIds = SCRIPTS.map((script) => noxus.add(script).id);
  await register();
  await waitFor(
    () => {
      const notes = perWatch.received.map(({ body }) => JSON.parse(body) as RunwatchEvent);
      const ofRuns = notes.filter(({ type }) => !type.startsWith('batch.'));
      const batches = new Set(notes.flatMap(({ data }) => ('batch' in data ? [data.batch] : [])));
      const seen = new Set(ofRuns.map(({ data }) => data.run_id));
      return seen.size === runIds.length && batches.size === 2;
    },
    { describe: 'something to be notes of every run and of both batches' },
  );
});

afterAll(async () => {
  await stopAll([daemon]);
  await Promise.all([endpoint, perWatch, noxus, refusing].map((server) => server.close()));
  echo.closeAllConnections();
  echo.close();
  await redis.stop();
});

describe('secrets of a busy daemon', () => {
  test('every secret is in use, so that the search for secrets can find them', () => {
    expect(noxus.requests.statuses['401']).toBeUndefined();
    expect(noxus.requests.statuses['200']).toBeGreaterThan(0);
    const hooked = endpoint.received.find(({ headers }) => headers['authorization']);
    expect(hooked?.headers['authorization']).toBe(SECRETS['a header of an endpoint']);
    expect(secretsShown).toHaveLength(10);
    expect(perWatch.received.every(({ verified }) => verified)).toBe(true);
    expect(perWatch.received[0]?.headers['x-own-key']).toBe(
      SECRETS['a header of a webhook that came with a watch'],
    );
    for (const [what, secret] of Object.entries(SECRETS)) expect(leaksIn(secret)).toEqual([what]);
  });

  test('failed deliveries contain no secret', async () => {
    const failures = async () => {
      const path = `/v1/deliveries?run_id=${runIds[0]}&limit=200`;
      const { data } = await json<{ data: { last: { error: { code: string } } | null }[] }>(path);
      return new Set(data.flatMap(({ last }) => last?.error?.code ?? []));
    };
    const all = 'egress_blocked protocol redirect refused reset status timeout tls too_large'.split(
      ' ',
    );
    await waitFor(async () => (await failures()).size >= all.length);
    expect([...(await failures())].sort()).toEqual(all);
  });

  test("no value in Redis contains a secret, BullMQ's included", async () => {
    const dump = await dumpRedis(redis.url);
    for (const kind of ['watch:', 'event:', 'delivery:', 'attempts:', 'batch:', 'poll-default:']) {
      expect(dump.some(({ key }) => key.includes(`:${kind}`))).toBe(true);
    }
    for (const { key, text } of dump) expect([key, leaksIn(key + text)]).toEqual([key, []]);
  });

  test('the append-only file contains no secret', async () => {
    const folder = join(dirname(redis.url), 'appendonlydir');
    const files = await readdir(folder);
    const texts = await Promise.all(files.map((file) => readFile(join(folder, file), 'latin1')));
    expect(texts.join('')).toContain(runIds[0]);
    expect(leaksIn(texts.join(''))).toEqual([]);
  });

  test('webhooks contain no secret, except in their own configured headers', () => {
    for (const { body, headers } of [...endpoint.received, ...perWatch.received]) {
      const { authorization: _a, 'x-own-key': _b, ...others } = headers;
      expect(leaksIn(body + JSON.stringify(others))).toEqual([]);
    }
  });

  test('answers to registrations contain no secret, accepted or refused', () => {
    for (const text of answers) expect(leaksIn(text)).toEqual([]);
  });

  test('answers of reading routes contain no secret', async () => {
    const { paths } = await json<{ paths: Record<string, object> }>('/openapi.json');
    const { data: deliveries } = await json<{ data: { id: string }[] }>('/v1/deliveries?limit=200');
    const templates = Object.entries(paths).flatMap(([path, verbs]) =>
      'get' in verbs && !path.endsWith('/stream') ? [path] : [],
    );
    expect(templates).toEqual(
      expect.arrayContaining([
        '/v1/watches/{run_id}',
        '/v1/batches/{name}',
        '/v1/events',
        '/v1/deliveries/{id}',
      ]),
    );
    const concrete = templates.flatMap((path) => {
      if (path.includes('{run_id}')) return runIds.map((id) => path.replace('{run_id}', id));
      // No rule is configured here, so there is no alert.
      if (path.startsWith('/v1/alerts/')) return [];
      // It shows a secret by its purpose, to admins alone.
      if (path === '/v1/endpoints/{name}/secret') return [];
      if (path === '/v1/batches/{name}') return ['/v1/batches/own', '/v1/batches/inherited'];
      if (path === '/v1/lookup') return [`${path}?prefix=evt_&kind=event`];
      if (path.includes('{id}')) return deliveries.map(({ id }) => path.replace('{id}', id));
      return /^\/v1\/(watches|events|deliveries)$/.test(path) ? [`${path}?limit=200`] : [path];
    });
    expect(concrete.length).toBeGreaterThan(60);
    // What a receiver answered is shown, even where it only repeats what it was sent.
    await waitFor(async () => {
      const path = '/v1/deliveries?endpoint=echo&limit=200';
      const { data } = await json<{ data: { id: string; attempt_count: number }[] }>(path);
      const tried = data.find(({ attempt_count: attempts }) => attempts > 0);
      return (await call(`/v1/deliveries/${tried?.id}`)).text.includes('[redacted]');
    });
    for (const path of [...concrete, '/openapi.json', '/docs/', '/readyz?format=json']) {
      // Acts are shown to admins alone.
      const { status, text } = await call(path, undefined, path === '/v1/audit' ? TOKEN : READER);
      for (const secret of secretsShown) expect(text).not.toContain(secret);
      expect([path, status, leaksIn(text)]).toEqual([path, 200, []]);
    }
  });

  test('secret URLs are masked, and the masked form finds their deliveries', async () => {
    const path = `/v1/deliveries?limit=200&endpoint=`;
    const found = await json<{ data: { endpoint: string }[] }>(
      path + encodeURIComponent(ownUrl(perWatch.url)),
    );
    const [{ endpoint: masked } = { endpoint: '' }] = found.data;
    expect(masked).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/…#[0-9a-f]{6}$/);
    expect(await json(path + encodeURIComponent(masked))).toEqual(found);
    const { data } = await json<{ data: { name: string; url: string }[] }>('/v1/endpoints');
    expect(data.find(({ name }) => name === 'slack')?.url).toMatch(/^http:\/\/127\.0\.0\.1:9\/…#/);
  });

  test('the event stream contains no secret', async () => {
    const { data } = await json<{ data: { id: string }[] }>('/v1/events?limit=200');
    const [first, last] = [data[0]?.id ?? '', data.at(-1)?.id ?? ''];
    const response = await fetch(`${daemon.url}/v1/events/stream?after=${first}`, {
      headers: { authorization: `Bearer ${READER}` },
    });
    expect(response.status).toBe(200);
    let text = '';
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk).toString();
      if (text.includes(last) && text.endsWith('\n\n')) break;
    }
    expect(text).toContain('event: run.');
    expect(leaksIn(text)).toEqual([]);
  });

  test('metrics contain no secret', async () => {
    const { text } = await call('/metrics');
    expect(text).toContain('runwatch_events_total');
    expect(leaksIn(text)).toEqual([]);
  });

  test('the log at level trace contains no secret', () => {
    const text = daemon
      .log()
      .map((line) => JSON.stringify(line))
      .join('\n');
    expect(text).toContain('source.unauthorized');
    expect(text).toContain('"msg":"delivery"');
    expect(leaksIn(text + daemon.stderr())).toEqual([]);
  });

  test('runwatch config shows no secret', async () => {
    const folder = await tempDir();
    const path = join(folder, 'runwatch.yaml');
    await writeFile(path, stringify(configOf()));
    const { exitCode, stdout, stderr } = await runBuiltCli(['config', '--config', path], {
      RUNWATCH_ENCRYPTION_KEY: ENCRYPTION_KEY.toString('base64'),
    });
    await rm(folder, { recursive: true });
    expect([exitCode, leaksIn(stdout + stderr)]).toEqual([0, []]);
    expect(stdout).toContain('hooks');
  });
});

describe('secrets of a daemon without a configured key', () => {
  const secret = SECRETS['the secret of a webhook that came with a watch'];
  const header = SECRETS['a header of a webhook that came with a watch'];
  let store: PrivateRedis;
  let keyless: DaemonProcess;
  const notes: string[] = [];

  beforeAll(async () => {
    store = await startPrivateRedis({ aof: true });
    keyless = await startDaemonProcess({
      env: { REDIS_URL: store.url },
      config: { ...configOf(), auth: {} },
    });
    const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'failed' }] });
    const url = `${perWatch.url}/${id}`;
    const webhook = { url, secret, headers: { authorization: header } };
    const { status, body } = await keyless.api('/v1/watches', { run_id: id, webhook });
    expect(status).toBe(201);
    const rotation = await keyless.api('/v1/endpoints/hooks/rotate', { overlap: '1h' });
    expect(rotation.status).toBe(200);
    notes.push(JSON.stringify(body), rotation.body.secret);
    await waitFor(() => perWatch.received.some(({ headers }) => headers['authorization']));
  });

  afterAll(async () => {
    await stopAll([keyless]);
    await store.stop();
  });

  test('a daemon without a configured key accepts the secret of a per-watch webhook, and signs with it', () => {
    const webhook = perWatch.received.find(({ headers }) => headers['authorization'] === header);
    expect(webhook).toMatchObject({ verified: true, type: 'run.failed' });
  });

  test('a generated key, a rotated secret and a per-watch secret are in no log, answer or Redis value', async () => {
    const [answer = '', rotated = ''] = notes;
    const key = (await readFile(join(keyless.dataDir, 'encryption-key'), 'utf8')).trim();
    const forms = [key, rotated.slice('whsec_'.length)].flatMap((text) => {
      const bytes = Buffer.from(text, 'base64');
      return [text, bytes.toString('hex'), bytes.toString('base64url'), bytes.toString('latin1')];
    });
    const folder = join(dirname(store.url), 'appendonlydir');
    const files = await readdir(folder);
    const texts = [
      answer,
      JSON.stringify(await dumpRedis(store.url)),
      ...(await Promise.all(files.map((file) => readFile(join(folder, file), 'latin1')))),
      JSON.stringify(keyless.log()) + keyless.stderr(),
    ];
    expect(texts.join('')).toMatch(/v1\.[0-9a-f]{8}\.[\w-]{16}\.[\w-]+/);
    for (const text of texts) {
      expect(leaksIn(text)).toEqual([]);
      for (const form of forms) expect(text).not.toContain(form);
    }
  });
});
