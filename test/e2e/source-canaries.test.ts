import { rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { stringify } from 'yaml';
import { closeServer, listenOnLoopback } from '../../src/simulator/http-io.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { runBuiltCli } from '../support/built-cli.ts';
import { MAIN } from '../support/built-main.ts';
import type { WatchJson } from '../support/daemon-listings.ts';
import {
  cleanEnv,
  startDaemonProcess,
  stopAll,
  tempDir,
  type DaemonProcess,
} from '../support/daemon-process.ts';
import { dumpRedis } from '../support/dump-redis.ts';
import { startOtlpReceiver, type OtlpReceiver } from '../support/otlp-receiver.ts';
import { startPrivateRedis, type PrivateRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

/** Everything that must be found nowhere, by where it comes from. */
const CANARIES = {
  'the token of a header': 'canary-token-of-a-header-91e7c4b2',
  'the key of a header': 'canary-key-of-a-header-5cfd2a81',
  'a cookie of a header': 'canary-cookie-of-a-header-77b0',
  'the password of a header': 'canary-password-of-a-header-3f1a',
  'a member that no path leads to': 'canary-member-c0de',
  'the name of a member': 'canary-name-e4d5',
  'a header of an answer': 'canary-answer-header-b9d8',
  'the reason of an answer': 'canary-reason-a1b2',
  'the body of an error': 'canary-error-77f0',
  'a value that another one replaces': 'canary-replaced-6d2e',
  'a value of another kind than its field': 'canary-misplaced-08aa',
  'a value that is too long': 'canary-too-long-4f4f',
  'an answer that is no JSON': 'canary-no-json-2c3d',
  'another run': 'canary-other-run-1e2f',
  'what is no HTTP': 'canary-no-http-9a8b',
} as const;

type Canary = keyof typeof CANARIES;

const PAIR = btoa(`me:${CANARIES['the password of a header']}`);

/** What each request to a source carries. */
const HEADERS = {
  authorization: `Bearer ${CANARIES['the token of a header']}`,
  'x-api-key': CANARIES['the key of a header'],
  cookie: `theme=dark; session=${CANARIES['a cookie of a header']}`,
  'x-authorization': `Basic ${PAIR}`,
};

/** Every form in which a canary might turn up. */
const FORMS = [
  { what: 'the password of a header' as Canary, form: PAIR },
  ...(Object.entries(CANARIES) as [Canary, string][]).flatMap(([what, canary]) => {
    const bytes = Buffer.from(canary);
    return [canary, bytes.toString('base64').replace(/=+$/, ''), bytes.toString('hex')].map(
      (form) => ({ what, form }),
    );
  }),
];

/** Which canaries a text gives away. */
function leaksIn(text: string): Canary[] {
  return [...new Set(FORMS.filter(({ form }) => text.includes(form)).map(({ what }) => what))];
}

/** A document about a run, with canaries wherever no path leads. */
function documentOf(id: string, fields: Record<string, unknown>): string {
  const member = CANARIES['a member that no path leads to'];
  const said = {
    state: { secret: member, word: fields['status'] },
    status: fields['status'],
    steps: [member, { name: member, status: member }],
    prompt: member,
    [CANARIES['the name of a member']]: member,
    // What a proxy repeats that shows what it was sent.
    workflow: `flow ${HEADERS['x-api-key']}`,
    name: `shown-name ${CANARIES['the token of a header']} ${HEADERS.authorization} ${HEADERS.cookie} ${PAIR}`,
    created: CANARIES['a value of another kind than its field'],
    started: { at: CANARIES['a value of another kind than its field'] },
    progress: CANARIES['a value of another kind than its field'],
    ...fields,
  };
  const replaced = `"name":"${CANARIES['a value that another one replaces']}"`;
  return `{"id":"${id}",${replaced},${JSON.stringify(said).slice(1)}`;
}

const error = (id: string) =>
  JSON.stringify({ detail: CANARIES['the body of an error'], id, headers: HEADERS });

type Answer = (response: ServerResponse, id: string) => void;

const fails =
  (status: number, headers: Record<string, string> = {}): Answer =>
  (response, id) =>
    void response.writeHead(status, CANARIES['the reason of an answer'], headers).end(error(id));

/** How runs of the source `ci` are answered that are not at their end yet, by their names. */
const BEHAVIOURS: Record<string, Answer> = {
  busy: (response, id) => response.end(documentOf(id, { status: 'busy' })),
  waits: (response, id) => response.end(documentOf(id, { status: 'done-by-first' })),
  'made-up': (response, id) =>
    response.end(documentOf(id, { status: `shown-word ${CANARIES['the key of a header']}` })),
  long: (response, id) =>
    response.end(
      documentOf(id, {
        status: 'busy',
        name: `${CANARIES['a value that is too long']}${'x'.repeat(2_000)}`,
      }),
    ),
  wordless: (response, id) =>
    response.end(documentOf(id, { status: [CANARIES['a value of another kind than its field']] })),
  other: (response) => response.end(documentOf(CANARIES['another run'], { status: 'busy' })),
  html: (response) => {
    response.setHeader('content-type', 'text/html');
    response.end(`<html>${CANARIES['an answer that is no JSON']}</html>`);
  },
  typed: (response) => {
    response.setHeader('content-type', `application/${CANARIES['a header of an answer']}`);
    response.end(CANARIES['an answer that is no JSON']);
  },
  invalid: (response, id) =>
    response.end(`{"id":"${id}",${CANARIES['an answer that is no JSON']}}`),
  cut: (response, id) => response.end(documentOf(id, { status: 'busy' }).slice(0, -5)),
  encoded: (response, id) => {
    response.setHeader('content-encoding', CANARIES['a header of an answer']);
    response.end(documentOf(id, { status: 'busy' }));
  },
  raw: ({ socket }) => void socket?.end(`${CANARIES['what is no HTTP']}\r\n\r\n`),
  moved: fails(302, { location: `http://127.0.0.1:9/${CANARIES['a header of an answer']}` }),
  bad: fails(400),
  forbidden: fails(403),
  missing: fails(404),
  unprocessable: fails(422),
  broken: fails(500),
  'also-broken': (response, id) => response.end(documentOf(id, { status: 'done-by-first' })),
};

/** Of the second request of a run. */
const SECONDS: Record<string, Answer> = {
  'also-broken': fails(500),
  waits: (response, id) => response.end(documentOf(id, { next: 'node' })),
};

/** Sources that answer all alike. */
const SOURCES: Record<string, Answer> = {
  shut: fails(401),
  limited: fails(429, { 'retry-after': '120' }),
  down: fails(503),
};

let receiver: Receiver;
let traces: OtlpReceiver;
let redis: PrivateRedis;
let server: Server;
let daemon: DaemonProcess;
let folder: string;
let config: Record<string, unknown>;
const sent: IncomingMessage[] = [];
/** Whether all runs have ended by now. */
let isOver = false;

const RUNS = Object.keys(BEHAVIOURS);

beforeAll(async () => {
  server = createServer((request, response) => {
    sent.push(request);
    const [, source = '', kind = '', id = ''] = (request.url ?? '').split('/');
    const said = CANARIES['a header of an answer'];
    response.setHeader('etag', `"${said}"`);
    response.setHeader('set-cookie', `session=${said}`);
    response.setHeader('x-request-id', said);
    response.setHeader('content-type', 'application/json');
    answerOf(source, kind, id)(response, id);
  });
  const url = await listenOnLoopback(server, { port: 0, host: '127.0.0.1' });
  [receiver, traces, redis] = await Promise.all([
    startReceiver({ secrets: [] }),
    startOtlpReceiver(),
    startPrivateRedis(),
  ]);
  config = configOf(url);
  folder = await tempDir();
  await writeFile(join(folder, 'runwatch.yaml'), stringify(config));
  daemon = await startDaemonProcess({
    env: {
      REDIS_URL: redis.url,
      OTEL_EXPORTER_OTLP_ENDPOINT: traces.url,
      OTEL_BSP_SCHEDULE_DELAY: '50',
    },
    config,
  });
  await live();
});

afterAll(async () => {
  await stopAll([daemon]);
  await Promise.all([receiver.close(), traces.close(), closeServer(server)]);
  await redis.stop();
  await rm(folder, { recursive: true });
});

function answerOf(source: string, kind: string, id: string): Answer {
  const alike = SOURCES[source];
  if (alike !== undefined) return alike;
  if (kind === 'probe') return (response) => response.end('{}');
  if (isOver) {
    return (response) => response.end(documentOf(id, { status: 'done', next: null }));
  }
  if (kind === 'state') return SECONDS[id] ?? fails(500);
  return BEHAVIOURS[id] ?? fails(404);
}

function configOf(url: string): Record<string, unknown> {
  const sourceAt = (name: string) => ({
    type: 'http',
    base_url: `${url}/${name}`,
    headers: HEADERS,
    run: {
      get: '/runs/{run}',
      id: '$.id',
      status: ['$.state.word', '$.status'],
      workflow: '$.workflow',
      workflow_name: '$.name',
      created: '$.created',
      started: '$.started.at',
      progress: '$.progress',
    },
    states: { running: ['busy'], completed: ['done', 'done-by-first'] },
    also: {
      when: 'completed',
      get: '/state/{run}',
      status: '$.next',
      states: { awaiting_human_feedback: ['*'] },
    },
    probe: '/probe',
    conditional: true,
    rate_limit: { requests: 1_000, per: '1s' },
  });
  return {
    log: { level: 'trace' },
    sources: Object.fromEntries(
      ['ci', ...Object.keys(SOURCES)].map((name) => [name, sourceAt(name)]),
    ),
    polling: {
      min_interval: '50ms',
      max_interval: '250ms',
      gone_after: '1h',
      unreachable_after: '1s',
    },
    rules: [{ name: 'all', events: ['run.*'], notify: ['hooks'], group_wait: '100ms' }],
    endpoints: {
      hooks: { type: 'webhook', url: receiver.url, events: ['*'] },
      audit: { type: 'log', events: ['*'] },
    },
  };
}

async function watchOf(id: string, source = 'ci'): Promise<WatchJson> {
  return (await daemon.api<WatchJson>(`/v1/watches/${id}?source=${source}`)).body;
}

/** Registers all runs, and waits until each has shown what it is, and then its end. */
async function live(): Promise<void> {
  for (const run_id of RUNS) {
    await daemon.api('/v1/watches', {
      run_id,
      source: 'ci',
      endpoints: ['hooks', 'audit'],
      batch: 'nightly',
    });
  }
  for (const source of Object.keys(SOURCES)) {
    await daemon.api('/v1/watches', { run_id: 'any', source });
  }
  for (const id of RUNS) {
    await seen(id, 'ci', ({ run, error: trouble }) => run !== null || trouble !== null);
  }
  // Their probes have shown what they are, so that their runs are not read.
  await waitFor(async () => {
    const { body } = await daemon.api<{ data: { state: string }[] }>('/v1/sources');
    const states = body.data.map(({ state }) => state);
    expect(states).toEqual(['answering', 'unauthorized', 'paused', 'unreachable']);
    return true;
  });
  isOver = true;
  for (const id of RUNS) {
    await daemon.api(`/v1/watches/${id}/poll?source=ci`, {});
    await seen(id, 'ci', ({ state }) => state === 'finished');
  }
  await waitFor(() => receiver.received.length > RUNS.length);
}

async function seen(id: string, source: string, isSeen: (watch: WatchJson) => boolean) {
  let last: WatchJson | null = null;
  await waitFor(
    async () => {
      last = await watchOf(id, source);
      return isSeen(last);
    },
    { describe: () => `${source}/${id}, which is ${JSON.stringify(last)}` },
  );
}

test('canaries are in use, so that the search for them can find them', () => {
  expect(sent.every(({ headers }) => headers['authorization'] === HEADERS.authorization)).toBe(
    true,
  );
  expect(sent.some(({ headers }) => headers['if-none-match'] !== undefined)).toBe(true);
  for (const [what, canary] of Object.entries(CANARIES)) expect(leaksIn(canary)).toEqual([what]);
});

test('what a path leads to is shown, without what the source repeats of headers', async () => {
  const named = await daemon.api('/v1/watches/busy?source=ci');
  expect(named.body).toMatchObject({
    workflow_name: 'shown-name [redacted] [redacted] [redacted] [redacted]',
    run: { workflow_id: 'flow%20[redacted]' },
  });
  const events = await daemon.api('/v1/events?type=run.status_unknown');
  expect(JSON.stringify(events.body)).toContain('shown-word [redacted]');
});

test('no canary is in the log at level trace, the spans, Redis or webhooks', async () => {
  const log = daemon.log().map((line) => JSON.stringify(line));
  expect(log.join('')).toContain('source.unauthorized');
  expect(traces.spans.length).toBeGreaterThan(0);
  const dump = await dumpRedis(redis.url);
  const shown = [dump, receiver.received].map((one) => JSON.stringify(one));
  for (const text of shown) expect(text).toContain('shown-name');
  const texts = [...log, daemon.stderr(), JSON.stringify(traces.spans), ...shown];
  for (const text of texts) expect(leaksIn(text)).toEqual([]);
});

test('no canary is in an answer of the daemon, its metrics or its pages', async () => {
  const { body: document } = await daemon.api<{ paths: Record<string, object> }>('/openapi.json');
  const alerts = await daemon.api<{ data: { id: string }[] }>('/v1/alerts');
  const deliveries = await daemon.api<{ data: { id: string }[] }>('/v1/deliveries');
  const paths = Object.entries(document.paths)
    .flatMap(([path, verbs]) => ('get' in verbs && !path.endsWith('/stream') ? [path] : []))
    .flatMap((path) => {
      if (path.includes('{run_id}')) return RUNS.map((id) => path.replace('{run_id}', id));
      if (path === '/v1/lookup') return [`${path}?prefix=evt_&kind=event`];
      if (path === '/v1/endpoints/{name}/secret') return [];
      if (path === '/v1/batches/{name}') return [path.replace('{name}', 'nightly')];
      const { data } = path.startsWith('/v1/alerts') ? alerts.body : deliveries.body;
      if (path.includes('{id}')) return data.map(({ id }) => path.replace('{id}', id));
      return [path];
    });
  expect(paths.length).toBeGreaterThan(100);
  const pages = ['/', '/runs', '/runs/ci/busy', '/readyz?format=json', '/metrics'];
  for (const path of [...paths, ...pages]) {
    const { status, body } = await daemon.api<unknown>(path);
    expect([path, status, leaksIn(JSON.stringify(body))]).toEqual([path, 200, []]);
  }
});

test('no canary is in what the command line and tools of an AI client say', async () => {
  const here = ['--config', join(folder, 'runwatch.yaml')];
  const verbs = [
    ['list', '--json'],
    ['list'],
    ['attention'],
    ['events', '--json'],
    ['alerts'],
    ['workflows'],
    ['polling'],
    ['sources'],
    ['deliveries'],
    ...['busy', 'cut', 'broken'].map((id) => ['show', id, '--source', 'ci']),
    ['doctor', ...here],
  ];
  for (const verb of verbs) {
    const { stdout, stderr } = await runBuiltCli([...verb, '--url', daemon.url]);
    expect([verb, stdout + stderr === '', leaksIn(stdout + stderr)]).toEqual([verb, false, []]);
  }
  const tried = await runBuiltCli(['try', 'busy', '--source', 'ci', ...here]);
  // It shows whatever stands at a path, so that a path can be put right.
  const misplaced: Canary = 'a value of another kind than its field';
  expect(leaksIn(tried.stdout + tried.stderr)).toEqual([misplaced]);
  const shown = await runBuiltCli(['config', ...here]);
  expect(shown.stdout).toContain('x-api-key');
  expect(leaksIn(shown.stdout + shown.stderr)).toEqual([]);
  const client = new Client({ name: 'test', version: '1.0.0' });
  const command = { command: process.execPath, args: [MAIN, 'mcp', '--url', daemon.url] };
  await client.connect(new StdioClientTransport({ ...command, env: cleanEnv() }));
  try {
    const calls: [string, Record<string, unknown>][] = [
      ['list_attention', {}],
      ['list_runs', {}],
      ['list_alerts', {}],
      ...RUNS.flatMap((run_id): [string, Record<string, unknown>][] =>
        ['show_run', 'explain_run'].map((tool) => [tool, { run_id, source: 'ci' }]),
      ),
    ];
    for (const [name, given] of calls) {
      const said = JSON.stringify(await client.callTool({ name, arguments: given }));
      expect([name, given, leaksIn(said)]).toEqual([name, given, []]);
    }
  } finally {
    await client.close();
  }
});
