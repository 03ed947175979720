import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { z } from 'zod';
import { createVerifier } from '../../src/client/webhook.ts';
import { configSchema } from '../../src/config/schema.ts';
import { unwrap } from '../../src/config/schema-walk.ts';
import { RELOADED_SETTINGS } from '../../src/daemon/reload.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import {
  CERT_FOR_LOCALHOST,
  CERT_FOR_OTHER_HOST,
  TEST_CA,
  TEST_KEY,
} from '../support/certificates.ts';
import {
  startDaemonProcess,
  stopAll,
  tempDir,
  type DaemonProcess,
} from '../support/daemon-process.ts';
import { startSmtpServer } from '../support/services/smtp.ts';
import { waitFor } from '../support/wait-for.ts';

type Settings = Record<string, unknown>;

/** A setting that reload takes, changed on the running daemon. */
interface Row {
  /** The keys that it changes, as `changed` of the log names them. */
  keys: string[];
  from: () => Settings;
  to: () => Settings;
  /** What happens before the change. */
  begin?: () => Promise<unknown>;
  /** What is seen from outside. */
  see: () => Promise<unknown>;
  /** What is seen before the change, where that shows anything. */
  was?: unknown;
  becomes: unknown;
}

/** What a receiver got. */
interface Received {
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
  /** The common name of the client's certificate. */
  client: string | null;
}

const [OLD_SECRET, NEW_SECRET] = [7, 8].map((fill) => {
  return `whsec_${Buffer.alloc(32, fill).toString('base64')}`;
}) as [string, string];
const [TOKEN, OLD_TOKEN, NEW_TOKEN] = ['of-the-test', 'of-yesterday', 'of-today'].map((which) => {
  return `the-token-${which}`;
}) as [string, string, string];

let noxus: Simulator;
let daemon: DaemonProcess;
let folder: string;
let [plain, secure] = ['', ''];
const received: Received[] = [];
/** Requests to `/held`, which get no answer until their row is done. */
const held: ServerResponse[] = [];
const [http, https] = [
  createServer(receive),
  createTlsServer(
    { key: TEST_KEY, cert: CERT_FOR_LOCALHOST, requestCert: true, rejectUnauthorized: false },
    receive,
  ),
];
let mailServers: Awaited<ReturnType<typeof startSmtpServer>>[] = [];

function receive(request: IncomingMessage, response: ServerResponse): void {
  void (async () => {
    const { url: path = '', headers } = request;
    const certificate = (request.socket as Partial<TLSSocket>).getPeerCertificate?.();
    const client = certificate?.subject?.CN ?? null;
    received.push({
      path,
      headers,
      body: await textOf(request),
      client: client?.toString() ?? null,
    });
    if (path.startsWith('/held')) return void held.push(response);
    if (path.startsWith('/declared')) return void response.end(runAt(path));
    response.writeHead(path.startsWith('/refused') ? 500 : 200);
    response.end(path.startsWith('/api') ? '{"ok":true,"ts":"1.2","channel":"C1"}' : 'ok');
  })();
}

/** The answer of a declared source about a run. */
function runAt(path: string): string {
  return JSON.stringify({ id: path.slice('/declared/'.length), status: 'busy' });
}

async function listenOn(server: typeof http | typeof https, scheme: string): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `${scheme}://localhost:${(server.address() as AddressInfo).port}`;
}

const file = (name: string) => join(folder, name);

beforeAll(async () => {
  [plain, secure] = [await listenOn(http, 'http'), await listenOn(https, 'https')];
  mailServers = [await startSmtpServer(), await startSmtpServer()];
  noxus = await startSimulator();
  folder = await tempDir();
  await writeFile(file('ca.pem'), TEST_CA);
  await writeFile(file('client.pem'), CERT_FOR_OTHER_HOST);
  await writeFile(file('client.key'), TEST_KEY);
  daemon = await startDaemonProcess({ config: configOf({}) });
});

afterAll(async () => {
  await stopAll([daemon]);
  await noxus.close();
  await Promise.all(mailServers.map((server) => server.close()));
  for (const server of [http, https]) {
    server.closeAllConnections();
    server.close();
  }
  await rm(folder, { recursive: true, force: true });
});

