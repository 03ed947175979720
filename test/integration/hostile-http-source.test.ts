import { rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { constants, createBrotliCompress, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { isPlain } from '../../src/core/control-characters.ts';
import type { EndpointType } from '../../src/core/delivery/delivery.ts';
import type { RunwatchEvent } from '../../src/core/event/event.ts';
import { closeServer, listenOnLoopback } from '../../src/simulator/http-io.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { RECEIVERS } from '../support/endpoint-models.ts';
import { messageOf } from '../support/messages.ts';
import { tempDir } from '../support/daemon-process.ts';
import { growthWhile } from '../support/heap.ts';
import { startInside } from '../support/inside-daemon.ts';
import { testRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

/** Answers one read of one run; `response.socket` takes what is no HTTP. */
type Answer = (response: ServerResponse, id: string) => void;

interface WatchJson {
  state: string;
  polls: number;
  workflow_name: string | null;
  run_url: string | null;
  run: { status: string; progress: number | null; workflow_id: string | null } & Record<
    'created_at' | 'started_at' | 'finished_at',
    string | null
  >;
  error: { code: string; message: string } | null;
}

/** How long a read may take. */
const TIMEOUT = '2s';

const MEBIBYTE = 1_048_576;

/** What a body of that many bytes may add to what the process holds, of which the test's server has its part. */
const mostHeld = (bytes: number) => 12 * MEBIBYTE + bytes / 4;

let receiver: Receiver;
let server: Server;
let other: Server;
/** Bytes of the floods of a test, decompressed. */
let flooded: number;
/** What was asked of another server than the source. */
let strays: string[] = [];
/** 512 MiB of one character. */
let brotliBomb: Buffer;
/** Cookies that the source got. */
let cookies: string[] = [];
let daemon: Awaited<ReturnType<typeof startInside>>;
let dataDir: string;
let answers: Map<string, Answer>;
/** Answers a read of a list, by how many items stand before the page. */
let listed: (response: ServerResponse, offset: number) => void;
let runs = 0;

beforeAll(async () => {
  receiver = await startReceiver({ secrets: [] });
  dataDir = await tempDir();
  answers = new Map();
  server = createServer((request, response) => {
    const [, page] = /^\/list\/runs\?limit=\d+&offset=(\d+)$/.exec(request.url ?? '') ?? [];
    if (page !== undefined) return listed(response, Number(page));
    const id = idOf(request);
    cookies.push(...(request.headers.cookie === undefined ? [] : [request.headers.cookie]));
    // What a client that hangs up leaves is none of the test.
    response.on('error', () => undefined);
    (answers.get(id) ?? says({ status: 'busy' }))(response, id);
  });
  other = createServer(({ url = '' }, response) => {
    strays.push(url);
    response.end('{}');
  });
  brotliBomb = await brotliBombOf(512);
  const url = await listenOnLoopback(server, { port: 0, host: '127.0.0.1' });
  await listenOnLoopback(other, { port: 0, host: '127.0.0.1' });
  const redis = testRedis();
  daemon = await startInside({
    data_dir: dataDir,
    redis: { url: redis.url, prefix: redis.prefix },
    sources: {
      ci: {
        type: 'http',
        base_url: `${url}/v1`,
        headers: { authorization: 'Bearer secret-of-this-test' },
        id: '{project}/{run}',
        run: {
          get: '/{project}/runs/{run}',
          id: '$.id',
          status: ['$.conclusion', '$.status'],
          workflow: '$.workflow',
          workflow_name: '$.name',
          created: '$.created',
          started: '$.started',
          finished: '$.finished',
          progress: '$.progress',
        },
        states: { running: ['busy'], completed: ['done'], awaiting_human_feedback: ['waiting'] },
        errors: { rate_limit_remaining: 'x-left', rate_limit_reset: 'x-reset' },
        conditional: true,
        timeout: TIMEOUT,
        rate_limit: { requests: 1_000, per: '1s' },
        run_url: 'https://ci.example/{project}/{workflow_id}#{run}',
      },
      lister: {
        type: 'http',
        base_url: `${url}/list`,
        run: { get: '/runs/{run}', id: '$.id', status: '$.status', created: '$.created' },
        states: { running: ['busy'], completed: ['done'] },
        list: { get: '/runs?limit={size}&offset={offset}', items: '$.items', id: '$.id', size: 10 },
        discover: { every: '200ms' },
        timeout: TIMEOUT,
        rate_limit: { requests: 100, per: '1s' },
      },
    },
    polling: { min_interval: '50ms', max_interval: '250ms', gone_after: '1h' },
    endpoints: { hooks: { type: 'webhook', url: receiver.url, events: ['run.*', 'source.*'] } },
  });
});

afterAll(async () => {
  await daemon.stop();
  await receiver.close();
  await Promise.all([server, other].map(closeServer));
  await rm(dataDir, { recursive: true });
});

beforeEach(() => {
  answers.clear();
  listed = (response) => sendText(response, '{"items":[]}');
  strays = [];
  cookies = [];
});

/** The last part of the id that a request asks for. */
function idOf({ url = '' }: IncomingMessage): string {
  return decodeURIComponent(url.slice(url.indexOf('/runs/') + '/runs/'.length));
}

function says(fields: Record<string, unknown>): Answer {
  return (response, id) => sendText(response, JSON.stringify({ id, ...fields }));
}

function sendText(response: ServerResponse, body: string | Buffer, headers = {}): void {
  response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(body);
}

/** The answer of a run with `instead` in the place of its status. */
function saysText(instead: (id: string) => string | Buffer, headers = {}): Answer {
  return (response, id) => sendText(response, instead(id), headers);
}

/** So many MiB of one character; made piece by piece, so that it takes no memory. */
async function brotliBombOf(mebibytes: number): Promise<Buffer> {
  const zip = createBrotliCompress({ params: { [constants.BROTLI_PARAM_QUALITY]: 1 } });
  const mebibyte = Buffer.alloc(MEBIBYTE, 'x');
  Readable.from(Array.from({ length: mebibytes }, () => mebibyte)).pipe(zip);
  return buffer(zip);
}

/** Registers a run with that answer. @returns its id at the source */
async function watch(answer: Answer): Promise<string> {
  const id = `r${++runs}`;
  answers.set(id, answer);
  const response = await call('watches', { run_id: `p/${id}`, source: 'ci' });
  expect(response.status).toBe(201);
  return id;
}

async function call(path: string, body?: object): Promise<Response> {
  return fetch(`${daemon.url}/v1/${path}`, {
    ...(body && {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
    }),
  });
}

async function watchOf(id: string): Promise<WatchJson> {
  const response = await call(`watches/${encodeURIComponent(`p/${id}`)}`);
  return (await response.json()) as WatchJson;
}

async function waitForWatch(id: string, isGood: (watch: WatchJson) => boolean): Promise<WatchJson> {
  let last: WatchJson | null = null;
  return waitFor(
    async () => {
      last = await watchOf(id);
      return isGood(last) ? last : null;
    },
    { describe: () => `run ${id}, which is ${JSON.stringify(last)}` },
  );
}

interface Told {
  type: string;
  timestamp: string;
  data: { run_id: string; workflow_name: string | null; run_url: string | null };
}

const toldOf = (id: string): Told[] =>
  receiver.received
    .map(({ body }) => JSON.parse(body) as Told)
    .filter(({ data }) => data.run_id === `p/${id}`);

/** Has the run polled until it is told to have ended. @returns the types of all its events */
async function end(id: string): Promise<string[]> {
  answers.set(id, says({ status: 'done' }));
  await waitFor(
    async () => {
      await pollNow(id);
      return toldOf(id).some(({ type }) => type === 'run.completed');
    },
    { describe: `the end of ${id}` },
  );
  return toldOf(id).map(({ type }) => type);
}

/** What failed is tried again ever more seldom, so that a test asks for it. */
async function pollNow(id: string): Promise<void> {
  await call(`watches/${encodeURIComponent(`p/${id}`)}/poll`, {});
}

/** Writes the same piece until the client has enough. `bytes`: of the piece, decompressed */
function flood(response: ServerResponse, piece: Buffer, bytes = piece.length): void {
  const write = () => {
    while (!response.destroyed && response.socket?.destroyed === false) {
      flooded += bytes;
      if (!response.write(piece)) return void response.once('drain', write);
    }
  };
  write();
}

/** Writes a piece now and then until the client hangs up. */
function drip(response: ServerResponse, everyMs: number, piece: string): void {
  const { socket } = response;
  const timer = setInterval(() => {
    if (socket === null || socket.destroyed) clearInterval(timer);
    else socket.write(piece);
  }, everyMs);
}

const raw =
  (text: string): Answer =>
  ({ socket }) =>
    void socket?.end(text);

const INVALID = 'the body is not valid JSON';
const ENCODED = 'the body is encoded in a way that is not known';
/** What is said of an answer that a busy machine has not begun, or not read, in time. */
const UNANSWERED = 'timed out after 2s waiting for the answer';
const UNREAD = 'timed out after 2s reading the body of the answer';

/** A watch with the message of a read, other than those. */
function waitForMessage(id: string, ...late: readonly string[]): Promise<WatchJson> {
  return waitForWatch(id, ({ error }) => error !== null && !late.includes(error.message));
}

test.each<[string, Answer, string | RegExp]>([
  ['no body', (response) => sendText(response, ''), 'the body is empty'],
  [
    '304 that was not asked for',
    (response) => void response.writeHead(304).end(),
    'status 304 to a request that named no tag',
  ],
  ['101', raw('HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'), UNANSWERED],
  ['a status of no kind', raw('HTTP/1.1 999 x\r\ncontent-length: 0\r\n\r\n'), 'status 999'],
  ['a status of five digits', raw('HTTP/1.1 20000 x\r\ncontent-length: 0\r\n\r\n'), /is not HTTP/],
  [
    'another run',
    says({ id: 'other', status: 'done' }),
    '$.id (id): another run than the one that was asked for',
  ],
  [
    'a number in exponents in place of the id',
    saysText(() => '{"id":1e400,"status":"done"}'),
    '$.id (id): another run than the one that was asked for',
  ],
  [
    'an object in place of the id',
    says({ id: {}, status: 'done' }),
    '$.id (id): nothing stands there',
  ],
  [
    'a status of 2,000 characters',
    says({ status: 'x'.repeat(2_000) }),
    /^\$\.conclusion, \$\.status \(status\): nothing/,
  ],
  [
    'UTF-16',
    (response, id) =>
      sendText(response, Buffer.from(`\ufeff{"id":"${id}","status":"done"}`, 'utf16le')),
    INVALID,
  ],
  ['NUL in a text', saysText((id) => `{"id":"${id}","status":"done\0"}`), INVALID],
  ['a document behind another', saysText((id) => `{"id":"${id}","status":"done"}{}`), INVALID],
  [
    'nesting that does not end',
    saysText((id) => `{"id":"${id}","status":"done","x":${'['.repeat(3_000_000)}`),
    /^the JSON is cut off after 3\d+ bytes$/,
  ],
  [
    'hundreds of thousands of members',
    saysText((id) => `{"id":"${id}",${'"a":1,'.repeat(300_000)}"status":"done"}`),
    'the JSON has too many values beside those that are read',
  ],
  [
    'an encoding that is none',
    (response, id) => sendText(response, `{"id":"${id}"}`, { 'content-encoding': 'canary' }),
    ENCODED,
  ],
  [
    'gzip that is none',
    (response, id) => sendText(response, `{"id":"${id}"}`, { 'content-encoding': 'gzip' }),
    /sends a body that is not compressed as it says/,
  ],
  [
    'gzip in gzip',
    (response, id) =>
      sendText(response, gzipSync(gzipSync(`{"id":"${id}"}`)), {
        'content-encoding': 'gzip, gzip',
      }),
    ENCODED,
  ],
  [
    'another type',
    (response) => sendText(response, 'hello', { 'content-type': 'application/canary' }),
    'the body is not JSON but of another type',
  ],
  [
    'a tag of 1 MiB',
    raw(`HTTP/1.1 200 OK\r\netag: "${'x'.repeat(MEBIBYTE)}"\r\n\r\n{}`),
    /headers that are too large/,
  ],
  [
    '10,000 headers',
    raw(`HTTP/1.1 200 OK\r\n${'a: b\r\n'.repeat(10_000)}\r\n`),
    /headers that are too large/,
  ],
  [
    'two lengths',
    raw('HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'),
    /is not HTTP/,
  ],
  ['no answer', () => undefined, UNANSWERED],
  [
    'a head that does not end',
    (response) => drip(response, 50, 'HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n'),
    /^timed out after 2s/,
  ],
  [
    'a body of a byte at a time',
    (response) => {
      response.writeHead(200).flushHeaders();
      drip(response, 50, '1\r\n[\r\n');
    },
    UNREAD,
  ],
])('an answer that is none says why, and hides no end: %s', async (_, answer, message) => {
  const id = await watch(answer);
  const late = /timed out/.test(String(message)) ? [] : [UNANSWERED, UNREAD];
  const { error, run, state } = await waitForMessage(id, ...late);
  expect([run, state]).toEqual([null, 'active']);
  if (typeof message === 'string') expect(error?.message).toBe(message);
  else expect(error?.message).toMatch(message);
  expect(JSON.stringify(error)).not.toContain('canary');
  expect(await end(id)).toEqual(['run.completed']);
});

const DOCUMENTS: [string, (response: ServerResponse, id: string) => void][] = [
  [
    'a body without end',
    (response, id) => {
      response.write(`{"id":"${id}","status":"done","x":["`);
      flood(response, Buffer.alloc(65_536, 'x'));
    },
  ],
  [
    'items without end',
    (response, id) => {
      response.write(`{"id":"${id}","status":"done","x":[`);
      flood(response, Buffer.alloc(65_536, '{"a":1},'));
    },
  ],
  [
    'a status without end',
    (response, id) => {
      response.setHeader('content-encoding', 'gzip');
      response.write(gzipSync(`{"id":"${id}","status":"`));
      flood(response, gzipSync(Buffer.alloc(MEBIBYTE, 'x')), MEBIBYTE);
    },
  ],
  [
    'nesting without end',
    (response, id) => {
      response.write(`{"id":"${id}","status":"done","x":`);
      flood(response, Buffer.alloc(65_536, '[{"a":'));
    },
  ],
  [
    'names without end',
    (response, id) => {
      response.write(`{"id":"${id}","status":"done"`);
      flood(response, Buffer.alloc(64_000, ',"\\u0061":"b"'.repeat(100)));
    },
  ],
  [
    'a gzip bomb',
    (response, id) => {
      response.setHeader('content-encoding', 'gzip');
      response.write(gzipSync(`{"id":"${id}","status":"done","x":["`));
      flood(response, gzipSync(Buffer.alloc(MEBIBYTE, 'x')), MEBIBYTE);
    },
  ],
  ['a brotli bomb', (response) => sendText(response, brotliBomb, { 'content-encoding': 'br' })],
  [
    'an error without end',
    (response) => {
      response.writeHead(404, { 'content-type': 'application/json' });
      flood(response, Buffer.alloc(65_536, '{"x":'));
    },
  ],
];

test.each(DOCUMENTS)(
  'an answer of any size takes bounded memory, and hides no end: %s',
  async (_, answer) => {
    // What is loaded by a first run of all is nobody's answer.
    await end(await watch(says({ status: 'busy' })));
    flooded = 0;
    const growth = await growthWhile(async () => {
      const id = await watch(answer);
      const { run, state, error } = await waitForMessage(id, UNANSWERED);
      expect([run, state]).toEqual([null, 'active']);
      expect(error?.message).toMatch(
        /^(timed out after 2s reading the body|the answer is too large: given up after|status 404|the body is not valid JSON$)/,
      );
      expect(await end(id)).toEqual(['run.completed']);
    });
    expect(growth).toBeLessThan(mostHeld(flooded));
  },
);

test.each<[string, Answer, Record<string, unknown>]>([
  [
    'a byte order mark',
    saysText((id) => `\ufeff{"id":"${id}","status":"busy"}`),
    { status: 'running' },
  ],
  [
    'names that occur twice',
    saysText((id) => `{"id":"x","id":"${id}","status":"done","status":"busy"}`),
    { status: 'running' },
  ],
  [
    'names of the prototype',
    saysText(
      (id) =>
        `{"__proto__":{"status":"done"},"id":"${id}","status":"constructor","workflow":"__proto__"}`,
    ),
    { status: 'constructor', workflow_id: '__proto__' },
  ],
  [
    'a status with hidden characters',
    says({ status: 'a\0\ud800\u202eb\u{e0041}' }),
    { status: 'a \ufffd b' },
  ],
  ['a status of ours', says({ status: 'failed' }), { status: 'unmapped_failed' }],
  [
    'latin1',
    (response, id) =>
      sendText(response, Buffer.from(`{"id":"${id}","status":"\xe9"}`, 'latin1'), {
        'content-type': 'application/json; charset=iso-8859-1',
      }),
    { status: '\ufffd' },
  ],
  [
    'times of other ages',
    says({
      status: 'busy',
      created: '+275760-09-13T00:00:00Z',
      started: '9999-12-31T23:59:59-23:59',
      finished: -1,
    }),
    { created_at: null, started_at: null, finished_at: null },
  ],
  [
    'times that are no numbers',
    says({
      status: 'busy',
      created: 8.64e15,
      started: '1e999',
      finished: '-271821-04-20T00:00:00Z',
    }),
    { created_at: null, started_at: null, finished_at: null },
  ],
  [
    'a time before the year 0',
    says({ status: 'busy', created: '0000-01-01T00:00:00+23:59', started: '0001-01-01' }),
    { created_at: null, started_at: null },
  ],
  ['progress of 1e308', says({ status: 'busy', progress: 1e308 }), { progress: 100 }],
  ['progress below 0', says({ status: 'busy', progress: -1e308 }), { progress: 0 }],
  [
    'progress beyond all numbers',
    saysText((id) => `{"id":"${id}","status":"busy","progress":1e999}`),
    { progress: null },
  ],
  ['progress in words', says({ status: 'busy', progress: 'NaN' }), { progress: null }],
  [
    'a workflow of 1,024 characters',
    says({ status: 'busy', workflow: 'w'.repeat(1_024) }),
    { workflow_id: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) },
  ],
  [
    'a workflow of 1 MiB',
    says({ status: 'busy', workflow: 'w'.repeat(MEBIBYTE) }),
    { workflow_id: null },
  ],
])('an odd answer is read as it is declared, and hides no end: %s', async (_, answer, expected) => {
  const id = await watch(answer);
  const { run, error } = await waitForWatch(id, (one) => one.run !== null);
  expect([run, error]).toMatchObject([expected, null]);
  const types = await end(id);
  expect(types.filter((type) => type !== 'run.status_unknown')).toEqual(['run.completed']);
});

test('numbers beyond 2^53 name the run that they are, and no other', async () => {
  const near = '9007199254740993';
  answers.set(
    near,
    saysText(() => '{"id":9007199254740993,"status":"done"}'),
  );
  const far = '9007199254740995';
  answers.set(
    far,
    saysText(() => '{"id":9007199254740996,"status":"done"}'),
  );
  await call('watches/batch', {
    watches: [near, far].map((own) => ({ run_id: `p/${own}`, source: 'ci' })),
  });
  await waitFor(() => toldOf(near).length > 0);
  expect((await waitForWatch(far, ({ error }) => error !== null)).run).toBeNull();
  expect(await end(far)).toEqual(['run.completed']);
});

test.each<[string, string | undefined]>([
  ['that is cut within a character', `${'x'.repeat(127)}😀y`],
  ['of 1 MiB', 'x'.repeat(MEBIBYTE)],
  ['with hidden characters', 'a\0\ud800\u202eb\u{e0041}\r\nBcc: x@example.com'],
])('a name of a workflow %s is shown as far as it can be', async (_, name) => {
  const id = await watch(says({ status: 'busy', workflow: `w${runs}`, name }));
  await waitForWatch(id, ({ run }) => run !== null);
  answers.set(id, says({ status: 'done', workflow: `w${runs}`, name }));
  await waitFor(() => toldOf(id).length > 0);
  const shown = [
    (await watchOf(id)).workflow_name,
    ...toldOf(id).map(({ data }) => data.workflow_name),
  ];
  for (const text of shown)
    expect(text === null || (isPlain(text) && text.length <= 128)).toBe(true);
  expect(toldOf(id).map(({ type }) => type)).toEqual(['run.completed']);
});

test('a run that is different at each read makes few events, and its end is one of them', async () => {
  let reads = 0;
  const id = await watch((response, own) => {
    reads += 1;
    const status = reads % 2 === 0 ? `made-up-${reads}` : 'waiting';
    says({
      status,
      workflow: `w${reads}`,
      name: `n${reads}`,
      created: reads * 1e9,
    })(response, own);
  });
  await waitFor(() => reads > 40);
  const types = await end(id);
  const count = (wanted: string) => types.filter((type) => type === wanted).length;
  expect(count('run.status_unknown')).toBeLessThanOrEqual(3);
  expect(count('run.awaiting_human_feedback')).toBeLessThanOrEqual(3);
  expect(count('run.completed')).toBe(1);
});

test.each<[string, Record<string, string>]>([
  ['302', { location: '' }],
  [
    '200',
    {
      location: '',
      link: '',
      refresh: '',
      'operation-location': '',
      'content-location': '',
      'alt-svc': '',
    },
  ],
])('no address in an answer is asked for: %s', async (status, names) => {
  const { port } = other.address() as AddressInfo;
  const target = `http://127.0.0.1:${port}/stray`;
  const id = await watch((response, own) => {
    for (const name of Object.keys(names)) response.setHeader(name, target);
    response.setHeader('set-cookie', 'session=canary');
    response.statusCode = Number(status);
    response.end(
      JSON.stringify({ id: own, status: 'busy', workflow: target, next: target, url: target }),
    );
  });
  await waitForWatch(id, ({ polls }) => polls > 1);
  expect(await end(id)).toEqual(['run.completed']);
  expect([strays, cookies]).toEqual([[], []]);
});

test.each(['p/../q', 'p//q', 'p/%2e%2e%2fq', 'p/a%5cb', 'p\\q', 'p/.', './q', 'p'])(
  'an id that leads elsewhere is refused: %s',
  async (run_id) => {
    expect((await call('watches', { run_id, source: 'ci' })).status).toBe(422);
  },
);

test('the address of a run stays on the configured host, whatever its parts are', async () => {
  for (const [at, part] of [
    'javascript:alert(1)',
    '@evil.example',
    '?x=1#y',
    "'><script>",
  ].entries()) {
    const workflow = `//evil.example/${part}`;
    const run_id = `${part}/r-url-${at}`;
    answers.set(`r-url-${at}`, says({ status: 'done', workflow }));
    expect((await call('watches', { run_id, source: 'ci' })).status).toBe(201);
    const event = await waitFor(() =>
      receiver.received
        .map(({ body }) => JSON.parse(body) as Told)
        .find(({ data }) => data.run_id === run_id),
    );
    const url = new URL(event.data.run_url ?? '');
    expect([url.origin, url.username, url.search]).toEqual(['https://ci.example', '', '']);
    expect(event.data.run_url).toMatch(/^[!#$&'()*+,\-./0-9:;=?@A-Z_a-z~%]*$/);
  }
});

test.each<[string, number, Record<string, string>]>([
  ['Retry-After of a year', 429, { 'retry-after': '31536000' }],
  ['Retry-After of 400 digits', 429, { 'retry-after': '9'.repeat(400) }],
  ['a reset in thousands of years', 403, { 'x-left': '0', 'x-reset': '99999999999' }],
  ['a reset in the past', 403, { 'x-left': '0', 'x-reset': '1000000001' }],
])(
  'a source is paused for a quarter of an hour at most, and never for no time: %s',
  async (_, status, headers) => {
    let reads = 0;
    const id = await watch((response) => {
      reads += 1;
      response.writeHead(status, headers).end('{}');
    });
    interface SourceJson {
      data: Record<'state' | 'since' | 'message' | 'paused_until', string | null>[];
    }
    const paused = await waitFor(async () => {
      const {
        data: [source],
      } = (await (await call('sources')).json()) as SourceJson;
      return source?.state === 'paused' ? source : null;
    });
    const until = Date.parse(paused.paused_until ?? '');
    expect(until - Date.parse(paused.since ?? '')).toBeGreaterThanOrEqual(5_000);
    expect(until - Date.now()).toBeLessThanOrEqual(900_000);
    expect(paused.message).toMatch(/^status 4\d\d(, asks for (86400|\d{1,4}) s)?$/);
    expect(reads).toBeLessThanOrEqual(3);
    answers.set(id, says({ status: 'busy' }));
    expect((await call('sources/ci/resume', {})).status).toBe(200);
    expect(await end(id)).toEqual(['run.completed']);
  },
);

/** One of the same runs over and over, which seem to have begun only now. */
const itemOf = (at: number) =>
  JSON.stringify({ id: `item-${at % 20}`, status: 'busy', created: new Date().toISOString() });

test.each<[string, typeof listed]>([
  [
    'items',
    (response) => {
      response.write(`{"items":[${itemOf(0)}`);
      flood(response, Buffer.from(`,${itemOf(1)}`.repeat(1_000)));
    },
  ],
  [
    'pages',
    (response, offset) => {
      const items = Array.from({ length: 10 }, (_, at) => itemOf(offset + at));
      sendText(response, `{"items":[${items.join()}]}`);
    },
  ],
])('a list without end hides no end: %s', async (_, answer) => {
  let pages = 0;
  listed = (response, offset) => {
    pages += 1;
    answer(response, offset);
  };
  flooded = 0;
  const growth = await growthWhile(async () => {
    const run_id = `listed-${++runs}`;
    expect((await call('watches', { run_id, source: 'lister' })).status).toBe(201);
    await waitFor(() => pages > 2);
    answers.set(run_id, says({ status: 'done' }));
    await waitFor(() =>
      receiver.received.some(({ body, type }) => type === 'run.completed' && body.includes(run_id)),
    );
  });
  expect(growth).toBeLessThan(mostHeld(flooded));
});

const MARKUP =
  '<!channel> @everyone <at>x</at> [a](https://evil.example) <img src=x> <https://evil.example|b>';

/** What of such a name a message must not hold, since its service would act on it. */
const LIVE: Partial<Record<EndpointType, RegExp>> = {
  slack: /<(?!https:\/\/ci\.example\/|!date\^)/,
  teams: /\[a\]\(|"entities"/,
  discord: /\[a\]\(|"parse":\[[^\]]/,
  email: /^bcc:|text\/html[^]*<(img|at|!)/im,
  pagerduty: /"images"|"html"/,
};

test.each(RECEIVERS)(
  'a message to $name mentions and embeds nothing that a source names',
  async ({ start, type }) => {
    const id = await watch(
      says({ status: 'done', workflow: MARKUP, name: `${MARKUP}\r\nBcc: x@evil.example` }),
    );
    const event = await waitFor(() =>
      receiver.received
        .map(({ body }) => JSON.parse(body) as RunwatchEvent)
        .find(({ data }) => data.run_id === `p/${id}`),
    );
    expect(event.data.workflow_name).toBe(`${MARKUP}  Bcc: x@evil.example`);
    const service = await start();
    try {
      await service.channel.send(messageOf(event));
      const sent = service.messages().join('\n');
      // Of a card this is plain text.
      const text = sent.replace(/"fallbackText":"[^"]*"/, '');
      expect(text).toContain('everyone');
      expect(text).not.toMatch(LIVE[type] ?? /^/);
    } finally {
      await service.close();
    }
  },
);
