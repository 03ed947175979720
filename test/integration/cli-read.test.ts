import { stripVTControlCharacters } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { ATTENTION_KINDS } from '../../src/core/attention.ts';
import { EVENT_TYPES } from '../../src/core/event/event.ts';
import { RUN_FIELD_NAMES } from '../../src/core/run/snapshot.ts';
import {
  everyFieldOfRun,
  sampleDelivery,
  sampleEndpoint,
  sampleEvent,
  sampleTimeline,
  sampleReads,
  sampleRun,
  sampleSource,
  sampleWatch,
} from '../support/api-samples.ts';
import { runCli, startCli } from '../support/cli-harness.ts';
import { NOTHING_GIVEN } from '../support/builders.ts';
import {
  problem,
  startFakeDaemon,
  type FakeAnswer,
  type FakeDaemon,
} from '../support/fake-daemon.ts';
import { waitFor } from '../support/wait-for.ts';

let daemon: FakeDaemon;

beforeEach(async () => {
  daemon = await startFakeDaemon();
});
afterEach(() => daemon.close());

const cli = (args: string[], terminal?: number) =>
  runCli(args, {
    env: { RUNWATCH_URL: daemon.url },
    ...(terminal !== undefined && { terminal }),
  });

/** What a route was asked first. */
function queryOf(path: string) {
  return Object.fromEntries(daemon.requests.find((one) => one.path === path)!.query);
}

function page(...data: unknown[]) {
  return { status: 200, body: { data, next_cursor: null } };
}

/** The last two have the same last part. */
const RUN_IDS = ['6f1c9a52-5b1e-4a55-9d3c-0c5f0a1b2c3d', 'acme/shop/123', 'ab/1', 'cd/1'];

/** What needs a person, but for its run. */
const AWAITING = {
  kind: 'awaiting',
  severity: 'warning',
  count: 1,
  since: '2025-05-04T09:59:00.000Z',
  message: 'awaiting human feedback',
  acknowledged: null,
};

const NO_COUNTS = Object.fromEntries(ATTENTION_KINDS.map((kind) => [kind, 0]));

test.each([
  ['list', 'GET /v1/watches', () => RUN_IDS.map((id) => sampleWatch({ run_id: id }))],
  ['events', 'GET /v1/events', () => RUN_IDS.map((id) => sampleEvent('evt_1', { run_id: id }))],
  ['deliveries', 'GET /v1/deliveries', () => RUN_IDS.map((id) => sampleDelivery({ run_id: id }))],
  ['attention', 'GET /v1/attention', () => RUN_IDS.map((id) => ({ ...AWAITING, run_id: id }))],
])(
  '%s shows on a terminal what is recognised of ids, and else whole ones',
  async (verb, route, rows) => {
    const data = rows();
    const counts = { total: data.length, total_capped: false, counts: NO_COUNTS };
    daemon.on(route, { status: 200, body: { data, next_cursor: null, ...counts } });
    const shown = async (args: string[], terminal?: number) =>
      stripVTControlCharacters((await cli([verb, ...args], terminal)).stdout);
    const short = await shown([], 500);
    for (const id of ['6f1c9a52', '123', 'ab/1', 'cd/1']) {
      expect(short).toMatch(new RegExp(`(^| )${id}( |$)`, 'm'));
    }
    const whole = [await shown([]), await shown(['--wide'], 500), await shown(['--json'])];
    for (const text of whole) for (const id of RUN_IDS) expect(text).toContain(id);
  },
);

