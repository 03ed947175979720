import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { EndpointView } from '../../src/client/types.ts';
import { sampleEndpoint } from '../support/api-samples.ts';
import { runCli } from '../support/cli-harness.ts';
import { problem, startFakeDaemon, type FakeDaemon } from '../support/fake-daemon.ts';

const HEALTHY = sampleEndpoint().health;
const SECRET = 'whsec_bm90LWEtc2VjcmV0LWJ1dC1sb25nLWVub3VnaA==';

let daemon: FakeDaemon;

beforeEach(async () => {
  daemon = await startFakeDaemon();
});
afterEach(() => daemon.close());

const cli = (...args: string[]) =>
  runCli(['endpoints', ...args], { env: { RUNWATCH_URL: daemon.url } });

describe('runwatch endpoints', () => {
  test('endpoints are listed with their health, also without a cursor', async () => {
    const failing = sampleEndpoint({
      name: 'slow',
      url: null,
      events: ['run.*'],
      default: false,
      counts: { pending: 0, delivered: 0, dead: 0, parked: 0, skipped: 0, superseded: 0 },
      health: {
        ...HEALTHY,
        state: 'failing',
        failing_since: '2025-05-04T09:55:00.000Z',
        next_probe_at: '2025-05-04T10:00:30.000Z',
      },
    });
    const body = { data: [sampleEndpoint(), failing] };
    daemon.on('GET /v1/endpoints', { status: 200, body });
    const { stdout } = await cli();
    expect(stdout.replaceAll(/ +/g, ' ')).toBe(
      [
        'NAME HEALTH WAITING DEAD DELIVERED NEXT PROBE TYPE SKIPPED DEFAULT URL EVENTS',
        'ops active 5 3 12 - webhook 5 yes https://example.com/ run.failed',
        'slow failing for 5m 0 0 0 in 30s webhook 0 - - run.*',
        '',
      ].join('\n'),
    );
    expect(JSON.parse((await cli('--json')).stdout)).toEqual(body);
  });

  test.each<[string, Partial<EndpointView['health']>]>([
    ['disabled (answered 410)', { state: 'disabled', reason: 'gone' }],
    ['disabled (only failures for five days)', { state: 'disabled', reason: 'failing' }],
    [
      'disabled (for a reason of tomorrow)',
      { state: 'disabled', reason: 'for a reason of tomorrow' },
    ],
    ['paused', { state: 'paused' }],
    ['active, throttled for 40s', { throttled_until: '2025-05-04T10:00:40.000Z' }],
    ['active', { throttled_until: '2025-05-04T09:59:00.000Z' }],
    ['active, failing for 2h', { failing_since: '2025-05-04T08:00:00.000Z' }],
  ])('endpoints shows the health "%s"', async (text, changes) => {
    const endpoint = sampleEndpoint({ health: { ...HEALTHY, ...changes } });
    daemon.on('GET /v1/endpoints', { status: 200, body: { data: [endpoint] } });
    expect((await cli()).stdout).toMatch(new RegExp(` ${text.replace(/[()]/g, '.')}  `));
  });
});

describe('runwatch endpoints test', () => {
  const attempt = {
    at: '2025-05-04T10:00:00.000Z',
    status: 200,
    error: null,
    duration_ms: 12,
    phases: { connect_ms: null, wait_ms: 11, receive_ms: 1 },
    response: 'thanks\u001b[2J',
  };

  test('endpoints test exits 0 when the test was delivered', async () => {
    const body = { delivered: true, attempt };
    daemon.on('POST /v1/endpoints/ops/test', { status: 200, body });
    expect(await cli('test', 'ops')).toEqual({
      exitCode: 0,
      stdout: 'delivered to ops: 200, after 12ms\nanswer: thanks\ufffd[2J\n',
      stderr: '',
    });
    expect(daemon.requests[0]?.body).toBeUndefined();
  });

  test('endpoints test exits 1 when the test was not delivered, and says why', async () => {
    const error = { code: 'refused', message: 'connection refused' };
    const body = {
      delivered: false,
      attempt: { ...attempt, status: null, error, response: null },
    };
    daemon.on('POST /v1/endpoints/ops/test', { status: 200, body });
    expect(await cli('test', 'ops')).toEqual({
      exitCode: 1,
      stdout: 'not delivered to ops: connection refused, after 12ms\n',
      stderr: '',
    });
    const json = await cli('test', 'ops', '--json');
    expect(json.exitCode).toBe(1);
    expect(JSON.parse(json.stdout)).toEqual(body);
  });
});

describe.each<[string, EndpointView['health']['state'], string]>([
  ['pause', 'paused', 'runwatch endpoints resume ops'],
  ['resume', 'active', 'runwatch redeliver --endpoint ops --state skipped'],
  ['resume', 'active', 'runwatch redeliver --endpoint ops --state skipped'],
  ['resume', 'disabled', 'runwatch endpoints resume ops'],
])('runwatch endpoints %s', (verb, state, advice) => {
  test(`endpoints ${verb} prints the state ${state}, and what to do next`, async () => {
    const body = sampleEndpoint({ health: { ...HEALTHY, state } });
    daemon.on(`POST /v1/endpoints/ops/${verb}`, { status: 200, body });
    const { stdout, stderr, exitCode } = await cli(verb, 'ops');
    expect({ stdout, exitCode }).toEqual({ stdout: `ops is ${state}\n`, exitCode: 0 });
    expect(stderr).toContain(advice);
    const json = await cli(verb, 'ops', '--json');
    expect(json.stderr).toBe('');
    expect(JSON.parse(json.stdout)).toEqual(body);
  });
});

