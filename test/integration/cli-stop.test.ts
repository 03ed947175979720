import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { runCli } from '../support/cli-harness.ts';
import { problem, startFakeDaemon, type FakeDaemon } from '../support/fake-daemon.ts';

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
