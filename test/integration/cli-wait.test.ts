import { setTimeout as delay } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createDaemonClient, type DaemonClient } from '../../src/client/client.ts';
import { createDaemonObserver } from '../../src/client/wait-daemon.ts';
import type { RunReaderSettings } from '../../src/cli/local/run-reader.ts';
import type { RunView } from '../../src/client/wait-verdict.ts';
import type { OneBatchView, WatchView } from '../../src/client/types.ts';
import type { PollResult } from '../../src/core/run/snapshot.ts';
import { sampleEvent, sampleRun, sampleWatch, settledWatch } from '../support/api-samples.ts';
import { runCli, startCli } from '../support/cli-harness.ts';
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

const env = () => ({ RUNWATCH_URL: daemon.url });
/** As long as that of a user. */
const patient = { patienceMs: 120_000 };
const wait = (...args: string[]) => runCli(['wait', ...args], { env: env(), ...patient });

function serve(watch: WatchView): void {
  daemon.on(`GET /v1/watches/${watch.run_id}`, { status: 200, body: watch });
}

/** Answers like a daemon that polls the run on request, and then knows `watch`. */
function serveFresh(stale: WatchView, fresh: WatchView): void {
  serve(stale);
  daemon.on(`POST /v1/watches/${stale.run_id}/poll`, () => {
    serve({ ...fresh, polls: stale.polls + 1 });
    setImmediate(() => daemon.push('c1', sampleEvent('evt_1', { run_id: stale.run_id })));
    return { status: 202 };
  });
}

function awaiting(runId = 'run-1'): WatchView {
  return sampleWatch({ run_id: runId, run: sampleRun({ status: 'awaiting_human_feedback' }) });
}

