import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { runCli } from '../support/cli-harness.ts';
import { problem, startFakeDaemon, type FakeDaemon } from '../support/fake-daemon.ts';

const ID = '3f0c6f0e-5d0a-4a57-9f1e-0f0f2a6b8c11';

let daemon: FakeDaemon;

beforeEach(async () => {
  daemon = await startFakeDaemon();
});
afterEach(() => daemon.close());

const cli = (...args: string[]) =>
  runCli(['workflows', ...args], { env: { RUNWATCH_URL: daemon.url } });

const invoices = {
  source: 'default',
  workflow_id: ID,
  name: 'invoices',
  watched: 40,
  active: 3,
  by_status: { completed: 30, failed: 7 },
  failure_rate: 0.189,
  duration: { p50_ms: 61_240, p90_ms: 7_325_000 },
  detection_delay: { p50_ms: 90, p95_ms: 812 },
  requests_per_run: 7.46,
};
const fresh = {
  ...invoices,
  workflow_id: 'payroll',
  name: null,
  failure_rate: null,
  duration: null,
  detection_delay: null,
  requests_per_run: null,
};

const answer = (...data: unknown[]) => ({
  status: 200,
  body: { since: '2025-05-03T10:00:00.000Z', data },
});

describe('runwatch workflows', () => {
  test('workflows shows a line for each workflow, by its name and its whole id', async () => {
    daemon.on('GET /v1/workflows', answer(invoices, fresh));
    const { stdout, stderr, exitCode } = await cli();
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
    expect(stdout).toBe(
      [
        'WORKFLOW  WATCHED  ACTIVE  FAILED    P50    P90  DELAY P95  REQUESTS  ID',
        `invoices       40       3     19%  1m 1s  2h 2m      812ms       7.5  ${ID}`,
        'payroll        40       3       -      -      -          -         -  payroll',
        '',
      ].join('\n'),
    );
    expect(daemon.requests[0]?.query.size).toBe(0);
  });

  test('workflows --since counts back from now, and --source names one source', async () => {
    daemon.on('GET /v1/workflows', answer(invoices));
    await cli('--since', '7d', '--source', 'eu');
    expect(Object.fromEntries(daemon.requests[0]?.query ?? [])).toEqual({
      since: '2025-04-27T10:00:00.000Z',
      source: 'eu',
    });
  });

  test('workflows --json prints the answer as it came', async () => {
    const body = { ...answer(invoices).body, newer: true };
    daemon.on('GET /v1/workflows', { status: 200, body });
    expect(JSON.parse((await cli('--json')).stdout)).toEqual(body);
  });

  test('workflows on a narrow terminal gives columns up, and cuts no id', async () => {
    daemon.on('GET /v1/workflows', answer(invoices, { ...fresh, workflow_id: ID }));
    const narrow = async (...flags: string[]) => {
      const env = { RUNWATCH_URL: daemon.url, NO_COLOR: '1' };
      const { stdout } = await runCli(['workflows', ...flags], { env, terminal: 60 });
      return stdout;
    };
    const [head, , unnamed] = (await narrow()).split('\n');
    expect(head).toMatch(/^WORKFLOW +FAILED .*DELAY P95 +REQUESTS$/);
    expect(unnamed).toMatch(/^3f0c6f0e /);
    expect(await narrow()).toMatch(/\n\(in every row: watched 40, active 3, id\n/);
    const wide = await narrow('--wide');
    expect(wide).toContain('REQUESTS');
    expect(wide.match(new RegExp(ID, 'g'))).toHaveLength(3);
  });

  test('workflows without runs in that time says so, and exits 0', async () => {
    daemon.on('GET /v1/workflows', answer());
    expect(await cli()).toEqual({
      exitCode: 0,
      stdout: '',
      stderr: 'No workflow had runs in the last 24 h; --since 30d goes further back.\n',
    });
    expect((await cli('--since', '30d')).stderr).toBe('No workflow had runs in that time.\n');
    expect(JSON.parse((await cli('--json')).stdout)).toMatchObject({ data: [] });
  });

  test.each([
    ['an unknown source', problem(422, 'invalid_request', 'no source is named "eu"'), 2],
    ['a token that may not read', problem(403, 'forbidden', 'the token may not read'), 1],
  ])('workflows with %s says what the daemon said', async (_what, refused, code) => {
    daemon.on('GET /v1/workflows', refused);
    const { exitCode, stderr } = await cli('--source', 'eu');
    expect(exitCode).toBe(code);
    expect(stderr).toContain(refused.body && (refused.body as { detail: string }).detail);
  });

  test('workflows of a time that is none is a usage error', async () => {
    expect(await cli('--since', 'soon')).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('how long ago'),
    });
  });
});

