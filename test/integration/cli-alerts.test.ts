import { writeFile } from 'node:fs/promises';
import { stripVTControlCharacters } from 'node:util';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { readRulesFile } from '../../src/cli/local/rules.ts';
import { tempDir } from '../support/daemon-process.ts';
import { runCli } from '../support/cli-harness.ts';
import { problem, startFakeDaemon, type FakeDaemon } from '../support/fake-daemon.ts';

const AT = '2025-05-04T10:00:00.000Z';

const WAITS = {
  delivery_id: 'dlv_1',
  delivery_state: 'parked',
  delivery_text: 'waiting until chat takes deliveries again: status 503',
};

const MOMENT = {
  at: AT,
  first_at: AT,
  times: 1,
  by: null,
  comment: null,
  until: null,
  event_id: null,
  deliveries: [],
};

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
    {
      run_id: 'run-1',
      workflow_id: 'wf-1',
      name: 'invoices',
      url: null,
      status: 'failed',
      at: AT,
      nodes: {
        executed: 2,
        remaining: 1,
        running: [],
        failed: ['n'],
        names: { n: 'Write summary' },
      },
    },
  ],
  started_at: AT,
  updated_at: AT,
  resolved_at: null,
  reason: null,
  resolved_by: null,
  acknowledged: null,
  suppressed_by: [
    { kind: 'silence', id: 'sil_1', by: 'bob', until: '2025-05-04T12:00:00.000Z' },
    { kind: 'mute', id: 'nights', by: null, until: '2025-05-05T11:00:00.000Z' },
    { kind: 'inhibit', id: 'alr_1', by: 'noxus-down', until: null },
    { kind: 'inhibit', id: null, by: 'other', until: null },
  ],
  notified: [{ endpoint: 'chat', at: AT, event_id: 'evt_1', ...WAITS }],
  url: null,
  rule_text: {
    watches: 'run.failed; one alert for each source and workflow',
    fires: 'at the first event',
    notifies: 'chat after 30s',
    ends: 'by hand',
  },
  history: [
    { kind: 'began', text: 'began', ...MOMENT },
    {
      kind: 'fired',
      text: 'fired',
      ...MOMENT,
      deliveries: [{ endpoint: 'chat', ...WAITS }],
    },
    {
      ...MOMENT,
      kind: 'silenced',
      text: 'silenced by bob',
      comment: 'upgrade',
      until: '2025-05-04T12:00:00.000Z',
    },
  ],
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
  'silenced by bob until 12:00Z; muted by nights until 2025-05-05 11:00Z; inhibited by noxus-down; inhibited by other';

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

