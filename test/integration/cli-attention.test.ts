import { stripVTControlCharacters } from 'node:util';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { ATTENTION_KINDS } from '../../src/core/attention.ts';
import { runCli } from '../support/cli-harness.ts';
import { startFakeDaemon, type FakeDaemon } from '../support/fake-daemon.ts';

let daemon: FakeDaemon;

beforeEach(async () => {
  daemon = await startFakeDaemon();
});
afterEach(() => daemon.close());

const counts = Object.fromEntries(ATTENTION_KINDS.map((kind) => [kind, 0]));

function needs(...data: unknown[]) {
  return { status: 200, body: { data, counts, total: data.length, total_capped: false } };
}

const attention = (...args: string[]) =>
  runCli(['attention', ...args], { env: { RUNWATCH_URL: daemon.url } });

test('attention shows on a terminal of 80 columns the workflow and what is wrong, by short ids', async () => {
  const since = '2025-05-04T09:00:00.000Z';
  const run = {
    kind: 'awaiting',
    severity: 'warning',
    count: 1,
    since,
    message: 'the run waits for a human',
    run_id: '6f1c9a52-5b1e-4a55-9d3c-0c5f0a1b2c3d',
    source: 'default',
    workflow_name: 'Quarterly invoices of all subsidiaries in the north',
  };
  const alert = {
    kind: 'alert',
    severity: 'error',
    count: 3,
    since,
    message: '3 events of failed-runs',
    alert_id: 'alr_0123456789abcdef0123_0123456789',
    workflow_name: 'Letters',
  };
  daemon.on('GET /v1/attention', needs(run, alert));
  const env = { RUNWATCH_URL: daemon.url, NO_COLOR: '1' };
  const { stdout } = await runCli(['attention'], { env, terminal: 80 });
  expect(stdout).toMatch(/ 6f1c9a52 +1h ago +Quarterly i\S*.*… +the run waits for…\n/);
  expect(stdout).toMatch(/ alr_01234567 +1h ago +Letters +3 events of faile…\n/);
  for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
});

test('attention lists what needs a person, with the run, alert or endpoint that it is about', async () => {
  const since = '2025-05-04T09:00:00.000Z';
  daemon.on(
    'GET /v1/attention',
    needs(
      {
        kind: 'awaiting',
        severity: 'warning',
        count: 1,
        since,
        message: 'waits for a human',
        run_id: 'run-1',
        source: 'default',
      },
      {
        kind: 'dead',
        severity: 'warning',
        count: 3,
        since,
        message: '3 deliveries are dead',
        endpoint: 'ops',
      },
    ),
  );
  const { stdout, exitCode } = await attention();
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/warning +awaiting +run-1 +1h ago +- +waits for a human/);
  expect(stdout).toMatch(/warning +dead +ops +1h ago +- +3 deliveries are dead/);
  expect(daemon.requests[0]?.query.size).toBe(0);
});

test('attention says that nothing needs a person, and --json answers as the API does', async () => {
  daemon.on('GET /v1/attention', needs());
  expect(await attention()).toEqual({ exitCode: 0, stdout: '', stderr: 'Nothing needs you.\n' });
  expect(JSON.parse((await attention('--json', '--all')).stdout)).toEqual(needs().body);
  expect(daemon.requests.at(-1)?.query.get('acknowledged')).toBe('include');
});

test('attention at 80 columns keeps what ack takes, and says how many rows it leaves out', async () => {
  const failed = {
    kind: 'failed',
    severity: 'error',
    count: 6,
    since: '2025-05-04T09:00:00.000Z',
    message: '6 runs failed, and none has completed since',
    source: 'default',
    workflow_id: '7c9e6679-7425-40de-944b-e07fc1f90ae7',
    workflow_name: 'invoices',
    runs: [],
  };
  const body = { data: [failed], counts: { ...counts, failed: 3 }, total: 3, total_capped: false };
  daemon.on('GET /v1/attention', { status: 200, body });
  const { stdout, stderr } = await runCli(['attention'], {
    env: { RUNWATCH_URL: daemon.url },
    terminal: 80,
  });
  expect(stripVTControlCharacters(stdout)).toMatch(/error +failed +workflow\/invoices +1h ago/);
  for (const line of stripVTControlCharacters(stdout).split('\n'))
    expect(line.length).toBeLessThanOrEqual(80);
  expect(stripVTControlCharacters(stderr)).toBe('These are the first 1 of 3 rows.\n');
});