function sourcesOf(changes: Settings = {}): Settings {
  const rate_limit = { requests: 1_000, per: '1s' };
  const source = { base_url: noxus.url, api_key: noxus.apiKey, rate_limit };
  return { default: { ...source, ...changes }, other: source, declared: declaredWith('yesterday') };
}

/** A source of type http that sends a key in a header. */
function declaredWith(key: string): Settings {
  return {
    type: 'http',
    base_url: `${plain}/declared`,
    headers: { 'x-key': key },
    run: { get: '/{run}', id: '$.id', status: '$.status' },
    states: { running: ['busy'] },
  };
}

const tokensOf = (...tokens: Settings[]) => ({
  tokens: [{ name: 'test', token: TOKEN }, ...tokens],
});

function configOf({ endpoints, ...changes }: Settings): Settings {
  return {
    sources: sourcesOf(),
    auth: tokensOf(),
    log: { level: 'info' },
    polling: { min_interval: '50ms', max_interval: '100ms' },
    ...changes,
    endpoints: { hooks: { type: 'webhook', url: `${plain}/hooks` }, ...(endpoints as Settings) },
  };
}

/** Calls the API; a body makes it a POST. */
async function call<Answer>(path: string, body?: unknown, token = TOKEN) {
  const response = await fetch(`${daemon.url}${path}`, {
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
  });
  return { status: response.status, body: (await response.json()) as Answer };
}

/** Puts a configuration in force by SIGHUP. */
async function reload(settings: Settings): Promise<void> {
  await daemon.configure(configOf(settings));
  const words = () => daemon.log().filter(({ msg }) => /configuration (read|is)/.test(msg));
  const before = words().length;
  daemon.signal('SIGHUP');
  const line = await waitFor(() => words()[before]);
  expect(line).toMatchObject({ msg: 'configuration read again' });
}

/** Watches a run that has failed. @returns its id */
async function watchFailed({
  workflow,
  ...options
}: { workflow?: string; endpoints?: string[]; metadata?: Settings } = {}): Promise<string> {
  const { id } = noxus.add({
    ...(workflow !== undefined && { workflow_id: workflow }),
    steps: [{ after_ms: 0, status: 'failed' }],
  });
  const { status } = await call('/v1/watches', { run_id: id, ...options });
  expect(status).toBe(201);
  return id;
}

interface DeliveryJson {
  endpoint: string;
  state: string;
  attempt_count: number;
  next_attempt_at: string | null;
}

/** The deliveries of the event of a run, which are written in one step. */
async function deliveriesOf(runId: string): Promise<DeliveryJson[]> {
  return waitFor(async () => {
    const { body } = await call<{ data: DeliveryJson[] }>(`/v1/deliveries?run_id=${runId}`);
    return body.data.length > 0 && body.data;
  });
}

const endpointsOf = async (runId: string) =>
  (await deliveriesOf(runId)).map(({ endpoint }) => endpoint).toSorted();

const requestsAt = (path: string) => received.filter((one) => one.path.startsWith(path));

/** What of a run arrived at a path. */
const arrived = (path: string, runId: string) =>
  waitFor(() => requestsAt(path).find(({ body }) => body.includes(runId)));

/** Sends a test to an endpoint. */
async function sendTest(endpoint: string) {
  const count = received.length;
  const { body } = await call<{
    delivered: boolean;
    attempt: { error: { message: string } | null };
  }>(`/v1/endpoints/${endpoint}/test`, {});
  return { ...body, request: received[count] };
}

function signerOf({ headers, body }: Received): string | undefined {
  return [OLD_SECRET, NEW_SECRET].find(
    (secret) =>
      createVerifier([secret])(Buffer.from(body), headers as Record<string, string>) === null,
  );
}

const wordsIn = (text: string, ...words: string[]) => words.filter((word) => text.includes(word));

/** Three failed runs that one endpoint gets. */
const threeFailed = (endpoint: string) => async () => {
  const runs = await Promise.all([1, 2, 3].map(() => watchFailed({ endpoints: [endpoint] })));
  await Promise.all(runs.map(deliveriesOf));
};