describe('waiting by the daemon', () => {
  test.each([
    ['completed', 0],
    ['failed', 1],
    ['stopped', 3],
  ])('wait for a run that is %s exits %d', async (status, exitCode) => {
    serve(settledWatch('run-1', status));
    expect(await wait('run-1')).toMatchObject({ exitCode, stdout: `run-1 ${status}\n` });
  });

  test('wait for a run that is gone exits 5 and says why', async () => {
    const error = { code: 'not_found', message: 'Noxus does not know this run', since: '' };
    serve(sampleWatch({ state: 'gone', error }));
    expect(await wait('run-1')).toMatchObject({
      exitCode: 5,
      stdout: 'run-1 cannot_tell (Noxus does not know this run)\n',
    });
  });

  test('wait for several runs exits by the worst, and prints each', async () => {
    serve(settledWatch('run-1', 'completed'));
    serve(settledWatch('run-2', 'stopped'));
    serve(settledWatch('run-3', 'completed'));
    expect(await wait('run-1', 'run-2', 'run-3')).toMatchObject({
      exitCode: 3,
      stdout: 'run-1 completed\nrun-2 stopped\nrun-3 completed\n',
    });
  });

  test('wait --any ends with the first run, and exits by it', async () => {
    serve(sampleWatch({ run_id: 'run-1' }));
    daemon.on('POST /v1/watches/run-1/poll', { status: 202 });
    serve(settledWatch('run-2', 'stopped'));
    expect(await wait('--any', 'run-1', 'run-2')).toMatchObject({
      exitCode: 3,
      stdout: 'run-2 stopped\n',
    });
  });

  test('wait for more runs than fit a terminal shows one bar that counts them', async () => {
    const ids = Array.from({ length: 20 }, (_, at) => `run-${at}`);
    for (const id of ids) serve(settledWatch(id, id === 'run-7' ? 'failed' : 'completed'));
    const { stderr, exitCode } = await runCli(['wait', ...ids], { env: env(), terminal: 100 });
    expect(exitCode).toBe(1);
    expect(stripVTControlCharacters(stderr)).toMatch(
      /20\/20 19 completed, 1 failed|20\/20 .*1 failed/,
    );
  });

  test('wait reads the watch at each event, and shows changes on stderr', async () => {
    serve(sampleWatch());
    daemon.on('POST /v1/watches/run-1/poll', { status: 202 });
    const run = startCli(['wait', 'run-1'], { env: env() });
    await waitFor(() => daemon.streams() === 1 && run.stderr().includes('run-1 running 40%'));
    serve(sampleWatch({ run: sampleRun({ progress: 70 }) }));
    daemon.push('c1', sampleEvent('evt_1'));
    await waitFor(() => run.stderr().includes('run-1 running 70%'));
    serve(settledWatch('run-1', 'completed'));
    daemon.push('c2', sampleEvent('evt_2'));
    expect(await run.exitCode).toBe(0);
    expect(run.stdout()).toBe('run-1 completed\n');
  });

  test('wait registers an unwatched run without subscriptions', async () => {
    daemon.on('POST /v1/watches', () => {
      serve(settledWatch('run-1', 'completed'));
      setImmediate(() => daemon.push('c1', sampleEvent('evt_1')));
      return { status: 201, body: settledWatch('run-1', 'completed') };
    });
    expect((await wait('run-1', '--source', 'eu')).exitCode).toBe(0);
    const bodies = daemon.requests
      .filter(({ method }) => method === 'POST')
      .map(({ body }) => body);
    expect(bodies).toEqual([{ run_id: 'run-1', endpoints: [], source: 'eu' }]);
  });

  test.each(['cancelled', 'expired'] as const)(
    'wait registers a watch that is %s anew',
    async (state) => {
      serve(sampleWatch({ state }));
      daemon.on('POST /v1/watches', { status: 201, body: settledWatch('run-1', 'failed') });
      expect((await wait('run-1')).exitCode).toBe(1);
    },
  );

  describe('of a run that has ended, of a source that counts attempts,', () => {
    const attempted = (attempt: number, watch: WatchView): WatchView => ({
      ...watch,
      run: watch.run && { ...watch.run, attempt },
    });

    test('wait waits for another attempt that has begun', async () => {
      const failed = attempted(1, settledWatch('run-1', 'failed'));
      serve(failed);
      daemon.on('POST /v1/watches', () => {
        serve(attempted(2, sampleWatch()));
        return { status: 200, body: { ...failed, state: 'active' } };
      });
      const run = startCli(['wait', 'run-1'], { env: env() });
      await waitFor(() => daemon.streams() === 1 && run.stderr().includes('run-1 failed'));
      daemon.push('c1', sampleEvent('evt_1'));
      await waitFor(() => run.stderr().includes('run-1 running'));
      serve(attempted(2, settledWatch('run-1', 'completed')));
      daemon.push('c2', sampleEvent('evt_2'));
      expect(await run.exitCode).toBe(0);
      expect(run.stdout()).toBe('run-1 completed\n');
    });

    test('wait reads soon that no other attempt has begun, which has no event', async () => {
      const failed = attempted(1, settledWatch('run-1', 'failed'));
      serve(failed);
      const again = { ...failed, state: 'active' as const };
      daemon.on('POST /v1/watches', { status: 200, body: again });
      const pace = { firstCheckMs: 10, recheckMs: 3_600_000, patienceMs: 3_600_000 };
      const { result } = await settle(pace, async (views) => {
        await waitFor(() => views.length > 0);
      });
      expect(result.kind).toBe('failed');
    });

    test('wait by a token that may only read goes by the attempt that is known', async () => {
      serve(attempted(1, settledWatch('run-1', 'failed')));
      daemon.on('POST /v1/watches', problem(403, 'forbidden', 'the token may only read'));
      expect(await wait('run-1')).toMatchObject({ exitCode: 1, stdout: 'run-1 failed\n' });
    });

    test('wait tells why another attempt cannot be looked for', async () => {
      serve(attempted(1, settledWatch('run-1', 'failed')));
      daemon.on('POST /v1/watches', problem(409, 'too_many_watches', 'too many watches'));
      expect(await wait('run-1')).toMatchObject({
        exitCode: 5,
        stderr: expect.stringContaining('too many watches'),
      });
    });
  });

  test('wait adds no subscription to a watched run', async () => {
    serveFresh(sampleWatch(), settledWatch('run-1', 'completed'));
    expect((await wait('run-1')).exitCode).toBe(0);
    const posts = daemon.requests.filter(({ method }) => method === 'POST').map(({ path }) => path);
    expect(posts).toEqual(['/v1/watches/run-1/poll']);
  });

  test('wait exits 4 once a new poll confirms that the run awaits feedback', async () => {
    serveFresh(awaiting(), awaiting());
    expect(await wait('run-1')).toMatchObject({
      exitCode: 4,
      stdout: 'run-1 awaiting_human_feedback\n',
    });
  });

  test('wait notices feedback that was given just before it began', async () => {
    serveFresh(awaiting(), settledWatch('run-1', 'completed'));
    expect((await wait('run-1')).exitCode).toBe(0);
  });

  test('wait --through-feedback waits on', async () => {
    serveFresh(awaiting(), awaiting());
    const run = startCli(['wait', 'run-1', '--through-feedback'], { env: env() });
    await waitFor(() => run.stderr().includes('awaiting_human_feedback'));
    await waitFor(() => daemon.streams() === 1);
    serve(settledWatch('run-1', 'completed'));
    daemon.push('c9', sampleEvent('evt_9'));
    expect(await run.exitCode).toBe(0);
  });

  test('wait --timeout exits 124 and prints the last known run', async () => {
    serve(sampleWatch());
    const result = await wait('run-1', '--timeout', '3s', '--json');
    expect(result.exitCode).toBe(124);
    expect(JSON.parse(result.stdout)).toEqual({
      exit_code: 124,
      results: [
        {
          run_id: 'run-1',
          result: 'timed_out',
          exit_code: 124,
          run: sampleRun(),
          error: { code: 'timed_out', message: 'the time for waiting is up' },
        },
      ],
    });
  });

  test('wait --timeout does not wait for a daemon that hangs', async () => {
    serve(sampleWatch());
    daemon.on('POST /v1/watches/run-1/poll', 'hang');
    expect((await wait('run-1', '--timeout', '200ms')).exitCode).toBe(124);
  });

  test('Ctrl-C ends wait with 130 and no result', async () => {
    serve(sampleWatch());
    const run = startCli(['wait', 'run-1'], { env: env() });
    await waitFor(() => run.stderr().includes('running'));
    run.interrupt();
    expect(await run.exitCode).toBe(130);
    expect(run.stdout()).toBe('');
  });

  test('wait for a watched run needs only the scope read', async () => {
    serve(sampleWatch());
    daemon.on('POST /v1/watches/run-1/poll', () => {
      serve(settledWatch('run-1', 'completed'));
      setImmediate(() => daemon.push('c1', sampleEvent('evt_1')));
      return problem(403, 'forbidden', 'the token may only read');
    });
    expect((await wait('run-1')).exitCode).toBe(0);
  });

  test('wait shows no share of a run whose source gives no progress', async () => {
    const running = sampleWatch({ run: sampleRun({ progress: null }) });
    serveFresh(running, settledWatch('run-1', 'completed'));
    expect((await wait('run-1')).stderr).toContain('run-1 running\n');
  });

  test('wait shows bars on a terminal, and restores the cursor', async () => {
    serveFresh(sampleWatch(), settledWatch('run-1', 'completed'));
    const result = await runCli(['wait', 'run-1'], { env: env(), terminal: 80 });
    expect(result.exitCode).toBe(0);
    expect(result.stderr).toContain('█');
    expect(result.stderr).toMatch(/100%.*completed/);
    expect(result.stderr.lastIndexOf('\u001b[?25h')).toBeGreaterThan(
      result.stderr.lastIndexOf('\u001b[?25l'),
    );
  });
});

