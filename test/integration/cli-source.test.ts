import { createServer } from 'node:net';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { sampleSource, sampleWatch } from '../support/api-samples.ts';
import { runCli } from '../support/cli-harness.ts';
import { problem, startFakeDaemon, type FakeDaemon } from '../support/fake-daemon.ts';
import { waitFor } from '../support/wait-for.ts';

let daemon: FakeDaemon;

beforeEach(async () => {
  daemon = await startFakeDaemon();
});
afterEach(() => daemon.close());

const cli = (args: string[], env: Record<string, string> = {}) =>
  runCli(args, { env: { RUNWATCH_URL: daemon.url, ...env } });

function acceptWatch(changes: Parameters<typeof sampleWatch>[0]): void {
  const watch = sampleWatch({ polls: 0, run: null, ...changes });
  daemon.on('POST /v1/watches/batch', {
    status: 200,
    body: { results: [{ run_id: 'run-1', status: 201, watch }] },
  });
}

const REFUSED = { code: 'unauthorized', message: 'Noxus refuses the API key (401)', since: '' };

describe('runs of several sources', () => {
  const ambiguous = problem(409, 'several_sources', 'run-1 is watched in prod and staging');

  test.each([['show'], ['wait'], ['unwatch']])(
    '%s of a run that two sources have is a usage error that names them',
    async (verb) => {
      const method = verb === 'unwatch' ? 'DELETE' : 'GET';
      daemon.on(`${method} /v1/watches/run-1`, ambiguous);
      const { exitCode, stderr } = await cli([verb, 'run-1']);
      expect(exitCode).toBe(2);
      expect(stderr).toContain('run-1 is watched in prod and staging');
    },
  );

  test('wait for a run of several sources is a usage error', async () => {
    const detail = 'source: expected one of prod, staging';
    daemon.on('GET /v1/watches/run-1', problem(404, 'watch_not_found', 'not watched'));
    daemon.on('POST /v1/watches', problem(422, 'invalid_request', detail));
    const { exitCode, stderr } = await cli(['wait', 'run-1']);
    expect(exitCode).toBe(2);
    expect(stderr).toContain(detail);
  });

  test('watch of a run that another source has already merges into that watch', async () => {
    acceptWatch({ source: 'staging' });
    const found = (...sources: string[]) => ({
      status: 200,
      body: {
        data: sources.map((source) => ({ kind: 'run', id: 'run-1', source })),
        more: false,
        tried: ['default'],
      },
    });
    const sentWith = async (...args: string[]) => {
      await cli(['watch', 'run-1', ...args]);
      const sent = daemon.requests.findLast(({ method }) => method === 'POST');
      return (sent!.body as { watches: { source?: string }[] }).watches[0]?.source;
    };
    daemon.on('GET /v1/lookup', found('staging'));
    expect(await sentWith()).toBe('staging');
    expect(await sentWith('--source', 'prod')).toBe('prod');
    daemon.on('GET /v1/lookup', found('prod', 'staging'));
    expect(await sentWith()).toBeUndefined();
  });

  test('wait registers a watch that has expired in the source that had it', async () => {
    daemon.on('GET /v1/watches/run-1', {
      status: 200,
      body: sampleWatch({ state: 'expired', source: 'staging' }),
    });
    daemon.on('POST /v1/watches', problem(422, 'invalid_request', 'no more'));
    await cli(['wait', 'run-1']);
    // Its event stream may be asked for later.
    const sent = daemon.requests.findLast(({ method }) => method === 'POST');
    expect(sent?.body).toMatchObject({ source: 'staging' });
  });
});

describe('watch', () => {
  test('watch warns that the source refuses its key', async () => {
    acceptWatch({});
    daemon.on('GET /v1/watches/run-1', {
      status: 200,
      body: sampleWatch({ run: null, polls: 1, error: REFUSED }),
    });
    expect(await cli(['watch', 'run-1'])).toMatchObject({
      exitCode: 0,
      stdout: 'watching run-1\n',
      stderr: 'warning: source default: Noxus refuses the API key (401)\n',
    });
  });

  test.each([
    [[], 0],
    [['--wait'], 124],
  ])('watch %j warns of a source that is paused before the first poll', async (flags, exitCode) => {
    acceptWatch({});
    daemon.on('GET /v1/watches/run-1', { status: 200, body: sampleWatch({ run: null, polls: 0 }) });
    daemon.on('GET /v1/sources', {
      status: 200,
      body: {
        data: [
          sampleSource({
            state: 'unauthorized',
            message: 'status 401: the headers are not accepted',
            paused_until: '2026-11-28T09:01:00.000Z',
          }),
        ],
        next_cursor: null,
      },
    });
    // Read twice: for the warning, and by the wait.
    daemon.on('GET /v1/events/stream', problem(503, 'redis_away', 'no stream'));
    const expired = sampleWatch({ run: null, state: 'expired' });
    const running = cli(['watch', 'run-1', ...flags]);
    await waitFor(() => daemon.requests.some(({ path }) => path === '/v1/sources'));
    daemon.on('GET /v1/watches/run-1', { status: 200, body: expired });
    daemon.on('POST /v1/watches', { status: 200, body: expired });
    const result = await running;
    expect(result.exitCode).toBe(exitCode);
    expect(result.stderr).toContain(
      'warning: source default: status 401: the headers are not accepted; tried next at 2026-11-28T09:01:00.000Z\n',
    );
  });

  test('watch warns of nothing after a good first poll, or without the scope read', async () => {
    acceptWatch({});
    const answers = [
      { status: 200, body: sampleWatch({ polls: 1 }) },
      problem(403, 'forbidden', 'the token lacks the scope read'),
    ];
    for (const answer of answers) {
      daemon.on('GET /v1/watches/run-1', answer);
      expect(await cli(['watch', 'run-1'])).toMatchObject({ exitCode: 0, stderr: '' });
    }
  });
});