describe('runwatch list', () => {
  const trouble = { code: 'unavailable', message: 'x', since: '2025-05-04T09:59:00.000Z' };

  test('list shows a line for each watch', async () => {
    const unseen = sampleWatch({
      run_id: 'run-2',
      run: null,
      last_polled_at: null,
      error: trouble,
    });
    daemon.on('GET /v1/watches', page(sampleWatch(), unseen));
    const { stdout, exitCode } = await cli(['list']);
    expect(exitCode).toBe(0);
    expect(stdout).toBe(
      [
        'RUN    STATUS   PROGRESS  WORKFLOW  CHANGED  STATE    AGE  NEXT POLL  LAST POLL  NOTIFIES',
        'run-1  running       40%  wf-1      4m ago   active    5m  in 3s      2s ago            1',
        'run-2  -               –  -         4m ago   active!   5m  in 3s      -                 1',
        '',
      ].join('\n'),
    );
  });

  test('list shows a next poll that has passed as due', async () => {
    const overdue = sampleWatch({ next_poll_at: '2025-05-04T09:58:00.000Z' });
    daemon.on('GET /v1/watches', page(overdue));
    expect((await cli(['list'])).stdout).toMatch(/ due +2s ago +1\n$/);
  });

  test('list of no watches says what discovery did, and a filter that nothing matches does not', async () => {
    daemon.on('GET /v1/watches', page());
    const list = {
      workflow_id: null,
      began_at: '2025-05-04T09:59:00.000Z',
      taken: 0,
      waiting: 0,
      left_out: 340,
      read_back_to: null,
      message: 'discovery began with 0 runs, and left out 340 that had ended',
    };
    daemon.on('GET /v1/sources', page(sampleSource({ discovery: [list] })));
    expect((await cli(['list'])).stderr).toMatch(
      /^No watches\..*\ndefault: discovery began with 0 runs, and left out 340 that had ended\n$/,
    );
    expect((await cli(['list', '--json'])).stderr).toBe('');
    daemon.on('GET /v1/watches', ({ query }) =>
      query.has('status') ? page() : page(sampleWatch()),
    );
    expect((await cli(['list', '--status', 'failed'])).stderr).not.toContain('discovery');
  });

  test('list says that runs are read less often than max_interval asks for', async () => {
    daemon.on('GET /v1/watches', page(sampleWatch()));
    const message = '9 of 10 runs read less often than max_interval (1 min) asks for';
    const rare = sampleReads({ beyond_max_interval: 9, message });
    daemon.on('GET /v1/sources', page(sampleSource({ reads: rare })));
    expect((await cli(['list'])).stderr).toContain(message);
    daemon.on('GET /v1/sources', page(sampleSource()));
    expect((await cli(['list'])).stderr).toBe('');
  });

  test('list names the source where there are several', async () => {
    daemon.on('GET /v1/watches', page(sampleWatch(), sampleWatch({ source: 'eu' })));
    expect((await cli(['list'])).stdout).toMatch(/^RUN +SOURCE .*\n.* default .*\n.* eu /);
  });

  test('list fits the terminal without cutting an id, and shows all with --wide', async () => {
    const id = '6f1c9a52-5b1e-4a55-9d3c-0c5f0a1b2c3d';
    daemon.on('GET /v1/watches', page(sampleWatch({ run_id: id })));
    const { stdout } = await cli(['list'], 80);
    const text = stripVTControlCharacters(stdout);
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
    expect(text).toMatch(/^6f1c9a52 /m);
    expect(text).toMatch(/\(--wide also shows .*notifies\)\n$/);
    const wide = stripVTControlCharacters((await cli(['list', '--wide'], 80)).stdout);
    expect(wide).toMatch(/LAST POLL +NOTIFIES\n/);
    expect(wide).toContain(id);
    // watch(1) sets it, and reads a pipe.
    const env = { RUNWATCH_URL: daemon.url, COLUMNS: '80' };
    const piped = (await runCli(['list'], { env })).stdout;
    for (const line of piped.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
    expect(piped).toContain(id);
  });

  test('list sends metadata and times, and orders by change where times are given', async () => {
    daemon.on('GET /v1/watches', page(sampleWatch()));
    await cli(['list', '--meta', 'team=ml', '--since', '1h', '--until', '2025-05-04T09:30:00Z']);
    expect(Object.fromEntries(daemon.requests[0]!.query)).toEqual({
      'metadata.team': 'ml',
      since: '2025-05-04T09:00:00.000Z',
      until: '2025-05-04T09:30:00.000Z',
      order: 'changed',
      limit: '50',
    });
  });

  test('list says how many there are besides those that it shows', async () => {
    const body = { data: [sampleWatch()], next_cursor: 'c', total: 10_000, total_capped: true };
    daemon.on('GET /v1/watches', { status: 200, body });
    const { stderr } = await cli(['list', '--limit', '1']);
    expect(stderr).toBe('1 of more than 10,000 watches; --limit or --all shows more.\n');
  });

  test('list links an id to its run on a terminal, and names its workflow', async () => {
    const run_url = 'https://app.noxus.ai/runs/run-1';
    const acknowledged = { by: 'ana', comment: null, at: '2025-05-04T09:59:00.000Z', until: null };
    const watch = sampleWatch({ run_url, workflow_name: 'invoices', acknowledged });
    daemon.on('GET /v1/watches', page(watch));
    expect((await cli(['list'], 200)).stdout).toContain(`\u001b]8;;${run_url}\u0007run-1`);
    const plain = (await cli(['list'])).stdout;
    expect(plain).toMatch(/ invoices +4m ago +active \(ack\) /);
    expect(plain).not.toContain('\u001b');
  });

  test('list --watch shows the table anew in place, until Ctrl-C', async () => {
    daemon.on('GET /v1/watches', page(sampleWatch()));
    const env = { RUNWATCH_URL: daemon.url };
    const run = startCli(['list', '--watch'], { env, terminal: 100 });
    await waitFor(() => run.stdout().includes('run-1'));
    run.interrupt();
    expect(await run.exitCode).toBe(130);
    expect(run.stdout().startsWith('\u001b[?1049h')).toBe(true);
    expect(run.stdout()).toContain('Ctrl-C ends');
    expect(run.stdout().endsWith('\u001b[?25h\u001b[?1049l')).toBe(true);
  });

  test('list --watch off a terminal prints a list below the other at each change', async () => {
    const answers: FakeAnswer[] = ['running', 'running', 'completed'].map((status) =>
      page(sampleWatch({ run: sampleRun({ status }) })),
    );
    answers.push({ status: 502, body: '<html>', contentType: 'text/html' });
    daemon.on('GET /v1/watches', () => answers.shift() ?? problem(503, 'starting', 'it starts'));
    const run = startCli(['list', '--watch'], { env: { RUNWATCH_URL: daemon.url } });
    await waitFor(() => run.stderr().includes('it starts'));
    run.interrupt();
    expect(await run.exitCode).toBe(130);
    expect(run.stderr()).toContain('a proxy answers 502');
    expect(run.stdout()).not.toContain('\u001b');
    const lists = run.stdout().trimEnd().split('\n\n');
    expect(lists).toHaveLength(2);
    expect(lists[0]).toMatch(/^\S+Z\nRUN .*\nrun-1 +running /);
    expect(lists[1]).toMatch(/^\S+Z\nRUN .*\nrun-1 +completed /);
  });

  test('list sends its flags, and follows cursors up to the limit', async () => {
    daemon.on('GET /v1/watches', ({ query }) => ({
      status: 200,
      body: {
        data: Array.from({ length: Number(query.get('limit')) }, () => sampleWatch()),
        next_cursor: 'further',
      },
    }));
    const filters = [
      '--state',
      'active',
      '--status',
      'running',
      '--source',
      'eu',
      '--workflow',
      'w',
    ];
    const { stdout, stderr } = await cli(['list', '--limit', '250', ...filters]);
    expect(stdout.trim().split('\n')).toHaveLength(251);
    expect(stderr).toContain('250 watches are shown; --limit or --all shows more.');
    const pages = daemon.requests.filter(({ path }) => path === '/v1/watches');
    expect(pages.map(({ query }) => Object.fromEntries(query))).toEqual([
      { state: 'active', status: 'running', source: 'eu', workflow_id: 'w', limit: '200' },
      {
        state: 'active',
        status: 'running',
        source: 'eu',
        workflow_id: 'w',
        limit: '50',
        cursor: 'further',
      },
    ]);
  });

  test('list --json prints the answer as it came, with unknown fields', async () => {
    const watch = { colour: 'blue', ...sampleWatch() };
    daemon.on('GET /v1/watches', page(watch));
    const { stdout } = await cli(['list', '--json']);
    expect(stdout).toBe(`${JSON.stringify({ data: [watch], next_cursor: null }, null, 2)}\n`);
  });

  test.each([
    ['watch', ['list', '--status', 'failed'], '/v1/watches', sampleWatch()],
    ['event', ['events', '--type', 'run.failed'], '/v1/events', sampleEvent('evt_1')],
    ['delivery', ['deliveries', '--state', 'dead'], '/v1/deliveries', sampleDelivery()],
  ])('a listing without a match says that there is another %s', async (what, args, path, other) => {
    const isFiltered = (query: URLSearchParams) => query.has(args[1]?.slice(2) ?? '');
    daemon.on(`GET ${path}`, ({ query }) => (isFiltered(query) ? page() : page(other)));
    const some = await cli(args);
    expect(some).toMatchObject({ exitCode: 0, stdout: '' });
    expect(some.stderr).toBe(`No ${what} matches; without the filters there are some.\n`);
    daemon.on(`GET ${path}`, page());
    expect((await cli(args)).stderr).toMatch(/^No (watches|events|deliveries)\./);
  });

  test('list says on stderr that there is no watch', async () => {
    daemon.on('GET /v1/watches', page());
    expect(await cli(['list'])).toMatchObject({ exitCode: 0, stdout: '' });
  });

  test('the CLI sends its token, and a user agent with its version', async () => {
    daemon.on('GET /v1/watches', page());
    const env = { RUNWATCH_URL: daemon.url, RUNWATCH_API_TOKEN: 'secret-token' };
    await runCli(['list'], { env });
    expect(daemon.requests[0]?.headers).toMatchObject({
      authorization: 'Bearer secret-token',
      'user-agent': 'runwatch-cli/1.2.3',
    });
  });

  test('--url overrides RUNWATCH_URL, and may have a path', async () => {
    daemon.on('GET /below/v1/watches', page());
    const env = { RUNWATCH_URL: 'http://127.0.0.1:1' };
    const { exitCode } = await runCli(['list', '--url', `${daemon.url}/below/`], { env });
    expect(exitCode).toBe(0);
  });
});

describe('runwatch show', () => {
  test('show prints the watch with its events and deliveries', async () => {
    const run = sampleRun({ user_id: 'ann\u001b[2J' });
    daemon.on('GET /v1/watches/run-1', { status: 200, body: sampleWatch({ run }) });
    const timeline = sampleTimeline([sampleEvent('evt_1')], [sampleDelivery()]);
    daemon.on('GET /v1/watches/run-1/timeline', { status: 200, body: timeline });
    daemon.on('GET /v1/endpoints', page(sampleEndpoint()));
    const { stdout, exitCode } = await cli(['show', 'run-1']);
    expect(exitCode).toBe(0);
    for (const part of [
      'status         running (40%)',
      'metadata       team=billing',
      'notifies       endpoint ops',
      'last poll      2025-05-04T09:59:58.000Z (2s ago)',
      'running → completed, 100%',
      'answered 500',
      'dlv_1',
    ]) {
      expect(stdout).toContain(part);
    }
    // The run is that of the page.
    expect(stdout).not.toMatch(/ RUN\b/);
    expect(stdout).not.toContain('\u001b');
  });

  test('show begins with what happened, where, and which endpoints know and do not', async () => {
    const run = sampleRun({ status: 'failed', finished_at: '2025-05-04T09:51:06.000Z' });
    const watch = sampleWatch({ run, state: 'finished', source: 'eu' });
    const nodes = {
      executed: 1,
      remaining: 1,
      running: [],
      failed: ['n'],
      names: { n: 'a\u001bb' },
    };
    const failed = { ...sampleEvent('evt_1', { run, nodes }), type: 'run.failed' };
    const sent = { event_id: 'evt_1', event_type: 'run.failed' as const };
    const deliveries = [
      { ...sent, endpoint: 'chat', state: 'delivered' as const },
      { ...sent, endpoint: 'ops', state: 'parked' as const, next_attempt_at: null },
    ];
    const health = { ...sampleEndpoint().health, next_probe_at: '2025-05-04T10:08:00.000Z' };
    daemon.on('GET /v1/watches/run-1', { status: 200, body: watch });
    const body = sampleTimeline([failed], deliveries);
    daemon.on('GET /v1/watches/run-1/timeline', { status: 200, body });
    daemon.on('GET /v1/endpoints', page(sampleEndpoint({ health })));
    const { stdout } = await cli(['show', 'run-1']);
    expect(stdout.split('\n')[0]).toBe(
      'Failed at a\ufffdb after 6 s. Notified: chat. Not notified: ops (waiting, next try in 8 min).',
    );
    expect(queryOf('/v1/watches/run-1/timeline')).toEqual({ source: 'eu' });
  });

  test('show asks for endpoints only where a delivery waits for one', async () => {
    daemon.on('GET /v1/watches/run-1', { status: 200, body: sampleWatch() });
    const body = sampleTimeline([sampleEvent('evt_1')], [{ state: 'delivered' }]);
    daemon.on('GET /v1/watches/run-1/timeline', { status: 200, body });
    expect((await cli(['show', 'run-1'])).exitCode).toBe(0);
    expect(daemon.requests.map(({ path }) => path)).not.toContain('/v1/endpoints');
  });

  test.each(RUN_FIELD_NAMES)('show prints %s of a run', async (name) => {
    const run = everyFieldOfRun();
    daemon.on('GET /v1/watches/run-1', { status: 200, body: sampleWatch({ run, run_id: run.id }) });
    const { stdout } = await cli(['show', 'run-1']);
    expect(stdout).toContain(String(run[name]));
  });

  test('show has no row for what the source does not give, and no dash in its place', async () => {
    const run = {
      ...NOTHING_GIVEN,
      id: 'run-1',
      status: 'running',
      observed_at: '2025-05-04T09:59:58.000Z',
    };
    const watch = sampleWatch({ run, source: 'gh', run_url: 'https://git.example.com/runs/1' });
    daemon.on('GET /v1/watches/run-1', { status: 200, body: watch });
    const { stdout } = await cli(['show', 'run-1']);
    const [, head = ''] = stdout.split(/\n\n(?=run )|\nEvents\n/);
    expect(head.split('\n').map((row) => row.split('  ')[0])).toEqual([
      'run',
      'source',
      'state',
      'status',
      'link',
      'observed',
      'metadata',
      'notifies',
      'events',
      'polls',
      'watched since',
      'last poll',
      'next poll',
      'expires',
      '',
    ]);
    expect(head).not.toMatch(/noxus| [-–]$|\([-–]\)/im);
  });

  test('show --json prints the watch alone', async () => {
    daemon.on('GET /v1/watches/run-1', { status: 200, body: sampleWatch() });
    const { stdout } = await cli(['show', 'run-1', '--json']);
    expect(JSON.parse(stdout)).toEqual(sampleWatch());
  });

  test('show exits 1 when the run is not watched', async () => {
    expect(await cli(['show', 'run-9'])).toEqual({
      exitCode: 1,
      stdout: '',
      stderr: 'error: run run-9 is not watched\n',
    });
    const { stderr } = await cli(['show', 'run-9', '--source', 'eu']);
    expect(stderr).toBe('error: run run-9 of source eu is not watched\n');
  });
});

describe('runwatch events', () => {
  test('events lists events, and says how to go on', async () => {
    daemon.on('GET /v1/events', {
      status: 200,
      body: { data: [sampleEvent('evt_1')], next_cursor: 'c7' },
    });
    const flags = ['--run', 'run-1', '--type', 'run.completed', '--after', 'c6', '--limit', '1'];
    const { stdout, stderr } = await cli(['events', ...flags]);
    expect(stdout).toContain('run.completed');
    expect(stderr).toContain('--after c7');
    expect(queryOf('/v1/events')).toEqual({
      run_id: 'run-1',
      type: 'run.completed',
      after: 'c6',
      order: 'oldest',
      limit: '1',
    });
  });

  test('events says no share of a run whose source gives no progress', async () => {
    const run = sampleRun({ status: 'completed', progress: null });
    daemon.on('GET /v1/events', page(sampleEvent('evt_1', { run })));
    expect((await cli(['events'])).stdout).toMatch(/running → completed {2}/);
  });

  test('events shows the newest first, and steps of progress only where they are asked for', async () => {
    daemon.on('GET /v1/events', page(sampleEvent('evt_3'), sampleEvent('evt_1')));
    const { stdout } = await cli(['events', '--since', '1h']);
    expect(stdout).toMatch(/evt_3\n.*evt_1\n$/);
    expect(queryOf('/v1/events')).toMatchObject({
      order: 'newest',
      since: '2025-05-04T09:00:00.000Z',
    });
    expect(queryOf('/v1/events')['type']?.split(',')).toEqual([
      ...EVENT_TYPES.filter((type) => type !== 'run.progress'),
      'source.unreachable',
      'source.recovered',
      'source.inconsistent',
      'source.consistent',
      'workflow.stalled',
      'workflow.recovered',
      'discovery.waiting',
    ]);
    for (const flag of ['--progress', '--all', '--type=run.*']) {
      await cli(['events', flag]);
      expect(daemon.requests.at(-1)?.query.get('type')).toBe(
        flag.startsWith('--type') ? 'run.*' : null,
      );
    }
  });

  test('events shows alerts and system events where --type names them', async () => {
    const timestamp = '2025-05-04T09:59:00.000Z';
    const alert = { id: 'alr_1', rule: 'failed-runs', count: 3 };
    daemon.on(
      'GET /v1/events',
      page(
        { id: 'evt_1', type: 'alert.firing', timestamp, data: { alert, repeat: false } },
        { id: 'evt_2', type: 'endpoint.failing', timestamp, data: { endpoint: 'ops' } },
        sampleEvent('evt_3'),
      ),
    );
    const { stdout } = await cli(['events', '--type', 'alert.*,system.*,run.completed']);
    expect(stdout).toMatch(/^WHEN +TYPE +ABOUT/);
    expect(stdout).toMatch(/1m ago +alert\.firing +alr_1 .*failed-runs, 3 events/);
    expect(stdout).toMatch(/endpoint\.failing +ops/);
    expect(queryOf('/v1/events')['type']).toBe('alert.*,system.*,run.completed');
    const { exitCode, stderr } = await cli(['events', '--type', 'alerts.*']);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('alert.*');
  });

  test('events --follow resumes after the last event when the daemon restarts', async () => {
    const env = { RUNWATCH_URL: daemon.url };
    const run = startCli(['events', '--follow', '--json', '--run', 'run-1'], { env });
    await waitFor(() => daemon.streams() === 1);
    daemon.push('c1', sampleEvent('evt_1'));
    await waitFor(() => run.stdout().includes('evt_1'));
    const { port } = daemon;
    await daemon.close();
    await waitFor(() => run.stderr().includes('The daemon is away'));
    daemon = await startFakeDaemon(port);
    await waitFor(() => daemon.streams() === 1);
    expect(daemon.requests[0]?.headers['last-event-id']).toBe('c1');
    expect(daemon.requests[0]?.query.get('run_id')).toBe('run-1');
    daemon.push('c2', sampleEvent('evt_2'));
    await waitFor(() => run.stdout().includes('evt_2'));
    run.interrupt();
    expect(await run.exitCode).toBe(130);
    const lines = run.stdout().trim().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { id: string }).id)).toEqual([
      'evt_1',
      'evt_2',
    ]);
    expect(run.stderr().trim().split('\n')).toHaveLength(2);
  });

  test('events --follow goes on while a proxy answers for the daemon', async () => {
    const run = startCli(['events', '--follow'], { env: { RUNWATCH_URL: daemon.url } });
    await waitFor(() => daemon.streams() === 1);
    const answers = [
      { status: 502, body: '<html>', contentType: 'text/html' },
      { status: 503, body: { message: 'no server' } },
      problem(503, 'starting', 'it starts'),
    ];
    const asked: number[] = [];
    daemon.on('GET /v1/events/stream', () => {
      asked.push(answers.length);
      return answers.shift() ?? problem(401, 'unauthorized', 'no');
    });
    daemon.cutStreams();
    expect(await run.exitCode).toBe(1);
    expect(asked).toEqual([3, 2, 1, 0]);
    expect(run.stderr()).toContain('The daemon is away');
  });

  test('events --follow resumes at the first cursor when no event came', async () => {
    const run = startCli(['events', '--follow'], { env: { RUNWATCH_URL: daemon.url } });
    await waitFor(() => daemon.streams() === 1);
    daemon.cutStreams();
    await waitFor(() => daemon.requests.length === 2);
    expect(daemon.requests[1]?.headers['last-event-id']).toBe('c0');
    run.interrupt();
    await run.exitCode;
  });

  test('events --follow --after starts after the cursor, and prints lines', async () => {
    const run = startCli(['events', '-f', '--after', 'c5'], { env: { RUNWATCH_URL: daemon.url } });
    await waitFor(() => daemon.streams() === 1);
    expect(daemon.requests[0]?.headers['last-event-id']).toBe('c5');
    const error = { code: 'unavailable', message: 'Noxus is away', since: '' };
    daemon.push('c6', { ...sampleEvent('evt_6', { run: null, error }), type: 'watch.unreachable' });
    await waitFor(() => run.stdout().endsWith('\n'));
    run.interrupt();
    await run.exitCode;
    expect(run.stdout()).toMatch(
      /^2025-05-04T09:59:58.000Z +watch.unreachable +run-1 +Noxus is away\n$/,
    );
  });

  test('events --follow ends at once when its token is refused', async () => {
    const run = startCli(['events', '--follow'], { env: { RUNWATCH_URL: daemon.url } });
    await waitFor(() => daemon.streams() === 1);
    daemon.on('GET /v1/events/stream', problem(401, 'unauthorized', 'no'));
    daemon.cutStreams();
    expect(await run.exitCode).toBe(1);
    expect(run.stderr()).toContain('RUNWATCH_API_TOKEN');
  });
});