function clientUntil(signal: AbortSignal): DaemonClient {
  const settings = { url: daemon.url, token: undefined, startupMs: 0, timeoutMs: 5_000 };
  return createDaemonClient({ ...settings, userAgent: 'test' }, signal);
}

async function settle(
  pace: { firstCheckMs?: number; recheckMs?: number; patienceMs: number },
  during: (views: RunView[]) => Promise<void>,
) {
  const stop = new AbortController();
  const observer = createDaemonObserver({
    client: clientUntil(stop.signal),
    runs: [{ runId: 'run-1', source: undefined }],
    throughFeedback: false,
    signal: stop.signal,
    now: Date.now,
    random: () => 0,
    pace: { firstCheckMs: 5_000, recheckMs: 10, ...pace },
  });
  const views: RunView[] = [];
  const verdict = observer.settle('run-1', (view) => views.push(view));
  await during(views);
  const result = await verdict;
  observer.close();
  stop.abort();
  return { result, views };
}

describe('the events of runs that a program waits for', () => {
  const LATE_MS = 200;

  /** The events of `run-1` that a wait until its end passes on. */
  async function eventsUntilEnd({ opensLate = false, stop = new AbortController() } = {}): Promise<
    string[]
  > {
    const client = clientUntil(stop.signal);
    const events: string[] = [];
    const observer = createDaemonObserver({
      client: {
        ...client,
        async openEvents(query, lastId) {
          if (opensLate) await delay(LATE_MS);
          return client.openEvents(query, lastId);
        },
      },
      runs: [{ runId: 'run-1', source: undefined }],
      throughFeedback: false,
      signal: stop.signal,
      now: Date.now,
      random: () => 0,
      pace: { firstCheckMs: 10, recheckMs: 10, patienceMs: 60_000 },
      onEvent: ({ type }) => events.push(type),
    });
    expect(await observer.settle('run-1', () => undefined)).toMatchObject({ kind: 'completed' });
    observer.close();
    stop.abort();
    return events;
  }

  /** Answers that the run has ended; some time after the first time, something happens. */
  function serveEnd(later: () => void): void {
    let isRead = false;
    serve(sampleWatch());
    daemon.on('POST /v1/watches/run-1/poll', () => {
      daemon.on('GET /v1/watches/run-1', () => {
        if (!isRead) void delay(LATE_MS).then(later);
        isRead = true;
        return { status: 200, body: settledWatch('run-1', 'completed') };
      });
      return { status: 202 };
    });
  }

  test('the event of an end is passed on where a read shows the end before the stream does', async () => {
    serveEnd(() => daemon.push('c1', sampleEvent('evt_1')));
    expect(await eventsUntilEnd()).toEqual(['run.completed']);
  });

  test('a run is registered once the stream is open, which then brings what the first poll finds', async () => {
    serveFresh(sampleWatch(), settledWatch('run-1', 'completed'));
    expect(await eventsUntilEnd({ opensLate: true })).toEqual(['run.completed']);
  });

  test('a wait that is ended before the event comes keeps the end that was read', async () => {
    const stop = new AbortController();
    serveEnd(() => stop.abort());
    expect(await eventsUntilEnd({ stop })).toEqual([]);
  });

  test('without a stream a wait ends by its reads', async () => {
    daemon.on('GET /v1/events/stream', problem(403, 'forbidden', 'not for this token'));
    serveFresh(sampleWatch(), settledWatch('run-1', 'completed'));
    expect(await eventsUntilEnd()).toEqual([]);
  });
});