const endpoint = (name: string, settings: () => Settings) => () => ({
  endpoints: { [name]: settings() },
});

const webhook = (path: string, settings: Settings = {}) => ({
  type: 'webhook',
  url: `${plain}${path}`,
  ...settings,
});

/** Settings of endpoints that show in the request which a test sends. */
const REQUESTS: Row[] = [
  {
    keys: ['url', 'headers', 'auth.bearer', 'secret', 'body'],
    from: endpoint('hook', () =>
      webhook('/old', {
        headers: { 'x-team': 'old' },
        auth: { bearer: 'old' },
        secret: OLD_SECRET,
      }),
    ),
    to: endpoint('hook', () =>
      webhook('/new', {
        headers: { 'x-team': 'new' },
        auth: { bearer: 'new' },
        secret: NEW_SECRET,
        body: 'cloudevents',
      }),
    ),
    async see() {
      const { request } = await sendTest('hook');
      const { path, headers } = request!;
      const { 'x-team': team, authorization, 'content-type': type } = headers;
      return { path, team, authorization, type, signer: signerOf(request!) };
    },
    was: {
      path: '/old',
      team: 'old',
      authorization: 'Bearer old',
      type: 'application/json',
      signer: OLD_SECRET,
    },
    becomes: {
      path: '/new',
      team: 'new',
      authorization: 'Bearer new',
      type: 'application/cloudevents+json',
      signer: NEW_SECRET,
    },
  },
  {
    keys: ['auth.basic.username', 'auth.basic.password'],
    from: endpoint('basic', () =>
      webhook('/', { auth: { basic: { username: 'a', password: 'b' } } }),
    ),
    to: endpoint('basic', () =>
      webhook('/', { auth: { basic: { username: 'c', password: 'd' } } }),
    ),
    see: async () => (await sendTest('basic')).request?.headers.authorization,
    was: `Basic ${btoa('a:b')}`,
    becomes: `Basic ${btoa('c:d')}`,
  },
  {
    keys: ['tls.ca_file', 'tls.cert_file', 'tls.key_file'],
    from: endpoint('tls', () => ({ type: 'webhook', url: secure })),
    to: endpoint('tls', () => ({
      type: 'webhook',
      url: secure,
      tls: { ca_file: file('ca.pem'), cert_file: file('client.pem'), key_file: file('client.key') },
    })),
    async see() {
      const { delivered, request } = await sendTest('tls');
      return { delivered, client: request?.client };
    },
    was: { delivered: false },
    becomes: { delivered: true, client: 'other' },
  },
  {
    keys: ['timeout'],
    from: endpoint('held', () => webhook('/held', { timeout: '30s' })),
    to: endpoint('held', () => webhook('/held', { timeout: '1s' })),
    see: async () => (await sendTest('held')).attempt.error?.message,
    becomes: expect.stringMatching('no answer within 1s'),
  },
  {
    keys: ['type', 'level'],
    from: endpoint('any', () => webhook('/any')),
    to: endpoint('any', () => ({ type: 'log', level: 'warn' })),
    async see() {
      const { request } = await sendTest('any');
      const line = daemon.log().findLast(({ msg }) => msg === 'runwatch.test');
      return request?.path ?? line?.level;
    },
    was: '/any',
    becomes: 'warn',
  },
  {
    keys: ['bot_token', 'channel', 'api_url'],
    from: endpoint('bot', () => ({
      type: 'slack',
      bot_token: 'xoxb-old',
      channel: 'C-old',
      api_url: `${plain}/api/old`,
    })),
    to: endpoint('bot', () => ({
      type: 'slack',
      bot_token: 'xoxb-new',
      channel: 'C-new',
      api_url: `${plain}/api/new`,
    })),
    async see() {
      const { path, headers, body } = (await sendTest('bot')).request!;
      const { channel } = JSON.parse(body) as { channel: string };
      return { path, authorization: headers.authorization, channel };
    },
    was: {
      path: '/api/old/chat.postMessage',
      authorization: 'Bearer xoxb-old',
      channel: 'C-old',
    },
    becomes: {
      path: '/api/new/chat.postMessage',
      authorization: 'Bearer xoxb-new',
      channel: 'C-new',
    },
  },
  {
    keys: ['routing_key'],
    from: endpoint('pager', () => ({
      type: 'pagerduty',
      routing_key: 'a'.repeat(32),
      api_url: plain,
    })),
    to: endpoint('pager', () => ({
      type: 'pagerduty',
      routing_key: 'b'.repeat(32),
      api_url: plain,
    })),
    async see() {
      const { body } = (await sendTest('pager')).request!;
      return (JSON.parse(body) as Settings)['routing_key'];
    },
    was: 'a'.repeat(32),
    becomes: 'b'.repeat(32),
  },
  {
    keys: ['host', 'port', 'username', 'password', 'from', 'to'],
    // No server listens at this address.
    from: endpoint('mail', () => mailTo({ host: '127.0.0.2', port: mailServers[0]?.port })),
    to: endpoint('mail', () =>
      mailTo({
        port: mailServers[1]?.port,
        username: 'new',
        password: 'secret',
        from: 'new@example.com',
        to: ['new@example.org'],
      }),
    ),
    async see() {
      const { delivered } = await sendTest('mail');
      const { mails = [], commands = [] } = mailServers[1] ?? {};
      const given = commands.find((line) => line.startsWith('AUTH'))?.split(' ')[2] ?? '';
      const { from, to } = mails.at(-1) ?? {};
      return { delivered, account: atob(given).split('\0').slice(1), from, to };
    },
    was: { delivered: false, account: [] },
    becomes: {
      delivered: true,
      account: ['new', 'secret'],
      from: expect.stringContaining('<new@example.com>'),
      to: ['new@example.org'],
    },
  },
];

