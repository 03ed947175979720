import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { RunwatchError } from '../../src/core/errors.ts';
import { runCli } from '../support/cli-harness.ts';
import {
  problem,
  startFakeDaemon,
  type FakeAnswer,
  type FakeDaemon,
} from '../support/fake-daemon.ts';

/** Every verb that asks the daemon, with what it exits with when it cannot do its work. */
const VERBS: [string[], string, number][] = [
  [['watch', 'run-1'], 'POST /v1/watches/batch', 1],
  [['watch', 'run-1', '--wait'], 'POST /v1/watches/batch', 5],
  [['unwatch', 'run-1'], 'DELETE /v1/watches/run-1', 1],
  [['ack', 'run-1'], 'POST /v1/watches/run-1/acknowledge', 1],
  [['ack', 'alr_1'], 'POST /v1/alerts/alr_1/acknowledge', 1],
  [['list'], 'GET /v1/watches', 1],
  [['show', 'run-1'], 'GET /v1/watches/run-1', 1],
  [['events'], 'GET /v1/events', 1],
  [['events', '--follow'], 'GET /v1/events/stream', 1],
  [['deliveries'], 'GET /v1/deliveries', 1],
  [['deliveries', 'dlv_1'], 'GET /v1/deliveries/dlv_1', 1],
  [['redeliver', 'dlv_1'], 'POST /v1/deliveries/dlv_1/redeliver', 1],
  [['redeliver', '--state', 'dead', '--yes'], 'POST /v1/deliveries/redeliver', 1],
  [['endpoints'], 'GET /v1/endpoints', 1],
  [['endpoints', 'test', 'ops'], 'POST /v1/endpoints/ops/test', 1],
  [['endpoints', 'pause', 'ops'], 'POST /v1/endpoints/ops/pause', 1],
  [['endpoints', 'resume', 'ops'], 'POST /v1/endpoints/ops/resume', 1],
  [['endpoints', 'retry', 'ops'], 'POST /v1/endpoints/ops/retry', 1],
  [['endpoints', 'rotate', 'ops'], 'POST /v1/endpoints/ops/rotate', 1],
  [['wait', 'run-1'], 'GET /v1/watches/run-1', 5],
];

let unusedPort: number;
let daemon: FakeDaemon;

beforeAll(async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  unusedPort = (server.address() as AddressInfo).port;
  server.close();
  daemon = await startFakeDaemon();
});
afterAll(() => daemon.close());

describe.each(VERBS)('runwatch %j', (args, route, failure) => {
  test(`runwatch ${args[0]} without a daemon says how to start one`, async () => {
    const url = `http://127.0.0.1:${unusedPort}`;
    const result = await runCli(args, { env: { RUNWATCH_URL: url } });
    expect(result.exitCode).toBe(failure);
    expect(result.stdout).toBe('');
    expect(result.stderr).toContain(
      `error: no daemon answers at ${url}; start one with \`runwatch serve\`, or set RUNWATCH_URL`,
    );
  });

  const answers: [string, FakeAnswer, string][] = [
    ['a 401', problem(401, 'unauthorized', 'no'), 'set RUNWATCH_API_TOKEN'],
    ['a 403', problem(403, 'forbidden', 'the token may not write'), 'the token may not write'],
    ['a 500', problem(500, 'internal', 'something broke'), 'answers 500: something broke'],
    ['a 503', problem(503, 'redis_away', 'Redis is away'), 'answers 503: Redis is away'],
    [
      'a 422',
      problem(422, 'invalid_request', 'not valid', [{ path: 'query.limit', message: 'too big' }]),
      'error: not valid\n  - limit: too big',
    ],
    ['HTML', { status: 200, body: '<html>', contentType: 'text/html' }, 'not look like a runwatch'],
    ['other JSON', { status: 200, body: { hello: 1 } }, 'not look like a runwatch'],
    [
      'HTML with 502',
      { status: 502, body: '<html>', contentType: 'text/html' },
      'a proxy answers 502',
    ],
    [
      'HTML with 503',
      { status: 503, body: '<html>', contentType: 'text/html' },
      'a proxy answers 503',
    ],
    ['other JSON with 504', { status: 504, body: { message: 'late' } }, 'a proxy answers 504'],
    ['nothing with 502', { status: 502 }, 'a proxy answers 502'],
    [
      'HTML with 500',
      { status: 500, body: '<html>', contentType: 'text/html' },
      'not look like a runwatch',
    ],
    ['a redirect', { status: 302 }, 'not look like a runwatch'],
    ['a 404 of a web server', { status: 404, body: 'Not found' }, 'not look like a runwatch'],
    ['a 404 of an API', { status: 404, body: { error: 'no route' } }, 'not look like a runwatch'],
  ];

  test.each(answers)('%s becomes one sentence', async (_name, answer, sentence) => {
    daemon.on(route, answer);
    const result = await runCli(args, { env: { RUNWATCH_URL: daemon.url } });
    expect(result.stderr).toContain(sentence);
    expect(result.stderr).toMatch(/^error: /);
    expect(result.stderr).not.toMatch(/\n {4}at /);
    // What the daemon refuses because of what it was asked is a usage error in every verb.
    expect(result.exitCode).toBe(answer.status === 422 ? 2 : failure);
    expect(result.stdout).toBe('');
  });
});