const PROXY_PAGE: FakeAnswer = { status: 502, body: '<html>', contentType: 'text/html' };

/** Observes runs of the daemon one by one. */
function waitingFor(ids: string[], signal: AbortSignal, { patienceMs = 60_000 } = {}) {
  const views: RunView[] = [];
  const observer = createDaemonObserver({
    client: clientUntil(signal),
    runs: ids.map((runId) => ({ runId, source: undefined })),
    throughFeedback: false,
    signal,
    now: Date.now,
    random: () => 0,
    pace: { firstCheckMs: 10, recheckMs: 10, patienceMs },
  });
  return {
    views,
    settleRun: (runId: string) => observer.settle(runId, (view) => views.push(view)),
  };
}

describe('trouble while waiting', () => {
  test('wait goes on while a proxy answers 502', async () => {
    serve(sampleWatch());
    const { result } = await settle({ patienceMs: 60_000 }, async (views) => {
      await waitFor(() => views.length > 0);
      daemon.on('GET /v1/watches/run-1', PROXY_PAGE);
      await waitFor(() => views.at(-1)?.trouble?.code === 'daemon_unreachable');
      expect(views.at(-1)?.trouble?.message).toContain('a proxy answers 502');
      serve(settledWatch('run-1', 'completed'));
    });
    expect(result.kind).toBe('completed');
  });

  test('wait goes on when the daemon restarts', async () => {
    serve(sampleWatch());
    const { result } = await settle({ patienceMs: 60_000 }, async (views) => {
      await waitFor(() => views.length > 0);
      const { port } = daemon;
      await daemon.close();
      await waitFor(() => views.at(-1)?.trouble?.code === 'daemon_unreachable');
      daemon = await startFakeDaemon(port);
      serve(settledWatch('run-1', 'completed'));
    });
    expect(result.kind).toBe('completed');
  });

  test.each<[string, FakeAnswer | 'cut']>([
    ['a proxy answers 502', PROXY_PAGE],
    ['the connection breaks', 'cut'],
    ['the daemon answers 503', problem(503, 'redis_away', 'Redis is away')],
  ])('wait goes on where %s before a run was read', async (_what, answer) => {
    serve(settledWatch('run-2', 'completed'));
    const answers = [answer, answer, answer];
    const settled = { status: 200, body: settledWatch('run-1', 'failed') };
    daemon.on('GET /v1/watches/run-1', () => answers.shift() ?? settled);
    const stop = new AbortController();
    const { settleRun, views } = waitingFor(['run-2', 'run-1'], stop.signal);
    expect(await settleRun('run-2')).toMatchObject({ kind: 'completed' });
    expect(await settleRun('run-1')).toMatchObject({ kind: 'failed' });
    stop.abort();
    const troubles = views.map(({ run, trouble }) => run === null && trouble !== null);
    expect(troubles).toEqual([false, true, true, true, false]);
  });

  test('wait cannot tell of a run that could not be read for too long', async () => {
    serve(settledWatch('run-2', 'completed'));
    daemon.on('GET /v1/watches/run-1', PROXY_PAGE);
    const stop = new AbortController();
    const { settleRun } = waitingFor(['run-2', 'run-1'], stop.signal, { patienceMs: 100 });
    await settleRun('run-2');
    expect(await settleRun('run-1')).toMatchObject({
      kind: 'cannot_tell',
      reason: {
        code: 'daemon_unreachable',
        message: expect.stringContaining('a proxy answers 502'),
      },
    });
    stop.abort();
  });

  test('wait fails at once where nothing has answered yet', async () => {
    daemon.on('GET /v1/watches/run-1', PROXY_PAGE);
    const stop = new AbortController();
    const { settleRun } = waitingFor(['run-1'], stop.signal);
    await expect(settleRun('run-1')).rejects.toMatchObject({ code: 'daemon_unreachable' });
    stop.abort();
  });

  test('wait asks again where one of several runs cannot be read at first', async () => {
    serve(settledWatch('run-1', 'completed'));
    serve(settledWatch('run-2', 'completed'));
    const answers: FakeAnswer[] = [PROXY_PAGE];
    daemon.on(
      'GET /v1/watches/run-2',
      () => answers.shift() ?? { status: 200, body: settledWatch('run-2', 'completed') },
    );
    const { exitCode, stdout, stderr } = await wait('run-1', 'run-2');
    expect([exitCode, stdout]).toEqual([0, 'run-1 completed\nrun-2 completed\n']);
    expect(stderr).toContain('run-2 not seen yet (a proxy answers 502');
  });

  test.each<[string, FakeAnswer | 'cut']>([
    ['a proxy answers 502', PROXY_PAGE],
    ['the connection breaks', 'cut'],
    ['the daemon answers 500', problem(500, 'internal', 'an unexpected error')],
    ['the daemon answers 503', problem(503, 'redis_away', 'Redis is away')],
  ])('wait goes on where %s at its first look-ups, and says so', async (_what, answer) => {
    const asked = [answer];
    const ended = { status: 200, body: settledWatch('run-1', 'failed') };
    daemon.on('GET /v1/watches/run-1', () => asked.shift() ?? ended);
    const looked = [answer];
    const nothing = { status: 200, body: { data: [], more: false, tried: [] } };
    daemon.on('GET /v1/lookup', () => looked.shift() ?? nothing);
    const { exitCode, stdout, stderr } = await wait('run-1');
    expect([exitCode, stdout]).toEqual([1, 'run-1 failed\n']);
    expect(stderr.match(/; asking again for up to 120 s\n/g)).toHaveLength(1);
    expect([asked, looked]).toEqual([[], []]);
  });

  test('wait has no patience where nothing listens as it begins', async () => {
    await daemon.close();
    const { exitCode, stderr } = await wait('run-1');
    expect([exitCode, stderr.includes('asking again')]).toEqual([5, false]);
  });

  test('wait has patience where nothing listens once the daemon was there', async () => {
    daemon.on('GET /v1/watches/run-1', () => {
      void daemon.close();
      return 'cut';
    });
    // Longer than until it is asked again.
    const { exitCode, stderr } = await wait('run-1', '--timeout', '3s');
    expect(exitCode).toBe(124);
    expect(stderr).toContain('The time for waiting is up, and the daemon has not answered.');
  });

  test.each<[string, FakeAnswer | 'hang']>([
    ['refuses', problem(503, 'redis_away', 'Redis is away')],
    ['hangs', 'hang'],
  ])('wait --timeout exits 124 where the daemon %s all the time', async (_what, answer) => {
    daemon.on('GET /v1/watches/run-1', () => answer);
    daemon.on('GET /v1/batches/nightly', () => answer);
    for (const named of [['run-1'], ['--batch', 'nightly']]) {
      const { exitCode, stdout, stderr } = await wait(...named, '--timeout', '100ms');
      expect([exitCode, stdout]).toEqual([124, '']);
      expect(stderr).toContain('The time for waiting is up, and the daemon has not answered.');
    }
  });

  test('wait does not ask again what the daemon refuses for good', async () => {
    daemon.on('GET /v1/watches/run-1', problem(403, 'forbidden', 'not for this token'));
    expect(await wait('run-1')).toMatchObject({ exitCode: 5 });
    expect(daemon.requests).toHaveLength(1);
  });

  test('wait cannot tell when the daemon is away for too long', async () => {
    serve(sampleWatch());
    const { result } = await settle({ patienceMs: 100 }, async (views) => {
      await waitFor(() => views.length > 0);
      await daemon.close();
    });
    daemon = await startFakeDaemon();
    expect(result).toMatchObject({ kind: 'cannot_tell', reason: { code: 'daemon_unreachable' } });
  });

  test('wait cannot tell when Noxus is away for too long', async () => {
    const error = { code: 'unavailable', message: 'Noxus answers 500', since: '' };
    serve(sampleWatch({ error }));
    const { result } = await settle({ patienceMs: 100 }, async () => undefined);
    expect(result).toEqual({
      kind: 'cannot_tell',
      reason: { code: 'unavailable', message: 'Noxus answers 500' },
    });
  });

  test('wait forgets an outage that is over', async () => {
    const error = { code: 'unavailable', message: 'Noxus answers 500', since: '' };
    serve(sampleWatch({ error }));
    const { result } = await settle({ patienceMs: 60_000 }, async (views) => {
      await waitFor(() => views.some(({ trouble }) => trouble !== null));
      serve(settledWatch('run-1', 'failed'));
    });
    expect(result.kind).toBe('failed');
  });

  test('wait ends when its watch is cancelled', async () => {
    serve(sampleWatch());
    const { result } = await settle({ patienceMs: 60_000 }, async (views) => {
      await waitFor(() => views.length > 0);
      daemon.on('GET /v1/watches/run-1', problem(404, 'watch_not_found', 'not watched'));
    });
    expect(result).toMatchObject({ kind: 'cannot_tell', reason: { code: 'watch_not_found' } });
  });
});