const mailTo = (settings: Settings) => ({
  type: 'email',
  host: '127.0.0.1',
  from: 'old@example.com',
  to: ['old@example.org'],
  ...settings,
});

/** More events of one type than are messages of their own. */
const FOLDED = 6;

/** Settings of endpoints that decide which events go there, and when. */
const EVENTS: Row[] = [
  {
    keys: ['events', 'when.workflow_id', 'when.source', 'when.metadata'],
    from: () => ({
      endpoints: {
        'by-event': webhook('/', { events: ['run.completed'] }),
        'by-workflow': webhook('/', { when: { workflow_id: 'wf-none' } }),
        'by-source': webhook('/', { when: { source: 'other' } }),
        'by-metadata': webhook('/', { when: { metadata: { team: 'b' } } }),
      },
    }),
    to: () => ({
      endpoints: {
        'by-event': webhook('/', { events: ['run.failed'] }),
        'by-workflow': webhook('/', { when: { workflow_id: 'wf-when' } }),
        'by-source': webhook('/', { when: { source: 'default' } }),
        'by-metadata': webhook('/', { when: { metadata: { team: 'a' } } }),
      },
    }),
    see: async () =>
      endpointsOf(await watchFailed({ workflow: 'wf-when', metadata: { team: 'a' } })),
    was: ['hooks'],
    becomes: ['by-event', 'by-metadata', 'by-source', 'by-workflow', 'hooks'],
  },
  {
    keys: ['default'],
    from: () => ({ endpoints: { one: webhook('/', { default: true }), two: webhook('/') } }),
    to: () => ({ endpoints: { one: webhook('/'), two: webhook('/', { default: true }) } }),
    see: async () => endpointsOf(await watchFailed()),
    was: ['one'],
    becomes: ['two'],
  },
  {
    keys: ['retry'],
    from: endpoint('refusing', () => webhook('/refused', { retry: ['1h'] })),
    to: endpoint('refusing', () => webhook('/refused', { retry: ['1ms'] })),
    async see() {
      const id = await watchFailed({ endpoints: ['refusing'] });
      return waitFor(async () => {
        const [delivery] = await deliveriesOf(id);
        const { attempt_count: count = 0, next_attempt_at: next = null } = delivery ?? {};
        if (count > 1) return 'tried again';
        const isLater = next !== null && Date.parse(next) > Date.now() + 600_000;
        return count > 0 && isLater && 'tried again after an hour';
      });
    },
    was: 'tried again after an hour',
    becomes: 'tried again',
  },
  {
    keys: ['rate'],
    from: endpoint('slow', () => webhook('/slow', { rate: 0.001 })),
    to: endpoint('slow', () => webhook('/slow')),
    begin: threeFailed('slow'),
    see: async () => requestsAt('/slow').length,
    was: 1,
    becomes: 3,
  },
  {
    keys: ['concurrency'],
    from: endpoint('single', () => webhook('/held', { concurrency: 1, timeout: '30s' })),
    to: endpoint('single', () => webhook('/held', { concurrency: 3, timeout: '30s' })),
    begin: threeFailed('single'),
    see: async () => held.length,
    was: 1,
    becomes: 3,
  },
  {
    keys: ['fold'],
    from: endpoint('chat', () => slack('/folded', { fold: false })),
    to: endpoint('chat', () => slack('/folded', { fold: true })),
    async begin() {
      await call('/v1/endpoints/chat/pause', {});
      await Promise.all(Array.from({ length: FOLDED }, () => watchFailed({ endpoints: ['chat'] })));
      await waitFor(async () => {
        const path = '/v1/deliveries?endpoint=chat&state=parked';
        return (await call<{ data: unknown[] }>(path)).body.data.length === FOLDED;
      });
    },
    async see() {
      await call('/v1/endpoints/chat/resume', {});
      return waitFor(async () => {
        const path = '/v1/deliveries?endpoint=chat&state=delivered';
        const { body } = await call<{ data: unknown[] }>(path);
        return body.data.length === FOLDED && requestsAt('/folded').length;
      });
    },
    becomes: 1,
  },
  {
    keys: ['mentions'],
    from: () => ({
      workflows: { 'wf-owned': { owner: '@ana' } },
      endpoints: { people: slack('/people', { mentions: { '@ana': 'U-OLD' } }) },
    }),
    to: () => ({
      workflows: { 'wf-owned': { owner: '@ana' } },
      endpoints: { people: slack('/people', { mentions: { '@ana': 'U-NEW' } }) },
    }),
    async see() {
      const id = await watchFailed({ workflow: 'wf-owned', endpoints: ['people'] });
      return wordsIn((await arrived('/people', id)).body, '<@U-OLD>', '<@U-NEW>');
    },
    was: ['<@U-OLD>'],
    becomes: ['<@U-NEW>'],
  },
];

