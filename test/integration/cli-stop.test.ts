import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { runCli, startCli } from '../support/cli-harness.ts';
import { problem, startFakeDaemon, type FakeDaemon } from '../support/fake-daemon.ts';
import { waitFor } from '../support/wait-for.ts';

let daemon: FakeDaemon;

beforeEach(async () => {
  daemon = await startFakeDaemon();
});

afterEach(() => daemon.close());

const ASKED = { status: 202, body: { status: 'stopped', polled: true } };

/** A source takes the stop of these runs, as the answer of each has it. */
function answers(byRun: Record<string, typeof ASKED | ReturnType<typeof problem>>): void {
  for (const [id, answer] of Object.entries(byRun)) {
    daemon.on(`POST /v1/watches/${id}/stop`, answer);
  }
}

const stops = () =>
  daemon.requests.flatMap(({ method, path, query }) =>
    method === 'POST' ? [`${path}?${query.toString()}`] : [],
  );

const cli = (args: string[], typed?: string) =>
  runCli(['stop', ...args], {
    env: { RUNWATCH_URL: daemon.url },
    ...(typed !== undefined && { stdin: typed, terminalInput: 'typed' as const }),
  });

test('stop asks for several runs, says which were asked, and exits 1 where one was not', async () => {
  answers({
    'run-1': ASKED,
    'run-2': problem(409, 'run_ended', 'the run run-2 has ended: it is completed'),
    'run-3': problem(504, 'stop_unknown', 'it is not known whether the run is stopping'),
  });
  const all = await cli(['run-1', 'run-2', 'run-3', '--source', 'work']);
  expect(all).toEqual({
    exitCode: 1,
    stdout: 'asked to stop run-1 (stopped)\n',
    stderr: expect.stringContaining('error: the run run-2 has ended: it is completed\n'),
  });
  expect(all.stderr).toMatch(
    /error: run-3: .* answers 504: it is not known whether the run is stopping\n/,
  );
  expect(all.stderr).toContain('`runwatch wait <run-id>` tells');
  expect(stops()).toEqual(
    ['run-1', 'run-2', 'run-3'].map((id) => `/v1/watches/${id}/stop?source=work`),
  );
});

test('stop --json has what became of each run, in the order given', async () => {
  answers({
    'run-1': problem(409, 'run_ended', 'the run run-1 has ended: it is completed'),
    'run-2': ASKED,
  });
  const { exitCode, stdout, stderr } = await cli(['run-1', 'run-2', '--source', 'work', '--json']);
  expect(exitCode).toBe(1);
  expect(JSON.parse(stdout)).toEqual({
    results: [
      {
        run_id: 'run-1',
        source: 'work',
        error: { code: 'run_ended', message: 'the run run-1 has ended: it is completed' },
        stop: null,
      },
      { run_id: 'run-2', source: 'work', error: null, stop: { status: 'stopped', polled: true } },
    ],
  });
  expect(stderr).toContain('error: the run run-1 has ended: it is completed\n');
});

test('stop --json of a run that is not confirmed prints no document', async () => {
  answers({ 'run-1': ASKED });
  expect(await cli(['run-1', '--json'], 'no\n')).toMatchObject({ exitCode: 1, stdout: '' });
  expect(stops()).toEqual([]);
});

test('stop exits 0 where each run was asked, and 2 where several sources have one', async () => {
  answers({ 'run-1': ASKED, 'run-2': problem(409, 'several_sources', 'name one: a, b') });
  expect(await cli(['run-1'])).toMatchObject({ exitCode: 0 });
  expect(await cli(['run-1', 'run-2'])).toMatchObject({
    exitCode: 2,
    stdout: 'asked to stop run-1 (stopped)\n',
  });
});

test.each([
  ['y\n', 0],
  ['\n', 1],
  ['no\n', 1],
])('stop asks on a terminal, naming the run; the answer %j exits %d', async (typed, exitCode) => {
  answers({ 'run-1': ASKED });
  const asked = await cli(['run-1'], typed);
  expect(asked.exitCode).toBe(exitCode);
  expect(asked.stderr).toMatch(/^Stop the run run-1\? This cannot be taken back\. \[y\/N\] /);
  expect(stops()).toHaveLength(exitCode === 0 ? 1 : 0);
});

test.each([[[]], [['--json']]])(
  'stop %j of a list without ids asks for no run, and exits 0',
  async (flags) => {
    const options = { env: { RUNWATCH_URL: daemon.url }, stdin: '# none\n' };
    const { exitCode, stdout, stderr } = await runCli(['stop', '-', ...flags], options);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: 'there was no run id to stop\n' });
    expect(stdout === '' ? null : JSON.parse(stdout)).toEqual(
      flags.length === 0 ? null : { results: [] },
    );
    expect(stops()).toEqual([]);
  },
);

test('stop that is interrupted names no run as failed, asks for no more, and exits 130', async () => {
  const ids = Array.from({ length: 20 }, (_, at) => `run-${at}`);
  for (const id of ids) daemon.on(`POST /v1/watches/${id}/stop`, 'hang');
  const run = startCli(['stop', ...ids, '--yes'], { env: { RUNWATCH_URL: daemon.url } });
  await waitFor(() => stops().length === 8);
  run.interrupt();
  expect(await run.exitCode).toBe(130);
  expect([run.stdout(), run.stderr()]).toEqual(['', '']);
  expect(stops()).toHaveLength(8);
});

test.each([
  ['stop', ['stop', '-'], 'Stop the run 6f1c9a52-.*\\? This cannot be taken back\\.'],
  ['unwatch', ['unwatch', '-'], 'Go on\\?'],
])(
  '%s of ids that were typed asks for --yes, since the input has ended',
  async (_verb, args, question) => {
    const id = '6f1c9a52-5b1e-4a55-9d3c-0c5f0a1b2c3d';
    daemon.on('GET /v1/lookup', {
      status: 200,
      body: { data: [{ kind: 'run', id, source: 'eu' }], more: false, tried: ['eu'] },
    });
    const typed = `${args[0] === 'stop' ? id : id.slice(0, 8)}\n`;
    const options = {
      env: { RUNWATCH_URL: daemon.url },
      stdin: typed,
      terminalInput: 'typed' as const,
    };
    const { exitCode, stdout, stderr } = await runCli(args, options);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toMatch(
      new RegExp(
        `: standard input has ended, with no answer to "${question}" Answer with --yes\\.\n$`,
      ),
    );
    expect(daemon.requests.filter(({ method }) => method !== 'GET')).toEqual([]);
  },
);

test('stop --yes does not ask, and sends a key so that a repeat is no second stop', async () => {
  let isFirst = true;
  daemon.on('POST /v1/watches/run-1/stop', () => {
    if (!isFirst) return ASKED;
    isFirst = false;
    return 'cut';
  });
  expect(await cli(['run-1', '--yes'], '')).toMatchObject({ exitCode: 0 });
  const keys = daemon.requests
    .filter(({ method }) => method === 'POST')
    .map(({ headers }) => headers['idempotency-key']);
  expect(keys).toHaveLength(2);
  expect(keys[0]).toBe(keys[1]);
  expect(keys[0]).toBeDefined();
});