describe('a verb that must not be done twice', () => {
  const rotated = { secret: SECRET, previous_expires_at: null };
  const inProgress = problem(409, 'idempotency_in_progress', 'not answered yet');

  test.each([
    ['breaks', 'cut' as const],
    ['is answered by another attempt', inProgress],
  ])(
    'a request with an Idempotency-Key is repeated where its connection %s',
    async (_how, first) => {
      const answers = [first, { status: 200, body: rotated }];
      daemon.on('POST /v1/endpoints/ops/rotate', () => answers.shift() ?? 'cut');
      const { exitCode, stdout } = await cli('rotate', 'ops');
      expect([exitCode, stdout]).toEqual([0, `${SECRET}\n`]);
      const keys = daemon.requests.map(({ headers }) => headers['idempotency-key']);
      expect(keys).toEqual([expect.stringMatching(/^[0-9a-f-]{36}$/), keys[0]]);
    },
  );

  test('a request with an Idempotency-Key is given up after three attempts', async () => {
    daemon.on('POST /v1/endpoints/ops/rotate', () => 'cut');
    const { exitCode, stderr } = await cli('rotate', 'ops');
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('(ECONNRESET)')]);
    expect(daemon.requests).toHaveLength(3);
  });

  test.each([
    ['pause', 'POST /v1/endpoints/ops/pause'],
    ['retry', 'POST /v1/endpoints/ops/retry'],
  ])('%s is sent once and without an Idempotency-Key', async (verb, route) => {
    daemon.on(route, () => 'cut');
    expect(await cli(verb, 'ops')).toMatchObject({ exitCode: 1 });
    expect(daemon.requests.map(({ headers }) => headers['idempotency-key'])).toEqual([undefined]);
  });
});

test('endpoints secret prints the secret alone', async () => {
  daemon.on('GET /v1/endpoints/ops/secret', { status: 200, body: { secret: SECRET } });
  const { stdout, exitCode } = await cli('secret', 'ops');
  expect([stdout, exitCode]).toEqual([`${SECRET}\n`, 0]);
});

describe('runwatch endpoints rotate', () => {
  const end = '2025-05-05T10:00:00.000Z';

  beforeEach(() => {
    const body = { secret: SECRET, previous_expires_at: end };
    daemon.on('POST /v1/endpoints/ops/rotate', { status: 200, body });
  });

  test('endpoints rotate prints the secret alone on stdout', async () => {
    const { stdout, stderr, exitCode } = await cli('rotate', 'ops', '--overlap', '2h');
    expect({ stdout, exitCode }).toEqual({ stdout: `${SECRET}\n`, exitCode: 0 });
    expect(stderr).toContain(`Old ones sign too until ${end}.`);
    expect(stderr).not.toContain(SECRET);
    expect(daemon.requests[0]?.body).toEqual({ overlap: '2h' });
  });

  test('endpoints rotate leaves the default overlap to the daemon', async () => {
    const { stdout } = await cli('--json', 'rotate', 'ops');
    expect(JSON.parse(stdout)).toEqual({ secret: SECRET, previous_expires_at: end });
    expect(daemon.requests[0]?.body).toEqual({});
  });

  test('endpoints rotate --now says that no old secret signs any more', async () => {
    const body = { secret: SECRET, previous_expires_at: null };
    daemon.on('POST /v1/endpoints/ops/rotate', { status: 200, body });
    const { stderr } = await cli('rotate', 'ops', '--now');
    expect(stderr).toContain('No old one signs any more.');
    expect(daemon.requests[0]?.body).toEqual({ now: true });
  });

  test('endpoints rotate exits 1 where the endpoint signs nothing', async () => {
    const detail = 'a log endpoint signs nothing';
    daemon.on('POST /v1/endpoints/ops/rotate', problem(409, 'not_signed', detail));
    const result = await cli('rotate', 'ops');
    expect(result).toMatchObject({ exitCode: 1, stdout: '' });
    expect(result.stderr).toContain(detail);
  });
});

describe.each(['test', 'pause', 'resume', 'retry', 'rotate'])('runwatch endpoints %s', (verb) => {
  const detail = 'no endpoint is named "opss"; expected one of: ops, audit';

  test(`endpoints ${verb} of an unknown name exits 1 with the known ones`, async () => {
    daemon.on(`POST /v1/endpoints/opss/${verb}`, problem(404, 'endpoint_not_found', detail));
    const result = await cli(verb, 'opss');
    expect(result).toMatchObject({ exitCode: 1, stdout: '' });
    expect(result.stderr).toContain(detail);
  });

  test(`endpoints ${verb} takes --url before and after the name`, async () => {
    daemon.on(`POST /v1/endpoints/opss/${verb}`, problem(404, 'endpoint_not_found', detail));
    for (const args of [
      ['endpoints', verb, 'opss', '--url', daemon.url],
      ['endpoints', '--url', daemon.url, verb, 'opss'],
    ]) {
      const result = await runCli(args, { env: { RUNWATCH_URL: 'http://127.0.0.1:1' } });
      expect(result.stderr).toContain(detail);
    }
  });
});