test('unwatch --endpoint ends one subscription', async () => {
  daemon.on('DELETE /v1/watches/run-1', { status: 204 });
  expect(await cli(['unwatch', 'run-1', '--endpoint', 'old-name'])).toMatchObject({
    exitCode: 0,
    stdout: 'no longer watched run-1 for old-name\n',
  });
  expect(daemon.requests.at(-1)?.query.get('endpoint')).toBe('old-name');
});

test('wait reads the watch often until the first poll result', async () => {
  let looks = 0;
  const unseen = sampleWatch({ run: null, polls: 0 });
  daemon.on('POST /v1/watches/run-1/poll', { status: 202 });
  daemon.on('GET /v1/watches/run-1', () => {
    looks += 1;
    return { status: 200, body: looks < 4 ? unseen : sampleWatch({ polls: 1 }) };
  });
  const { exitCode, stderr } = await cli(['wait', 'run-1', '--timeout', '2500ms']);
  expect(exitCode).toBe(124);
  expect(stderr).toMatch(/^run-1 not seen yet\nrun-1 running 4?\d%\n$/);
});

test.each(['Failed', 'failed,stopped'])('list takes the status %s', async (status) => {
  daemon.on('GET /v1/watches', { status: 200, body: { data: [], next_cursor: null } });
  const before = daemon.requests.length;
  expect(await cli(['list', '--status', status])).toMatchObject({ exitCode: 0 });
  // What follows an empty answer asks whether there are any others.
  expect(daemon.requests[before]?.query.get('status')).toBe(status.toLowerCase());
});

test.each(['Active', 'finished,gone'])('list takes the state %s', async (state) => {
  daemon.on('GET /v1/watches', { status: 200, body: { data: [], next_cursor: null } });
  const before = daemon.requests.length;
  expect(await cli(['list', '--state', state])).toMatchObject({ exitCode: 0 });
  expect(daemon.requests[before]?.query.get('state')).toBe(state.toLowerCase());
});

test('list refuses a state that no watch has, and names those that there are', async () => {
  const { exitCode, stderr } = await cli(['list', '--state', 'active,ended']);
  expect(exitCode).toBe(2);
  expect(stderr).toContain('No watch is ever "ended". Expected active, finished,');
});

test('list refuses a status that no run has, and names those that there are', async () => {
  const { exitCode, stderr } = await cli(['list', '--status', 'faild']);
  expect(exitCode).toBe(2);
  expect(stderr).toContain(
    'No run is ever "faild". Expected queued, running, failed, completed, stopped, awaiting_human_feedback.',
  );
});

describe('a daemon that is starting', () => {
  async function freePort(): Promise<number> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, 'close');
    return port;
  }

  test('the CLI waits for a daemon that is starting', async () => {
    const port = await freePort();
    const env = { RUNWATCH_URL: `http://127.0.0.1:${port}` };
    const listing = runCli(['list'], { env, startupMs: 5_000 });
    const late = await startFakeDaemon(port);
    late.on('GET /v1/watches', { status: 200, body: { data: [], next_cursor: null } });
    expect(await listing).toMatchObject({ exitCode: 0 });
    await late.close();
  });

  test('the CLI gives up a daemon that never listens', async () => {
    const env = { RUNWATCH_URL: `http://127.0.0.1:${await freePort()}` };
    expect(await runCli(['list'], { env, startupMs: 200 })).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('no daemon answers'),
    });
  });
});

describe('what may be shown of an address', () => {
  test('--verbose shows no password of a URL', async () => {
    const env = {
      RUNWATCH_URL: 'http://ana:canary@127.0.0.1:1',
      RUNWATCH_API_TOKEN: 'canary-token',
    };
    const { stderr } = await runCli(['--verbose', 'list'], { env });
    expect(stderr).toContain('caused by');
    expect(stderr).not.toContain('canary');
    const wrong = await runCli(['--verbose', 'list', '--url', 'ftp://ana:canary@host/']);
    expect(wrong.stderr).toContain('ftp://[redacted]@host/');
    expect(wrong.stderr).not.toContain('canary');
  });

  test('the CLI warns of a token over plain http to a public host', async () => {
    const env = {
      RUNWATCH_URL: 'http://192.0.2.1.nip.example:1',
      RUNWATCH_API_TOKEN: 'a-token-long-enough',
    };
    const { stderr } = await runCli(['wait', 'run-1'], { env });
    expect(stderr.match(/RUNWATCH_API_TOKEN travels in clear over plain http/g)).toHaveLength(1);
    const local = await cli(['list'], { RUNWATCH_API_TOKEN: 'a-token-long-enough' });
    expect(local.stderr).not.toContain('in clear');
  });
});