describe('runwatch deliveries', () => {
  test('deliveries lists deliveries by its filters', async () => {
    daemon.on('GET /v1/deliveries', page(sampleDelivery()));
    const flags = ['--state', 'dead', '--endpoint', 'ops', '--run', 'run-1', '--event', 'evt_1'];
    const { stdout } = await cli(['deliveries', ...flags]);
    expect(stdout).toContain('500 answered 500');
    expect(queryOf('/v1/deliveries')).toEqual({
      state: 'dead',
      endpoint: 'ops',
      run_id: 'run-1',
      event_id: 'evt_1',
      limit: '50',
    });
  });

  test('deliveries calls pending and parked ones waiting, and takes that word as a state', async () => {
    daemon.on('GET /v1/deliveries', page(sampleDelivery(), sampleDelivery({ state: 'parked' })));
    const { stdout } = await cli(['deliveries', '--state', 'dead,waiting']);
    expect(stdout.match(/ waiting /g)).toHaveLength(2);
    expect(stdout).not.toMatch(/pending|parked/);
    expect(queryOf('/v1/deliveries')).toMatchObject({ state: 'dead,pending,parked' });
    const parked = { ...sampleDelivery({ state: 'parked' }), attempts: [] };
    daemon.on('GET /v1/deliveries/dlv_1', { status: 200, body: parked });
    expect((await cli(['deliveries', 'dlv_1'])).stdout).toMatch(/^state +waiting for ops$/m);
    const { stdout: json } = await cli(['deliveries', 'dlv_1', '--json']);
    expect(JSON.parse(json)).toMatchObject({ state: 'parked' });
  });

  test('deliveries says on a terminal of 80 columns which event of which run of which workflow goes where, by short ids', async () => {
    const ids = ['dlv_f15339a29aa7', 'dlv_b2464f70bb8f'].map(
      (short) => [short, `${short}_failed_-hFQAAAAQACAAAAAAAAACA`] as const,
    );
    const [one, other] = ids.map(([, id]) => id);
    const runs = {
      one: { run_id: '6f1c9a52-5b1e-4a55-9d3c-0c5f0a1b2c3d', workflow_name: 'Invoices' },
      other: { run_id: '7a0d9a52-5b1e-4a55-9d3c-0c5f0a1b2c3d', workflow_name: 'Letters' },
    };
    daemon.on(
      'GET /v1/deliveries',
      page(
        sampleDelivery({ ...runs.one, id: one! }),
        sampleDelivery({
          ...runs.other,
          id: other!,
          state: 'delivered',
          event_type: 'run.failed',
          endpoint: 'audit',
        }),
      ),
    );
    const narrow = await cli(['deliveries'], 80);
    const wide = await cli(['deliveries', '--wide'], 80);
    const piped = await cli(['deliveries']);
    const shown = stripVTControlCharacters(narrow.stdout);
    expect(shown).toMatch(/dlv_f15339a29aa7 +waiting +run\.completed +ops +6f1c9a52 +Invoices/);
    expect(shown).toMatch(/dlv_b2464f70bb8f +delivered +run\.failed +audit +7a0d9a52 +Letters/);
    for (const line of shown.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
    for (const [, id] of ids) {
      for (const { stdout } of [wide, piped]) expect(stdout).toContain(id);
    }
  });

  test('deliveries names the alert where a delivery is about one', async () => {
    const alert_id = 'alr_0123456789abcdef0123_0123456789';
    const about = sampleDelivery({ id: 'dlv_2', run_id: '', alert_id, event_type: 'alert.firing' });
    daemon.on('GET /v1/deliveries', page(sampleDelivery(), about));
    const { stdout } = await cli(['deliveries'], 120);
    const shown = stripVTControlCharacters(stdout);
    expect(shown).toMatch(/^DELIVERY +EVENT +ABOUT /);
    expect(shown).toMatch(/dlv_2 +alert\.firing +alr_01234567 /);
    daemon.on('GET /v1/deliveries/dlv_2', { status: 200, body: { ...about, attempts: [] } });
    const one = await cli(['deliveries', 'dlv_2']);
    expect(one.stdout).toMatch(new RegExp(`alert +${alert_id}\\n`));
    expect(one.stdout).not.toMatch(/^run /m);
  });

  test('deliveries names the batch where a delivery is about one, by its id once it is forgotten', async () => {
    const batch_id = 'bat_0123456789abcdef0123';
    const ofBatch = { run_id: '', batch_id, event_type: 'batch.completed' } as const;
    const about = sampleDelivery({ id: 'dlv_2', batch: 'nightly', ...ofBatch });
    const forgotten = sampleDelivery({ id: 'dlv_3', ...ofBatch });
    daemon.on('GET /v1/deliveries', page(sampleDelivery(), about, forgotten));
    const shown = stripVTControlCharacters((await cli(['deliveries'], 120)).stdout);
    expect(shown).toMatch(/^DELIVERY +EVENT +ABOUT /);
    expect(shown).toMatch(/dlv_2 +batch\.completed +nightly /);
    expect(shown).toMatch(new RegExp(`dlv_3 +batch\\.completed +${batch_id} `));
    daemon.on('GET /v1/deliveries/dlv_2', { status: 200, body: { ...about, attempts: [] } });
    expect((await cli(['deliveries', 'dlv_2'])).stdout).toMatch(/^batch +nightly$/m);
  });

  test('deliveries shows one delivery with its attempts', async () => {
    const attempts = [
      {
        at: '2025-05-04T09:59:59.000Z',
        status: 500,
        error: null,
        duration_ms: 12,
        phases: { connect_ms: null, wait_ms: 9, receive_ms: 3 },
        response: 'oh\nno',
        request_headers: null,
      },
      {
        at: '2025-05-04T10:00:04.000Z',
        status: null,
        error: { code: 'timeout', message: 'no answer' },
        duration_ms: 5_000,
        phases: { connect_ms: 5_000, wait_ms: null, receive_ms: null },
        response: null,
        request_headers: null,
      },
    ];
    daemon.on('GET /v1/deliveries/dlv_1', { status: 200, body: { ...sampleDelivery(), attempts } });
    const { stdout } = await cli(['deliveries', 'dlv_1']);
    expect(stdout).toMatch(/AT +RESULT +TOOK +CONNECT +WAIT +RECEIVE +ANSWER\n/);
    expect(stdout).toMatch(/500 +12ms +kept +9ms +3ms +oh\ufffdno\n/);
    expect(stdout).toMatch(/no answer +5\.0s +5\.0s +- +- +-\n/);
  });
});