test('an alert is shown with its rule in words, its history, where its runs failed, and what became of its notifications', async () => {
  const shown = await cli('alerts', 'show', ALERT.id);
  const lines = shown.stdout.split('\n').map((line) => line.replaceAll(/ {2,}/g, '  '));
  for (const line of [
    'runs  run-1 · failed · invoices · Failed at Write summary, 2 of 3 nodes done · 30m ago',
    'watches  run.failed; one alert for each source and workflow',
    'fires  at the first event',
    'notifies  chat after 30s',
    'ends  by hand',
    `notified  chat: waiting until chat takes deliveries again: status 503 ${AT} (30m ago)`,
    `history  ${AT} began`,
    `  ${AT} fired (chat: waiting until chat takes deliveries again: status 503)`,
    `  ${AT} silenced by bob until 2025-05-04T12:00:00.000Z: upgrade`,
  ]) {
    expect(lines).toContain(line);
  }
  expect(await cli('alerts', ALERT.id)).toEqual(shown);
  expect((await cli('show', 'alr_0123')).stdout).toBe(shown.stdout);
  expect(JSON.parse((await cli('alerts', ALERT.id, '--json')).stdout)).toEqual(ALERT);
  daemon.on(`GET /v1/alerts/${ALERT.id}`, { status: 200, body: { ...ALERT, rule_text: null } });
  expect((await cli('show', ALERT.id)).stdout).toMatch(
    /\nwatches +nothing: its rule is configured no more\n/,
  );
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

test('alerts resolve of several goes on where the daemon refuses one, and --json has the answers', async () => {
  const ended = { ...ALERT, state: 'resolved', resolved_at: AT, suppressed_by: [] };
  daemon.on('POST /v1/alerts/alr_9/resolve', problem(503, 'redis_away', 'Redis is away'));
  daemon.on(`POST /v1/alerts/${ALERT.id}/resolve`, { status: 200, body: ended });
  const stderr = `error: alr_9: the daemon at ${daemon.url} answers 503: Redis is away\n`;
  const args = ['alerts', 'resolve', 'alr_9', ALERT.id];
  expect(await cli(...args)).toEqual({
    exitCode: 1,
    stdout: `resolved alert ${ALERT.id}\n`,
    stderr,
  });
  const inJson = await cli(...args, '--json');
  expect(inJson).toMatchObject({ exitCode: 1, stderr });
  expect(JSON.parse(inJson.stdout)).toEqual({ results: [ended] });
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

const NEW_RULES = `
sources: { default: { api_key: '\${A_KEY_OF_THE_DAEMON}' } }
endpoints: { chat: { type: slack, url: '\${A_URL_OF_THE_DAEMON}' } }
rules:
  - { name: too-slow, deadline: { interval: 2h }, notify: [chat], mute_time_intervals: [nights] }
time_intervals:
  nights: [{ times: [{ start_time: '00:00', end_time: '07:00' }], location: UTC }]
`;

/** Tries rules of a file as the program does. */
async function rulesTest(text: string) {
  const path = join(await tempDir(), 'new.yaml');
  await writeFile(path, text);
  let said = '';
  const stderr = { write: (line: string) => void (said += line) };
  const readRules = async (file: string) => readRulesFile(file, { stderr });
  const tried = await runCli(['rules', 'test', '--config', path], {
    env: { RUNWATCH_URL: daemon.url },
    local: { readRules },
  });
  return { ...tried, said };
}

test('rules test --config sends the rules of a file, and says what was not rehearsed', async () => {
  const counts = { matched: 0, notified: 0, waiting: 0, notifications: 0 };
  const suppressed = { grouped: 0, muted: 0, silenced: 0, inhibited: 0, acknowledged: 0 };
  const rule = { rule: 'too-slow', ...counts, suppressed, not_rehearsed: 'needs stored events' };
  const answer = { since: AT, until: AT, events: 0, rules: [rule] };
  const body = { ...answer, notifications: [], truncated: false };
  daemon.on('POST /v1/rules/test', { status: 200, body });
  const { exitCode, stdout, stderr } = await rulesTest(NEW_RULES);
  expect([exitCode, stdout]).toEqual([0, expect.stringMatching(/\ntoo-slow +0/)]);
  expect(stderr).toContain('too-slow not rehearsed: needs stored events\n');
  expect(daemon.requests.at(-1)?.body).toMatchObject({
    rules: [{ name: 'too-slow', deadline: { interval: '2h' }, mute_time_intervals: ['nights'] }],
    time_intervals: { nights: [{ location: 'UTC' }] },
    inhibit_rules: [],
  });
});

test('rules test fits 80 columns of a terminal with names of workflows, and a pipe has whole ids', async () => {
  const [named, unnamed] = [
    '3f0c6f0e-5d0a-4a57-9f1e-0f0f2a6b8c11',
    '4f0c6f0e-5d0a-4a57-9f1e-0f0f2a6b8c11',
  ];
  const counts = { matched: 2, notified: 1, waiting: 0, notifications: 2 };
  const suppressed = { grouped: 1, muted: 0, silenced: 0, inhibited: 0, acknowledged: 0 };
  const names = ['failures-of-customers', 'slow-invoices'];
  const rules = names.map((rule) => ({ rule, ...counts, suppressed, not_rehearsed: null }));
  const notifications = [named, unnamed].map((workflow_id, at) => ({
    at: AT,
    type: at === 0 ? 'alert.firing' : 'alert.updated',
    rule: names[at],
    labels: { source: 'default', workflow_id },
    count: 1 + at,
    repeat: at === 1,
    alert_id: `alr_${at}`,
    notify: ['hooks'],
  }));
  const body = { since: AT, until: AT, events: 2, rules, notifications, truncated: false };
  daemon.on('POST /v1/rules/test', { status: 200, body });
  const figures = { watched: 1, active: 0, by_status: {}, failure_rate: null, duration: null };
  const workflows = [
    {
      ...figures,
      detection_delay: null,
      requests_per_run: null,
      source: 'default',
      workflow_id: named,
      name: 'Invoices of the quarter',
    },
  ];
  daemon.on('GET /v1/workflows', { status: 200, body: { since: AT, data: workflows } });
  const env = { RUNWATCH_URL: daemon.url };

  const onTerminal = await runCli(['rules', 'test'], { env, terminal: 80 });
  const lines = stripVTControlCharacters(onTerminal.stdout).split('\n');
  expect(lines.filter((line) => line.length > 80)).toEqual([]);
  const at = AT.replace(/\.\d+Z$/, 'Z');
  expect(lines).toContainEqual(
    expect.stringMatching(new RegExp(`^${at} +firing +failures-.* +1 +Invoices`)),
  );
  expect(lines).toContainEqual(
    expect.stringMatching(new RegExp(`^${at} +updated \\(repeat\\) +slow-.* +2 +4f0c6f0e`)),
  );

  const piped = await runCli(['rules', 'test'], { env });
  for (const id of [named, unnamed]) {
    expect(piped.stdout).toContain(`source=default workflow_id=${id}`);
  }
});

test('rules test --config names the place of what is wrong in the file, and exits 2', async () => {
  const asked = daemon.requests.length;
  const misspelt = await rulesTest(NEW_RULES.replace('interval: 2h', 'intervall: 2h'));
  expect(misspelt.exitCode).toBe(2);
  expect(misspelt.said).toMatch(/new\.yaml:5:35 rules\.0\.deadline\.intervall: unknown key/);
  const unknown = await rulesTest(NEW_RULES.replace('[nights]', '[lunch]'));
  expect(unknown.exitCode).toBe(2);
  expect(unknown.said).toMatch(/new\.yaml:5:\d+ rules\.0\.mute_time_intervals\.0: .*lunch/);
  expect(daemon.requests.length).toBe(asked);
});