const slack = (path: string, settings: Settings = {}) => ({
  type: 'slack',
  url: `${plain}${path}`,
  rate: 1_000,
  ...settings,
});

const ofEndpoints = ({ keys, ...row }: Row): Row => ({
  ...row,
  keys: keys.map((key) => `endpoints.*.${key}`),
});

const FAILED = { events: ['run.failed'], group_by: ['...'], group_wait: '0s' };

/** The alerts of a run of which the endpoint `hooks` is notified. */
const firing = (runId: string) =>
  requestsAt('/hooks')
    .filter(({ body }) => body.includes(runId))
    .map(({ body }) => JSON.parse(body) as { type: string; data: { alert?: Settings } })
    .filter(({ type }) => type === 'alert.firing')
    .map(({ data }) => data.alert ?? {});

const alertsOf = async (rule: string) =>
  (await call<{ data: Settings[] }>(`/v1/alerts?rule=${rule}&state=firing`)).body.data;

/** Workflows of alerts that one may inhibit. */
let inhibited = 0;

/** A run that must wait for the change of its row. */
let waiting = '';

const ROWS: Row[] = [
  ...[...REQUESTS, ...EVENTS].map(ofEndpoints),
  {
    keys: ['delivery.per_endpoint'],
    from: () => ({
      delivery: { per_endpoint: 1 },
      ...endpoint('several', () => webhook('/held', { timeout: '30s' }))(),
    }),
    to: () => ({
      delivery: { per_endpoint: 3 },
      ...endpoint('several', () => webhook('/held', { timeout: '30s' }))(),
    }),
    begin: threeFailed('several'),
    see: async () => held.length,
    was: 1,
    becomes: 3,
  },
  {
    keys: ['workflows.*.name', 'workflows.*.owner', 'workflows.*.run_url'],
    from: () => ({
      workflows: {
        'wf-1': { name: 'OldName', owner: '@old', run_url: 'https://old.test/{run_id}' },
      },
      endpoints: { people: slack('/people') },
    }),
    to: () => ({
      workflows: {
        'wf-1': { name: 'NewName', owner: '@new', run_url: 'https://new.test/{run_id}' },
      },
      endpoints: { people: slack('/people') },
    }),
    async see() {
      const id = await watchFailed({ workflow: 'wf-1', endpoints: ['people'] });
      const words = [
        'OldName',
        '@old',
        'https://old.test/',
        'NewName',
        '@new',
        'https://new.test/',
      ];
      return wordsIn((await arrived('/people', id)).body, ...words);
    },
    was: ['OldName', '@old', 'https://old.test/'],
    becomes: ['NewName', '@new', 'https://new.test/'],
  },
  {
    keys: ['rules'],
    from: () => ({ rules: [{ ...FAILED, name: 'old', notify: ['hooks'] }] }),
    to: () => ({
      rules: [
        {
          ...FAILED,
          name: 'new',
          severity: 'critical',
          annotations: { runbook: 'new' },
          notify: ['hooks'],
        },
      ],
    }),
    async see() {
      const id = await watchFailed({ endpoints: ['hooks'] });
      const [alert] = await waitFor(() => firing(id).length > 0 && firing(id));
      const { rule, severity, annotations } = alert!;
      return { rule, severity, annotations };
    },
    was: { rule: 'old', severity: 'error', annotations: {} },
    becomes: { rule: 'new', severity: 'critical', annotations: { runbook: 'new' } },
  },
  {
    keys: ['time_intervals'],
    from: () => muted({ times: [{ start_time: '00:00', end_time: '24:00' }] }),
    to: () => muted({ years: ['1971'] }),
    async begin() {
      waiting = await watchFailed({ endpoints: ['hooks'] });
      await waitFor(async () => JSON.stringify(await alertsOf('muted')).includes(waiting));
    },
    see: async () => firing(waiting).length,
    was: 0,
    becomes: 1,
  },
  {
    keys: ['inhibit_rules'],
    from: () =>
      inhibiting([{ source_rule: 'cause', target_rule: 'effect', equal: ['workflow_id'] }]),
    to: () => inhibiting([]),
    async see() {
      const workflow = `wf-${(inhibited += 1)}`;
      const id = await watchFailed({ workflow, endpoints: ['hooks'] });
      await waitFor(async () => JSON.stringify(await alertsOf('effect')).includes(id));
      return firing(id)
        .map(({ rule }) => String(rule))
        .toSorted((one, other) => one.localeCompare(other));
    },
    was: ['cause'],
    becomes: ['cause', 'effect'],
  },
  {
    keys: ['sources.*.api_key'],
    from: () => ({}),
    // The configuration has the key that the source knows.
    to: () => ({}),
    begin: async () => noxus.useApiKey('the-key-of-today'),
    see: async () => endpointsOf(await watchFailed()),
    becomes: ['hooks'],
  },
  {
    keys: ['sources.*.headers'],
    from: () => ({}),
    to: () => ({ sources: { ...sourcesOf(), declared: declaredWith('today') } }),
    begin: () => call('/v1/watches', { run_id: 'declared-run', source: 'declared' }),
    see: async () => requestsAt('/declared').at(-1)?.headers['x-key'],
    was: 'yesterday',
    becomes: 'today',
  },
  {
    keys: ['sources.*.rate_limit.requests'],
    from: () => limited({ requests: 1, per: '1h' }),
    to: () => limited({ requests: 1_000, per: '1h' }),
    begin: async () => (waiting = await watchFailed()),
    see: () => endpointsOf(waiting),
    becomes: ['hooks'],
  },
  {
    keys: ['sources.*.rate_limit.per'],
    from: () => limited({ requests: 1, per: '1h' }),
    to: () => limited({ requests: 1, per: '100ms' }),
    begin: async () => (waiting = await watchFailed()),
    see: () => endpointsOf(waiting),
    becomes: ['hooks'],
  },
  {
    keys: ['auth.tokens'],
    from: () => ({ auth: tokensOf({ name: 'ops', token: OLD_TOKEN, scopes: ['read', 'write'] }) }),
    to: () => ({ auth: tokensOf({ name: 'ops', token: NEW_TOKEN, scopes: ['read'] }) }),
    see: () =>
      Promise.all(
        [OLD_TOKEN, NEW_TOKEN].map(async (token) => {
          const body = { run_id: 'run-of-a-token' };
          const read = await call('/v1/watches', undefined, token);
          const write = await call('/v1/watches', body, token);
          return [read.status, write.status < 300 ? 200 : write.status];
        }),
      ),
    was: [
      [200, 200],
      [401, 401],
    ],
    becomes: [
      [401, 401],
      [200, 403],
    ],
  },
  {
    keys: ['log.level'],
    from: () => ({ log: { level: 'info' } }),
    to: () => ({ log: { level: 'debug' } }),
    async see() {
      const before = daemon.log().length;
      await endpointsOf(await watchFailed());
      const lines = daemon.log().slice(before);
      return lines.some(({ level }) => level === 'debug');
    },
    was: false,
    becomes: true,
  },
  {
    keys: ['redis.maxmemory'],
    from: () => ({ redis: { maxmemory: '512mb' } }),
    to: () => ({ redis: { maxmemory: '1gb' } }),
    see: maxMemory,
    was: 512 * 1_024 ** 2,
    becomes: 1_024 ** 3,
  },
];