function readers(outcome: PollResult) {
  const asked: string[] = [];
  const opened: RunReaderSettings[] = [];
  const state = { asked, opened, closed: 0 };
  const createRunReader = async (settings: RunReaderSettings) => {
    opened.push(settings);
    return {
      readRun: async (runId: string) => {
        asked.push(runId);
        return outcome;
      },
      close: () => void (state.closed += 1),
    };
  };
  return { state, local: { createRunReader } };
}

const NIGHTLY: OneBatchView = {
  id: 'bat_1',
  name: 'nightly',
  sources: null,
  state: 'open',
  closed_by: null,
  total: 1,
  expected: null,
  max_failed: null,
  by_status: { completed: 1 },
  failed: [],
  endpoints: null,
  webhook: null,
  created_at: '2025-05-04T09:00:00.000Z',
  failed_at: null,
  completed_at: null,
};

describe('waiting for a batch', () => {
  const batch = NIGHTLY;

  test.each<[string, FakeAnswer | 'cut' | 'hang']>([
    ['a daemon that is away', 'cut'],
    ['a daemon that hangs', 'hang'],
    ['a proxy that answers 502', PROXY_PAGE],
  ])('wait --batch --timeout exits 124 for %s, with the results so far', async (_what, answer) => {
    const ended = settledWatch('run-1', 'completed');
    serve(ended);
    daemon.on('GET /v1/batches/nightly', { status: 200, body: batch });
    daemon.on('GET /v1/watches', { status: 200, body: { data: [ended], next_cursor: null } });
    let reads = 0;
    daemon.on('GET /v1/batches/bat_1', () => {
      reads += 1;
      if (reads > 1) return answer;
      return { status: 200, body: batch };
    });
    const result = await wait('--batch', 'nightly', '--timeout', '2s', '--json');
    expect(result.exitCode).toBe(124);
    expect(reads).toBeGreaterThan(1);
    expect(JSON.parse(result.stdout)).toMatchObject({
      exit_code: 124,
      batch: { name: 'nightly', state: 'open' },
      results: [{ run_id: 'run-1', result: 'completed' }],
    });
  });
});