test('a verb waits as long as a 429 says, and asks again', async () => {
  const away = problem(429, 'too_many_requests', 'other listings are at work');
  const answers = [
    { ...away, headers: { 'retry-after': '1' } },
    { ...away, headers: { 'retry-after': '0' } },
    { status: 200, body: { data: [], next_cursor: null } },
  ];
  daemon.on('GET /v1/silences', () => answers.shift() ?? away);
  const result = await runCli(['silence', 'list', '--json'], { env: { RUNWATCH_URL: daemon.url } });
  expect(result).toMatchObject({ exitCode: 0, stderr: '' });
  expect(answers).toEqual([]);
});

test.each([
  ['without a time', {}],
  ['with a long time', { 'retry-after': '600' }],
])('a 429 %s becomes one sentence', async (_which, headers) => {
  daemon.on('GET /v1/silences', { ...problem(429, 'too_many_requests', 'not now'), headers });
  const result = await runCli(['silence', 'list'], { env: { RUNWATCH_URL: daemon.url } });
  expect(result).toMatchObject({ exitCode: 1, stdout: '' });
  expect(result.stderr).toContain('answers 429: not now');
});

test('a daemon that speaks no TLS at an https URL counts as unreachable', async () => {
  const url = daemon.url.replace('http:', 'https:');
  const { exitCode, stderr } = await runCli(['list'], { env: { RUNWATCH_URL: url } });
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/^error: no daemon answers at https:.* \((EPROTO|ERR_SSL_\w+)\)/);
});

describe('a call that is wrong exits 2', () => {
  test.each([
    [[], 'Usage: runwatch'],
    [['lst'], 'Did you mean list?'],
    [['list', '--sate', 'active'], 'Did you mean --state?'],
    [['list', '--state', 'asleep'], 'Expected active, finished'],
    [['list', '--limit', '0'], 'Expected a whole number from 1'],
    [['list', 'surplus'], 'too many arguments'],
    [['list', '--url', 'ftp://x'], 'http:// or https://'],
    [['show'], "missing required argument 'run-id'"],
    [['show', '../x'], 'is not a run id'],
    [['watch'], 'no run id was given'],
    [['watch', 'a b'], 'is not a run id'],
    [['watch', 'x', '--meta', 'novalue'], 'Expected key=value'],
    [
      ['watch', 'x', '--webhook', 'https://x', '--event', 'run.fialed'],
      'No event is ever of this type',
    ],
    [['watch', 'x', '--event', 'run.failed'], '--event says what --webhook hears of'],
    [['watch', 'x', '--timeout', '5'], 'a duration such as'],
    [['watch', 'x', '--profile', 'hasty'], 'Allowed choices are urgent'],
    [['watch', '--file', '/nowhere/at/all'], 'cannot read run ids'],
    [['unwatch', 'a//b'], 'is not a run id'],
    [['wait'], 'no run id was given'],
    [['wait', 'a//b'], 'is not a run id'],
    [['wait', 'x', '--timeout', '25d'], 'Expected 24d at most'],
    [['wait', 'x', '--direct'], 'NOXUS_API_KEY'],
    [['wait', 'x', '--direct', '--source', 'eu'], 'neither --url nor --source'],
    [['events', '--type', 'run.exploded'], 'No event is ever of the type run.exploded'],
    [['events', '--follow', '--limit', '3'], '--limit is of no use with --follow'],
    [['deliveries', '--state', 'lost'], 'Expected pending, delivered'],
    [['redeliver'], 'Answer with --yes'],
    [['redeliver', '--since', 'yesterday', '--yes'], 'how long ago, such as 2h'],
    [['redeliver', '--since', '2025-05-04T10:00', '--yes'], 'Expected a time such as'],
    [['redeliver', '--until', '2025-02-30', '--yes'], 'Expected a time such as'],
    [['redeliver', '--since', '1h', '--until', '2h', '--yes'], '--since must be before --until'],
    [['redeliver', '--state', 'lost', '--yes'], 'Expected pending, delivered'],
    [['redeliver', 'dlv_1', '--endpoint', 'ops'], 'not both'],
    [['endpoints', '--jsno'], 'Did you mean --json?'],
    [['endpoints', 'tset'], 'expected one of: test, pause, resume, retry, secret, rotate'],
    [['endpoints', 'test'], "missing required argument 'name'"],
    [['endpoints', 'pause', 'ops', 'audit'], 'too many arguments'],
    [['endpoints', 'rotate', 'ops', '--overlap', 'soon'], 'a duration such as'],
    [['endpoints', 'rotate', 'ops', '--overlpa', '1h'], 'Did you mean --overlap?'],
    [['serve', '--port', 'http'], 'Expected a port'],
  ])('%j', async (args, sentence) => {
    const result = await runCli(args, { env: {} });
    expect(result.stderr).toContain(sentence);
    expect(result.exitCode).toBe(2);
    expect(result.stdout).toBe('');
  });
});

