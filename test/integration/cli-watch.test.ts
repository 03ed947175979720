import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { generateSecret } from '../../src/deliver/secrets/sign.ts';
import { sampleEvent, sampleRun, sampleWatch, settledWatch } from '../support/api-samples.ts';
import { runBuiltCli } from '../support/built-cli.ts';
import { runCli, startCli } from '../support/cli-harness.ts';
import { tempDir } from '../support/daemon-process.ts';
import {
  problem,
  startFakeDaemon,
  type FakeAnswer,
  type FakeDaemon,
  type FakeRequest,
} from '../support/fake-daemon.ts';
import { waitFor } from '../support/wait-for.ts';

let daemon: FakeDaemon;

beforeEach(async () => {
  daemon = await startFakeDaemon();
});
afterEach(() => daemon.close());

interface Batch {
  watches: { run_id: string }[];
}

/** Answers a batch as a daemon does that knows no endpoint for the runs named here. */
function acceptBatches({
  known = [],
  refused = [],
}: { known?: string[]; refused?: string[] } = {}) {
  daemon.on('POST /v1/watches/batch', ({ body }) => ({
    status: 200,
    body: {
      results: (body as Batch).watches.map(({ run_id }) =>
        refused.includes(run_id)
          ? { run_id, status: 422, error: INVALID }
          : { run_id, status: known.includes(run_id) ? 200 : 201, watch: sampleWatch({ run_id }) },
      ),
    },
  }));
}

const INVALID = {
  code: 'invalid_request',
  detail: 'endpoints.0: no such endpoint',
  errors: [
    { path: 'endpoints.0', message: 'no such endpoint' },
    { path: 'timeout', message: 'expected a duration' },
  ],
};

function batches(): Batch[] {
  return daemon.requests.filter(isBatch).map(({ body }) => body as Batch);
}

function isBatch({ method, path }: FakeRequest): boolean {
  return method === 'POST' && path === '/v1/watches/batch';
}

const cli = (args: string[], stdin?: string) =>
  runCli(args, {
    env: { RUNWATCH_URL: daemon.url },
    ...(stdin !== undefined && { stdin }),
  });