describe('waiting for a batch that is looked up', () => {
  test.each<[string, FakeAnswer | 'cut']>([
    ['the connection breaks', 'cut'],
    ['the daemon answers 503', problem(503, 'redis_away', 'Redis is away')],
  ])('wait --batch goes on where %s at first, and says so', async (_what, answer) => {
    const ended = settledWatch('run-1', 'completed');
    serve(ended);
    const batch = { ...NIGHTLY, state: 'closed' as const, closed_by: 'closed' as const };
    const answers = [answer];
    daemon.on('GET /v1/batches/nightly', () => answers.shift() ?? { status: 200, body: batch });
    daemon.on('GET /v1/batches/bat_1', { status: 200, body: batch });
    daemon.on('GET /v1/watches', { status: 200, body: { data: [ended], next_cursor: null } });
    const { exitCode, stderr } = await wait('--batch', 'nightly');
    expect(exitCode).toBe(0);
    expect(stderr).toContain('; asking again for up to 120 s');
  });
});

describe('without a daemon', () => {
  const completed: PollResult = { kind: 'run', run: sampleRun({ status: 'completed' }) };

  test('wait without a daemon polls Noxus where there is a key', async () => {
    await daemon.close();
    const { state, local } = readers(completed);
    const keyed = { ...env(), NOXUS_API_KEY: 'key', NOXUS_BACKEND_URL: 'https://noxus.example' };
    const result = await runCli(['wait', 'run-1'], { env: keyed, local, now: Date.now });
    daemon = await startFakeDaemon();
    expect(result.exitCode).toBe(0);
    expect(result.stderr).toContain('No daemon answers; asking https://noxus.example directly.');
    expect(state).toMatchObject({ asked: ['run-1'], closed: 1 });
    expect(state.opened[0]).toMatchObject({ baseUrl: 'https://noxus.example', apiKey: 'key' });
  });

  test('wait without a daemon refuses a run of a named source', async () => {
    await daemon.close();
    const { state, local } = readers(completed);
    const options = { env: { ...env(), NOXUS_API_KEY: 'key' }, local };
    const result = await runCli(['wait', 'run-1', '--source', 'eu'], options);
    daemon = await startFakeDaemon();
    expect(result.exitCode).toBe(5);
    expect(state.opened).toEqual([]);
  });

  test('wait --direct sends nothing to the daemon', async () => {
    const { local } = readers(completed);
    const options = { env: { ...env(), NOXUS_API_KEY: 'key' }, local, now: Date.now };
    const result = await runCli(['wait', 'run-1', '--direct'], options);
    expect(result.exitCode).toBe(0);
    expect(daemon.requests).toEqual([]);
  });
});

describe.each(['wait', 'watch', 'unwatch', 'stop'])('runwatch %s -', (verb) => {
  test(`${verb} that reads ids from standard input ends on Ctrl-C with 130`, async () => {
    const run = startCli([verb, '-'], { env: env(), terminalInput: 'silent' });
    await waitFor(() => run.stderr().includes('Reading run ids'));
    run.interrupt();
    expect(await run.exitCode).toBe(130);
    expect(run.stdout()).toBe('');
    expect(run.stderr()).not.toContain('error:');
    expect(daemon.requests).toEqual([]);
  });
});