describe('--workflow', () => {
  const LETTERS = 'aaaaaaaa-5d0a-4a57-9f1e-0f0f2a6b8c11';
  const UNKNOWN = 'bbbbbbbb-5d0a-4a57-9f1e-0f0f2a6b8c11';

  beforeEach(() => {
    const elsewhere = { ...invoices, source: 'eu', workflow_id: 'elsewhere' };
    daemon.on(
      'GET /v1/workflows',
      answer(invoices, elsewhere, { ...invoices, name: null, workflow_id: LETTERS }),
    );
    daemon.on('GET /v1/watches', { status: 200, body: { data: [], next_cursor: null } });
  });

  const list = (workflow: string) =>
    runCli(['list', '--workflow', workflow], { env: { RUNWATCH_URL: daemon.url } });

  test.each([
    ['a name, in any case, of several workflows', 'Invoices', `${ID},elsewhere`],
    ['several, by comma', `invoices, ${LETTERS}`, `${ID},elsewhere,${LETTERS}`],
    ['what one id alone begins with', 'aaaa', LETTERS],
    ['a whole id of a workflow without runs lately', UNKNOWN, UNKNOWN],
  ])('list --workflow takes %s', async (_what, given, sent) => {
    expect(await list(given)).toMatchObject({ exitCode: 0 });
    const asked = daemon.requests.find(({ path }) => path === '/v1/watches');
    expect(asked?.query.getAll('workflow_id').join(',')).toBe(sent);
  });

  test('list --workflow of a name that no workflow has exits 2 and names those that are known', async () => {
    expect(await list('payroll')).toEqual({
      exitCode: 2,
      stdout: '',
      stderr: `error: no workflow is called "payroll"; known are: invoices, ${LETTERS}\n`,
    });
  });

  test('a daemon that knows no workflows judges --workflow itself', async () => {
    daemon.on('GET /v1/workflows', answer());
    expect(await list('payroll')).toMatchObject({ exitCode: 0 });
    const asked = daemon.requests.find(({ path }) => path === '/v1/watches');
    expect(asked?.query.get('workflow_id')).toBe('payroll');
  });

  test('a daemon of an older version, which lists no workflows, takes --workflow for an id', async () => {
    daemon.on('GET /v1/workflows', problem(404, 'route_not_found', 'no such route'));
    expect(await list('payroll')).toMatchObject({ exitCode: 0 });
    const asked = daemon.requests.find(({ path }) => path === '/v1/watches');
    expect(asked?.query.get('workflow_id')).toBe('payroll');
  });

  describe.each([
    ['list', ['list', '--workflow', 'invoices', '--json']],
    ['events', ['events', '--workflow', 'invoices', '--json']],
    ['polling', ['polling', 'invoices', '--json']],
    [
      'silence add',
      ['silence', 'add', '--workflow', 'invoices', '--until', '2h', '--comment', 'why'],
    ],
    ['silence preview', ['silence', 'preview', '--workflow', 'invoices', '--json']],
    ['ack', ['ack', 'workflow/invoices', '--source', 'eu']],
  ])('runwatch %s', (verb, args) => {
    test.each([
      [429, problem(429, 'too_many_requests', 'other listings are at work'), 'answers 429'],
      [503, problem(503, 'redis_away', 'Redis is away'), 'answers 503: Redis is away'],
      [
        403,
        problem(403, 'forbidden', 'the token "ci" lacks the scope read'),
        'the token may not look up the workflow "invoices" (the token "ci" lacks the scope read): ' +
          'give its id where that is a UUID, or use a token with the scope read',
      ],
    ])(`${verb} does not take a name for an id after a %d`, async (_status, refused, sentence) => {
      daemon.on('GET /v1/workflows', refused);
      const { exitCode, stdout, stderr } = await runCli(args, {
        env: { RUNWATCH_URL: daemon.url },
      });
      expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
      expect(stderr).toContain(sentence);
      expect(new Set(daemon.requests.map(({ path }) => path))).toEqual(new Set(['/v1/workflows']));
    });
  });

  test('a token that may not read workflows silences one by its UUID', async () => {
    daemon.on('GET /v1/workflows', problem(403, 'forbidden', 'lacks the scope read'));
    const silence = { id: 'sil_1', state: 'active', created_at: '2025-05-04T10:00:00.000Z' };
    daemon.on('POST /v1/silences', { status: 201, body: silence });
    const args = ['silence', 'add', '--workflow', ID, '--until', '2h', '--comment', 'why'];
    expect(await runCli(args, { env: { RUNWATCH_URL: daemon.url } })).toMatchObject({
      exitCode: 0,
      stdout: 'silence sil_1 is active\n',
    });
    expect(daemon.requests.at(-1)?.body).toMatchObject({ matchers: { workflow_id: [ID] } });
  });
});