describe('runwatch watch', () => {
  test('watch of fifteen runs from a file writes nothing to standard error', async () => {
    acceptBatches();
    const folder = await tempDir();
    const file = join(folder, 'ids.txt');
    const ids = Array.from({ length: 15 }, (_, at) => `run-${at}`);
    await writeFile(file, ids.join('\n'));
    const { exitCode, stderr } = await runBuiltCli(['watch', '--file', file], {
      RUNWATCH_URL: daemon.url,
    });
    expect([exitCode, stderr]).toEqual([0, '']);
    expect(batches()[0]?.watches).toHaveLength(15);
    await rm(folder, { recursive: true });
  });

  test('watch signs for the webhook of every run by the secret in a file', async () => {
    acceptBatches();
    const folder = await tempDir();
    const path = join(folder, 'secret');
    const secret = generateSecret();
    await writeFile(path, `${secret}\n`);
    const hook = ['--webhook', 'https://example.com/h', '--webhook-secret-file', path];
    const { exitCode, stdout, stderr } = await cli(['watch', 'run-1', 'run-2', ...hook]);
    expect([exitCode, stderr]).toEqual([0, '']);
    expect(batches()[0]?.watches).toEqual(
      ['run-1', 'run-2'].map((id) => ({
        run_id: id,
        webhook: { url: 'https://example.com/h', secret },
      })),
    );
    expect(stdout).not.toContain(secret);
    await rm(folder, { recursive: true });
  });

  test.each([
    ['whsec_short', /secret: .*whsec_/],
    [null, /cannot read .*secret \(ENOENT\)/],
  ])('watch refuses a file of a secret that holds %p, and watches nothing', async (text, why) => {
    const folder = await tempDir();
    const path = join(folder, 'secret');
    if (text !== null) await writeFile(path, text);
    const hook = ['--webhook', 'https://example.com/h', '--webhook-secret-file', path];
    const { exitCode, stderr } = await cli(['watch', 'run-1', ...hook]);
    expect([exitCode, stderr]).toEqual([2, expect.stringMatching(why)]);
    expect(stderr).not.toContain('short');
    expect(daemon.requests).toEqual([]);
    await rm(folder, { recursive: true });
  });

  test('watch --webhook-secret-file without --webhook is a usage error', async () => {
    const { exitCode, stderr } = await cli(['watch', 'run-1', '--webhook-secret-file', 'x']);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('needs --webhook')]);
  });

  test('watch says where a run that has ended is polled for another attempt', async () => {
    const run = { ...sampleRun({ status: 'failed' }), attempt: 1 };
    const results = [
      { run_id: 'run-1', status: 200, watch: sampleWatch({ run }) },
      { run_id: 'run-2', status: 200, watch: settledWatch('run-2', 'failed') },
    ];
    daemon.on('POST /v1/watches/batch', { status: 200, body: { results } });
    daemon.on('GET /v1/watches/run-1', { status: 200, body: sampleWatch({ run, polls: 1_000 }) });
    expect(await cli(['watch', 'run-1', 'run-2'])).toMatchObject({
      exitCode: 0,
      stdout:
        'already watched run-1 (failed; polled for another attempt)\n' +
        'already watched run-2 (failed)\n',
    });
  });

  test('watch registers the runs by its flags, and prints each', async () => {
    acceptBatches({ known: ['run-2'] });
    const flags = [
      '--source',
      'eu',
      '--endpoint',
      'ops',
      '--endpoint',
      'audit',
      '--profile',
      'urgent',
    ];
    const hook = [
      '--webhook',
      'https://example.com/h',
      '--event',
      'run.*',
      '--event',
      'watch.expired',
    ];
    const rest = [
      '--meta',
      'team=billing',
      '--meta',
      'q=a=b',
      '--timeout',
      '2h',
      '--max-delay',
      '5s',
    ];
    const result = await cli(['watch', 'run-1', 'run-2', 'run-1', ...flags, ...hook, ...rest]);
    expect(result).toEqual({
      exitCode: 0,
      stdout: 'watching run-1 (running)\nalready watched run-2 (running)\n',
      stderr: '',
    });
    const common = {
      source: 'eu',
      endpoints: ['ops', 'audit'],
      webhook: { url: 'https://example.com/h', events: ['run.*', 'watch.expired'] },
      metadata: { team: 'billing', q: 'a=b' },
      timeout: '2h',
      profile: 'urgent',
      max_delay: '5s',
    };
    expect(batches()).toEqual([
      {
        watches: [
          { run_id: 'run-1', ...common },
          { run_id: 'run-2', ...common },
        ],
      },
    ]);
  });

  test('watch sends only the flags that were given', async () => {
    acceptBatches();
    await cli(['watch', 'run-1']);
    expect(batches()).toEqual([{ watches: [{ run_id: 'run-1' }] }]);
  });

  test('watch reads thousands of runs from standard input and sends them in batches', async () => {
    acceptBatches();
    const ids = Array.from({ length: 2_500 }, (_, at) => `run-${at}`);
    const { exitCode, stdout } = await cli(['watch', '-'], `# ids\n${ids.join('\n')}\nrun-0\n`);
    expect(exitCode).toBe(0);
    expect(batches().map(({ watches }) => watches.length)).toEqual([1_000, 1_000, 500]);
    expect(batches().flatMap(({ watches }) => watches.map(({ run_id }) => run_id))).toEqual(ids);
    expect(stdout).toBe('2,500 watched\n');
  });

  test('watch prints a refused run with every reason, and registers the others', async () => {
    acceptBatches({ refused: ['run-2'] });
    const result = await cli(['watch', 'run-1', 'run-2', 'run-3']);
    expect(result.exitCode).toBe(1);
    expect(result.stdout).toBe('watching run-1 (running)\nwatching run-3 (running)\n');
    expect(result.stderr).toContain('error: run-2: endpoints.0: no such endpoint');
    expect(result.stderr).toContain('timeout: expected a duration');
  });

  test('watch does nothing for a file with a bad line, and prints its number', async () => {
    acceptBatches();
    const result = await cli(['watch', '-'], 'run-1\n/etc/passwd\nrun-2\n');
    expect(result.exitCode).toBe(2);
    expect(result.stderr).toContain('line 2 of standard input: "/etc/passwd" is not a run id');
    expect(batches()).toEqual([]);
  });

  test('watch --skip-invalid prints a bad line and leaves it out', async () => {
    acceptBatches();
    const result = await cli(['watch', '-', '--skip-invalid'], 'run-1\n/etc/passwd\nrun-2\n');
    expect(result.exitCode).toBe(0);
    expect(result.stderr).toContain('skipped line 2 of standard input');
    expect(result.stdout).toBe('watching run-1 (running)\nwatching run-2 (running)\n');
  });

  test('watch says how many runs were sent when the daemon fails half-way', async () => {
    acceptBatches();
    const ids = Array.from({ length: 1_001 }, (_, at) => `run-${at}`).join('\n');
    const accept = { status: 200, body: { results: [] as unknown[] } };
    daemon.on('POST /v1/watches/batch', ({ body }) => {
      const { watches } = body as Batch;
      if (watches.length === 1) return { status: 503, body: { title: 'away', code: 'redis_away' } };
      return {
        ...accept,
        body: { results: watches.map(({ run_id }) => ({ run_id, status: 201 })) },
      };
    });
    const result = await cli(['watch', '-'], ids);
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain('Only the first 1,000 of 1,001 runs were sent');
  });

  test('watch exits 2 where all runs are refused because of what was asked, also with --wait', async () => {
    acceptBatches({ refused: ['run-1', 'run-2'] });
    const args = ['watch', 'run-1', 'run-2', '--endpoint', 'nope'];
    const { exitCode, stderr } = await cli(args);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('run-1: endpoints.0: no such endpoint');
    expect(await cli([...args, '--wait'])).toMatchObject({ exitCode: 2, stdout: '' });
  });

  test('watch --json prints the answers of all batches together', async () => {
    acceptBatches({ refused: ['run-2'] });
    const { stdout, exitCode } = await cli(['watch', 'run-1', 'run-2', '--json']);
    expect(exitCode).toBe(1);
    expect(JSON.parse(stdout)).toEqual({
      results: [
        { run_id: 'run-1', status: 201, watch: sampleWatch() },
        { run_id: 'run-2', status: 422, error: INVALID },
      ],
    });
  });

  test('watch --wait has the exit codes of wait', async () => {
    acceptBatches();
    daemon.on('GET /v1/watches/run-1', { status: 200, body: settledWatch('run-1', 'failed') });
    const result = await cli(['watch', 'run-1', '--wait']);
    expect(result.exitCode).toBe(1);
    expect(result.stdout).toBe('run-1 failed\n');
    expect(result.stderr).toContain('watching run-1');
  });

  test.each<[string, FakeAnswer | 'cut']>([
    ['the connection breaks', 'cut'],
    ['the daemon answers 500', problem(500, 'internal', 'an unexpected error')],
    ['the daemon answers 503', problem(503, 'redis_away', 'Redis is away')],
  ])('watch --wait registers and looks up again where %s at first', async (_what, answer) => {
    const accepted = { status: 200, body: { results: [{ run_id: 'run-1', status: 200 }] } };
    const registering = [answer];
    daemon.on('POST /v1/watches/batch', () => registering.shift() ?? accepted);
    const looking = [answer];
    const nothing = { status: 200, body: { data: [], more: false, tried: [] } };
    daemon.on('GET /v1/lookup', () => looking.shift() ?? nothing);
    daemon.on('GET /v1/watches/run-1', { status: 200, body: settledWatch('run-1', 'failed') });
    const result = await runCli(['watch', 'run-1', '--wait'], {
      env: { RUNWATCH_URL: daemon.url },
      patienceMs: 120_000,
    });
    expect([result.exitCode, result.stdout]).toEqual([1, 'run-1 failed\n']);
    expect(result.stderr.match(/; asking again for up to 120 s\n/g)).toHaveLength(1);
    expect([registering, looking]).toEqual([[], []]);
  });

  test('watch --wait with a timeout of weeks waits until the watch expires', async () => {
    acceptBatches();
    daemon.on('GET /v1/watches/run-1', { status: 200, body: sampleWatch({ state: 'expired' }) });
    daemon.on('POST /v1/watches', { status: 201, body: sampleWatch() });
    const run = startCli(['watch', 'run-1', '--wait', '--timeout', '90d'], {
      env: { RUNWATCH_URL: daemon.url },
    });
    await waitFor(() => run.stderr().includes('run-1 running'));
    await waitFor(() => daemon.streams() === 1);
    daemon.push('c1', sampleEvent('evt_1'));
    expect(await run.exitCode).toBe(124);
    expect(run.stdout()).toBe('run-1 timed_out (its watch expired)\n');
  });

  test('watch --wait exits 5 when a run was refused and the others completed', async () => {
    acceptBatches({ refused: ['run-2'] });
    daemon.on('GET /v1/watches/run-1', { status: 200, body: settledWatch('run-1', 'completed') });
    expect((await cli(['watch', 'run-1', 'run-2', '--wait'])).exitCode).toBe(5);
  });
});