/** The memory limit of the own Redis of the daemon, in bytes. */
async function maxMemory(): Promise<number> {
  const redis = new Redis(join(daemon.dataDir, 'redis.sock'));
  try {
    const [, bytes] = (await redis.config('GET', 'maxmemory')) as [string, string];
    return Number(bytes);
  } finally {
    redis.disconnect();
  }
}

function muted(interval: Settings): Settings {
  return {
    time_intervals: { quiet: [interval] },
    rules: [{ ...FAILED, name: 'muted', notify: ['hooks'], mute_time_intervals: ['quiet'] }],
  };
}

function inhibiting(inhibit_rules: Settings[]): Settings {
  const rule = { ...FAILED, group_by: ['workflow_id'], notify: ['hooks'] };
  return {
    rules: [
      { ...rule, name: 'cause' },
      { ...rule, name: 'effect' },
    ],
    inhibit_rules,
  };
}

const limited = (rate_limit: Settings) => ({
  sources: sourcesOf({ rate_limit }),
});

test.each(ROWS.map((row) => [row.keys.join(', '), row] as const))(
  'a running daemon takes by SIGHUP: %s',
  async (_, { from, to, begin, see, was, becomes }) => {
    await reload(from());
    await begin?.();
    const sees = (what: unknown) =>
      waitFor(async () => {
        expect(await see()).toEqual(what);
        return true;
      });
    if (was !== undefined) await sees(was);
    await reload(to());
    await sees(becomes);
    for (const response of held.splice(0)) response.end();
  },
);

/** The keys under a setting as `changed` names them: lists count as a whole. */
function keysUnder(schema: z.core.$ZodType, path: string): string[] {
  const inner = unwrap(schema);
  if (inner instanceof z.ZodDiscriminatedUnion) {
    return [...new Set(inner.options.flatMap((option) => keysUnder(option, path)))];
  }
  if (inner instanceof z.ZodObject) {
    return Object.entries(inner.shape).flatMap(([key, child]) =>
      keysUnder(child, `${path}.${key}`),
    );
  }
  if (!(inner instanceof z.ZodRecord)) return [path];
  const keys = keysUnder(inner.valueType, `${path}.*`);
  return keys.length > 1 ? keys : [path];
}

test('each key that a reload takes is changed on a running daemon by a test of its own', () => {
  const all = keysUnder(configSchema, '').map((path) => path.slice(1));
  const taken = all.filter((key) =>
    RELOADED_SETTINGS.some((setting) => key === setting || key.startsWith(`${setting}.`)),
  );
  expect(ROWS.flatMap(({ keys }) => keys).toSorted()).toEqual(taken.toSorted());
});