async function misconfigured(): Promise<never> {
  throw new RunwatchError('port: expected a number', { code: 'config_invalid' });
}

async function faulty(): Promise<never> {
  throw new TypeError('x is not a function');
}

describe('what is not an error of the daemon', () => {
  test('--version and --help go to stdout and exit 0', async () => {
    expect(await runCli(['--version'])).toEqual({ exitCode: 0, stdout: '1.2.3\n', stderr: '' });
    const help = await runCli(['--help']);
    expect(help).toMatchObject({ exitCode: 0, stderr: '' });
    expect(help.stdout.split('\n').length).toBeLessThan(75);
  });

  test.each(
    [
      'serve watch unwatch list show wait events deliveries redeliver endpoints config reencrypt listen',
      'simulate demo',
    ]
      .join(' ')
      .split(' ')
      .concat(['test', 'pause', 'resume', 'retry', 'rotate'].map((verb) => `endpoints ${verb}`)),
  )('%s --help has examples', async (verb) => {
    const { stdout, exitCode } = await runCli([...verb.split(' '), '--help']);
    expect(exitCode).toBe(0);
    expect(stdout).toContain(`runwatch ${verb}`);
    expect(stdout).toContain('Examples:');
  });

  test.each([
    ['read', 'list, show, wait, events, deliveries, endpoints, sources, polling'],
    ['write', 'watch, unwatch, redeliver'],
    ['admin', 'sources resume, endpoints test, endpoints pause, endpoints resume'],
    ['admin', 'endpoints retry, endpoints rotate'],
  ])('help says that the scope %s is needed for %s', async (scope, verbs) => {
    for (const verb of verbs.split(', ')) {
      const { stdout } = await runCli([...verb.split(' '), '--help']);
      expect(stdout).toContain(
        `Needs a token with the scope ${scope}, where the daemon has tokens.`,
      );
    }
  });

  test('a configuration that is wrong exits 2, whichever verb finds it', async () => {
    for (const args of [['serve'], ['config', '--check']]) {
      const result = await runCli(args, {
        local: { serve: misconfigured, showConfig: misconfigured },
      });
      expect(result).toEqual({
        exitCode: 2,
        stdout: '',
        stderr: 'error: port: expected a number\n',
      });
    }
  });

  test('an unexpected error is one sentence, and --verbose shows its origin', async () => {
    const short = await runCli(['serve'], { local: { serve: faulty } });
    expect(short.exitCode).toBe(1);
    expect(short.stderr.trim().split('\n')).toHaveLength(1);
    const long = await runCli(['serve', '--verbose'], { local: { serve: faulty } });
    expect(long.stderr).toContain('cli-errors.test.ts');
  });

  test('the local verbs are given what their flags say', async () => {
    const seen: unknown[] = [];
    const note = async (options: unknown) => {
      seen.push(options);
      return 7;
    };
    const local = {
      serve: note,
      showConfig: note,
      listen: note,
      simulate: note,
      reencrypt: note,
      demo: note,
    };
    const run = async (...args: string[]) =>
      (await runCli(args, { local, env: { RUNWATCH_WEBHOOK_SECRET: 'whsec_x' } })).exitCode;
    expect(await run('serve', '--config', 'c.yaml', '--port', '0', '--data-dir', 'd')).toBe(7);
    expect(await run('config', '--check', '--strict')).toBe(7);
    expect(await run('listen', '--port', '9', '--json')).toBe(7);
    expect(await run('reencrypt', '--config', 'c.yaml', '--json')).toBe(7);
    expect(await run('simulate')).toBe(7);
    expect(await run('demo', '--keep')).toBe(7);
    expect(seen).toEqual([
      { configPath: 'c.yaml', port: 0, dataDir: 'd', deliver: true },
      { check: true, strict: true, json: false },
      expect.objectContaining({ port: 9, json: true, secrets: ['whsec_x'] }),
      { configPath: 'c.yaml', json: true, discard: false },
      expect.objectContaining({ port: 8789 }),
      { keep: true },
    ]);
  });
});
