import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { sampleSource } from '../support/api-samples.ts';
import { runCli } from '../support/cli-harness.ts';
import { problem, startFakeDaemon, type FakeDaemon } from '../support/fake-daemon.ts';

let daemon: FakeDaemon;

beforeEach(async () => {
  daemon = await startFakeDaemon();
});
afterEach(() => daemon.close());

const cli = (...args: string[]) =>
  runCli(['polling', ...args], { env: { RUNWATCH_URL: daemon.url } });

const known = {
  source: 'default',
  workflow_id: 'invoices',
  runs: 1_532,
  states: 12,
  duration: { median_ms: 61_240, p90_ms: 7_325_000 },
  measured: { requests: 7.46, delay_ms: 812 },
  expected: { requests: 9.2, delay_ms: 41_300, profile: 'normal' },
};
const fresh = {
  ...known,
  workflow_id: 'payroll',
  runs: 2,
  duration: null,
  measured: { requests: 3, delay_ms: 1_000 },
  expected: null,
};

const NAMED = {
  source: 'default',
  workflow_id: 'wf-7',
  watched: 1,
  active: 0,
  by_status: {},
  failure_rate: null,
  duration: null,
  detection_delay: null,
  requests_per_run: null,
};

const page = (...data: unknown[]) => ({ status: 200, body: { data, next_cursor: null } });

describe('runwatch polling', () => {
  test('polling shows a line for each workflow', async () => {
    daemon.on('GET /v1/polling', page(known, fresh));
    const { stdout, stderr, exitCode } = await cli();
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
    expect(stdout).toBe(
      [
        'WORKFLOW  RUNS  MEDIAN    P90  REQUESTS  DELAY  EXPECTED',
        'invoices  1532   1m 1s  2h 2m       7.5  812ms  9.2, 41s',
        'payroll      2       -      -       3.0   1.0s         -',
        '',
      ].join('\n'),
    );
  });

  test('polling says how often the runs of a source are read', async () => {
    daemon.on('GET /v1/polling', page(known));
    daemon.on('GET /v1/sources', page(sampleSource()));
    const { stdout, stderr } = await cli();
    expect(stdout).toContain(
      '\n10 runs read every 3 s, the slowest every 9 s; source default may be asked 10/s\n' +
        'default: 0 of 0 event streams open',
    );
    expect(stderr).toBe('');
  });

  test('polling names the source where there are several', async () => {
    daemon.on('GET /v1/polling', page(known, { ...fresh, source: 'eu' }));
    expect((await cli()).stdout).toMatch(/^WORKFLOW +SOURCE .*\n.* default .*\n.* eu /);
  });

  test('polling --json of one workflow prints the answer as it came', async () => {
    daemon.on('GET /v1/polling', page(known));
    const { stdout } = await cli('invoices', '--source', 'eu', '--json');
    expect(JSON.parse(stdout)).toEqual({ data: [known], next_cursor: null });
    const { query } = daemon.requests.find(({ path }) => path === '/v1/polling') ?? {};
    expect([query?.get('workflow_id'), query?.get('source')]).toEqual(['invoices', 'eu']);
  });

  test('polling takes the name of a workflow', async () => {
    const body = { since: '2025-05-03T10:00:00.000Z', data: [{ ...NAMED, name: 'Letters' }] };
    daemon.on('GET /v1/workflows', { status: 200, body });
    daemon.on('GET /v1/polling', page(known));
    await cli('letters');
    expect(daemon.requests.at(1)?.query.get('workflow_id')).toBe('wf-7');
  });

  test('polling calls workflows by their names on a terminal, and has their ids with --wide', async () => {
    const id = '3f0c6f0e-5b1e-4a55-9d3c-0c5f0a1b2c3d';
    const unnamed = { ...fresh, workflow_id: id };
    const body = { since: '2025-05-03T10:00:00.000Z', data: [{ ...NAMED, name: 'Letters' }] };
    daemon.on('GET /v1/workflows', { status: 200, body });
    daemon.on('GET /v1/polling', page({ ...known, workflow_id: 'wf-7' }, unnamed));
    const env = { RUNWATCH_URL: daemon.url, NO_COLOR: '1' };
    const { stdout } = await runCli(['polling'], { env, terminal: 80 });
    expect(stdout).toMatch(/^WORKFLOW .*\nLetters +1532 .*\n3f0c6f0e +2 /);
    const wide = await runCli(['polling', '--wide'], { env, terminal: 80 });
    expect(wide.stdout).toMatch(new RegExp(`\nLetters .* wf-7 *\n${id} `));
  });

  test('polling says in a table what made transitions known, and which are not left to streams', async () => {
    const streams = {
      open: 3,
      wanted: 5,
      allowed: 10,
      refused_until: null,
      doubted: ['failed', 'stopped'],
      known_first: [
        { kind: 'failed', by: 'stream', count: 2 },
        { kind: 'failed', by: 'read', count: 1 },
        { kind: 'completed', by: 'list', count: 7 },
      ],
    };
    daemon.on('GET /v1/polling', page(known));
    daemon.on('GET /v1/sources', page(sampleSource({ streams: streams as never })));
    expect((await cli()).stdout).toContain(
      [
        'default: 3 of 5 event streams open, not trusted for 2 transitions',
        'TRANSITION  TRUSTED  BY STREAM  BY LIST  BY READ',
        'failed      no               2        0        1',
        'stopped     no               0        0        0',
        'completed   yes              0        7        0',
        '',
      ].join('\n'),
    );
  });

  test('polling of an unknown workflow exits 1', async () => {
    const detail = 'nothing is known of workflow nope: no run of it was watched to its end yet';
    daemon.on('GET /v1/polling', problem(404, 'workflow_not_found', detail));
    const result = await cli('nope');
    expect(result).toMatchObject({ exitCode: 1, stdout: '' });
    expect(result.stderr).toContain(detail);
    const body = { since: '2025-05-03T10:00:00.000Z', data: [{ ...NAMED, name: 'Letters' }] };
    daemon.on('GET /v1/workflows', { status: 200, body });
    const unnamed = await cli('nope');
    expect(unnamed).toMatchObject({ exitCode: 1, stdout: '' });
    expect(unnamed.stderr).toContain('no workflow is called "nope"; known are: Letters');
  });

  test('polling says when nothing is known, and when there is more', async () => {
    daemon.on('GET /v1/polling', page());
    expect(await cli()).toMatchObject({ stdout: '', stderr: expect.stringContaining('Nothing') });
    daemon.on('GET /v1/polling', { status: 200, body: { data: [known], next_cursor: '7' } });
    expect((await cli('--limit', '1')).stderr).toContain('--all');
  });
});
