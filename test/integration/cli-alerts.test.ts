import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { runCli } from '../support/cli-harness.ts';
import { startFakeDaemon, type FakeDaemon } from '../support/fake-daemon.ts';

const AT = '2025-05-04T10:00:00.000Z';

const ALERT = {
  id: 'alr_0123456789abcdef0123_0123456789',
  rule: 'failed-runs',
  labels: { source: 'default', workflow_id: 'wf-1' },
  state: 'firing',
  severity: 'error',
  owner: '@ana',
  annotations: { runbook_url: 'https://wiki.example.com/runs' },
  count: 3,
  runs_total: 3,
  runs: [
    { run_id: 'run-1', workflow_id: 'wf-1', name: 'invoices', url: null, status: 'failed', at: AT },
  ],
  started_at: AT,
  updated_at: AT,
  resolved_at: null,
  reason: null,
  resolved_by: null,
  acknowledged: null,
  suppressed_by: [
    { kind: 'silence', id: 'sil_1', by: 'bob', until: '2025-05-04T12:00:00.000Z' },
    { kind: 'mute', id: 'nights', by: null, until: '2025-05-04T11:00:00.000Z' },
    { kind: 'inhibit', id: 'alr_1', by: 'noxus-down', until: null },
    { kind: 'inhibit', id: null, by: 'other', until: null },
  ],
  notified: [{ endpoint: 'chat', at: AT, event_id: 'evt_1' }],
  url: null,
};

let daemon: FakeDaemon;

beforeEach(async () => {
  daemon = await startFakeDaemon();
  const page = { data: [ALERT], next_cursor: null };
  daemon.on('GET /v1/alerts', { status: 200, body: page });
  daemon.on(`GET /v1/alerts/${ALERT.id}`, { status: 200, body: ALERT });
});
afterEach(() => daemon.close());

const cli = (...args: string[]) =>
  runCli(args, {
    env: { RUNWATCH_URL: daemon.url, USER: 'ana' },
    now: () => Date.parse('2025-05-04T10:30:00.000Z'),
  });

const SUPPRESSED =
  'silenced by bob, ends in 1h 30m; muted by nights, ends in 30m; inhibited by noxus-down; inhibited by other';

test('alerts and alerts show say what suppresses an alert, with its name and end', async () => {
  expect((await cli('alerts')).stdout).toMatch(new RegExp(`^ALERT .* SUPPRESSED\n.*${SUPPRESSED}`));
  const shown = await cli('alerts', 'show', ALERT.id.slice(0, 12));
  expect(shown.exitCode).toBe(0);
  expect(shown.stdout).toMatch(new RegExp(`suppressed +${SUPPRESSED}\n`));
  expect(shown.stdout).toMatch(/annotations +runbook_url: https:\/\/wiki/);
  expect(JSON.parse((await cli('alerts', 'show', ALERT.id, '--json')).stdout)).toEqual(ALERT);
  const calm = { ...ALERT, suppressed_by: [] };
  daemon.on('GET /v1/alerts', { status: 200, body: { data: [calm], next_cursor: null } });
  expect((await cli('alerts')).stdout).not.toContain('SUPPRESSED');
});

test('alerts resolve ends an alert by the beginning of its id, in the name of the user', async () => {
  const ended = {
    ...ALERT,
    state: 'resolved',
    resolved_at: AT,
    resolved_by: { by: 'ana', comment: 'up again' },
    suppressed_by: [],
  };
  daemon.on(`POST /v1/alerts/${ALERT.id}/resolve`, { status: 200, body: ended });
  const done = await cli('alerts', 'resolve', 'alr_0123', '--comment', 'up again', '--yes');
  expect(done).toMatchObject({ exitCode: 0, stdout: `resolved alert ${ALERT.id}\n` });
  expect(daemon.requests.at(-1)?.body).toEqual({ by: 'ana', comment: 'up again' });
  daemon.on(`GET /v1/alerts/${ALERT.id}`, { status: 200, body: ended });
  const { stdout } = await cli('alerts', 'show', ALERT.id);
  expect(stdout).toMatch(/\nresolved +by ana 2025-05-04T10:00:00\.000Z \(30m ago\): up again\n/);
});

test('alerts resolve of an unknown alert names it and exits 1, and a misspelt verb exits 2', async () => {
  const unknown = await cli('alerts', 'resolve', 'alr_unknown', '--by', 'bob');
  expect(unknown).toMatchObject({ exitCode: 1, stdout: '' });
  expect(unknown.stderr).toContain('error: there is no alert alr_unknown\n');
  expect((await cli('alerts', 'show', 'alr_unknown')).exitCode).toBe(1);
  const misspelt = await cli('alerts', 'resovle', ALERT.id);
  expect(misspelt).toMatchObject({ exitCode: 2 });
  expect(misspelt.stderr).toContain('alerts has no verb "resovle"; expected one of: show, resolve');
});