describe('runwatch unwatch', () => {
  test('unwatch ends every watch although nobody reads its output', async () => {
    const ids = Array.from({ length: 200 }, (_, at) => `run-${at}`);
    for (const id of ids) daemon.on(`DELETE /v1/watches/${id}`, { status: 204 });
    const { exitCode, stderr } = await runBuiltCli(
      ['unwatch', ...ids],
      { RUNWATCH_URL: daemon.url },
      { isUnread: true },
    );
    expect([exitCode, stderr]).toEqual([0, '']);
    const ended = daemon.requests.filter(({ method }) => method === 'DELETE');
    expect(ended.map(({ path }) => path).sort()).toEqual(
      ids.map((id) => `/v1/watches/${id}`).sort(),
    );
  });

  test('unwatch ends each watch, and exits 1 when one run was not watched', async () => {
    daemon.on('DELETE /v1/watches/run-1', { status: 204 });
    const result = await cli(['unwatch', 'run-1', 'run-2', '--source', 'eu']);
    expect(result).toEqual({
      exitCode: 1,
      stdout: 'no longer watched run-1\n',
      stderr: 'error: the run run-2 of source eu is not watched\n',
    });
    const ended = daemon.requests.filter(({ method }) => method === 'DELETE');
    expect(ended.every(({ query }) => query.get('source') === 'eu')).toBe(true);
  });

  test.each([
    [[], { source: null }, ''],
    [['--source', 'eu'], { source: 'eu' }, ' of source eu'],
  ])(
    'unwatch --json %j has what became of each run, in the order given',
    async (flags, of, where) => {
      daemon.on('DELETE /v1/watches/run-2', { status: 204 });
      const { exitCode, stdout, stderr } = await cli([
        'unwatch',
        'run-1',
        'run-2',
        '--json',
        ...flags,
      ]);
      const message = `the run run-1${where} is not watched`;
      expect([exitCode, stderr]).toEqual([1, `error: ${message}\n`]);
      expect(JSON.parse(stdout)).toEqual({
        results: [
          { run_id: 'run-1', ...of, error: { code: 'watch_not_found', message } },
          { run_id: 'run-2', ...of, error: null },
        ],
      });
    },
  );

  test('unwatch ends the other watches where the daemon refuses some, and has a result for each', async () => {
    const ids = Array.from({ length: 20 }, (_, at) => `run-${at}`);
    for (const id of ids) daemon.on(`DELETE /v1/watches/${id}`, { status: 204 });
    const away = problem(503, 'redis_away', 'Redis is away');
    for (const id of ['run-0', 'run-9']) daemon.on(`DELETE /v1/watches/${id}`, away);
    const wentOn = ids.filter((id) => id !== 'run-0' && id !== 'run-9');
    const why = `the daemon at ${daemon.url} answers 503: Redis is away`;

    const shown = await cli(['unwatch', ...ids]);
    expect(shown.exitCode).toBe(1);
    const lines = shown.stdout.trimEnd().split('\n');
    expect(new Set(lines)).toEqual(new Set(wentOn.map((id) => `no longer watched ${id}`)));
    expect(new Set(shown.stderr.trimEnd().split('\n'))).toEqual(
      new Set([`error: run-0: ${why}`, `error: run-9: ${why}`]),
    );

    const { exitCode, stdout } = await cli(['unwatch', ...ids, '--json']);
    expect(exitCode).toBe(1);
    const error = { code: 'redis_away', message: why };
    expect(JSON.parse(stdout)).toEqual({
      results: ids.map((id) => ({
        run_id: id,
        source: null,
        error: wentOn.includes(id) ? null : error,
      })),
    });
  });

  test('unwatch exits 2 where the daemon refuses one of several runs because of what was asked', async () => {
    daemon.on('DELETE /v1/watches/run-1', problem(409, 'several_sources', 'name one: a, b'));
    daemon.on('DELETE /v1/watches/run-2', { status: 204 });
    expect(await cli(['unwatch', 'run-1', 'run-2', 'run-3'])).toEqual({
      exitCode: 2,
      stdout: 'no longer watched run-2\n',
      stderr: 'error: run-1: name one: a, b\nerror: the run run-3 is not watched\n',
    });
  });

  test('unwatch that is interrupted ends no more watches, and exits 130', async () => {
    const ids = Array.from({ length: 20 }, (_, at) => `run-${at}`);
    for (const id of ids) daemon.on(`DELETE /v1/watches/${id}`, 'hang');
    const run = startCli(['unwatch', ...ids], { env: { RUNWATCH_URL: daemon.url } });
    const asked = () => daemon.requests.filter(({ method }) => method === 'DELETE');
    await waitFor(() => asked().length === 8);
    run.interrupt();
    expect(await run.exitCode).toBe(130);
    expect([run.stdout(), run.stderr()]).toEqual(['', '']);
    expect(asked()).toHaveLength(8);
  });

  test('unwatch --endpoint ends only that subscription', async () => {
    daemon.on('DELETE /v1/watches/run-1', { status: 204 });
    const result = await cli(['unwatch', 'run-1', '--endpoint', 'old-ops']);
    expect(result).toMatchObject({ exitCode: 0, stdout: 'no longer watched run-1 for old-ops\n' });
    expect(daemon.requests.at(-1)?.query.get('endpoint')).toBe('old-ops');
  });
});
