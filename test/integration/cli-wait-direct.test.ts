import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { ScriptInput } from '../../src/simulator/script.ts';
import { createRunReader } from '../../src/cli/local/run-reader.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { createDirectObserver } from '../../src/cli/wait/direct-account.ts';
import type { RunView } from '../../src/client/wait-verdict.ts';
import type { PollResult } from '../../src/core/run/snapshot.ts';
import { sampleRun } from '../support/api-samples.ts';
import { waitFor } from '../support/wait-for.ts';

const POLICY = {
  minIntervalMs: 5,
  maxIntervalMs: 10,
  unreachableAfterMs: 200,
  goneAfterMs: 60,
  remindAfterMs: [],
  stallAfterMs: Infinity,
};

const seen = (status: string, progress = 0): PollResult => ({
  kind: 'run',
  run: sampleRun({ status, progress }),
});
const down: PollResult = { kind: 'unavailable', message: 'Noxus answers 500' };
const missing: PollResult = { kind: 'not_found' };
const refused: PollResult = { kind: 'unauthorized', message: 'bad key' };

let stop: AbortController;
beforeEach(() => {
  stop = new AbortController();
});
afterEach(() => stop.abort());

/** Waits for a run that is read as scripted; the last outcome repeats. */
async function settle(script: PollResult[], { throughFeedback = false } = {}) {
  const views: RunView[] = [];
  const reads: number[] = [];
  const observer = createDirectObserver({
    reader: {
      readRun: async () => {
        reads.push(Date.now());
        return script[Math.min(reads.length, script.length) - 1]!;
      },
      close: () => undefined,
    },
    policy: POLICY,
    throughFeedback,
    signal: stop.signal,
    now: Date.now,
    random: () => 0,
  });
  const verdict = await observer.settle('run-1', (view) => views.push(view));
  return { verdict, views, reads };
}

describe('waiting by asking Noxus itself', () => {
  test('wait --direct polls until the run ends', async () => {
    const script = [seen('queued'), seen('running', 10), seen('running', 90), seen('completed')];
    const { verdict, views } = await settle(script);
    expect(verdict.kind).toBe('completed');
    expect(views.map(({ run }) => [run?.status, run?.progress])).toEqual([
      ['queued', 0],
      ['running', 10],
      ['running', 90],
      ['completed', 0],
    ]);
  });

  test('wait --direct stops at a run that awaits feedback, or waits through it', async () => {
    const script = [seen('awaiting_human_feedback'), seen('running'), seen('failed')];
    expect((await settle(script)).verdict.kind).toBe('awaiting_human_feedback');
    expect((await settle(script, { throughFeedback: true })).verdict.kind).toBe('failed');
  });

  test('wait --direct waits through an unknown status', async () => {
    expect((await settle([seen('levitating'), seen('stopped')])).verdict.kind).toBe('stopped');
  });

  test('wait --direct takes a run for gone only after lasting 404s', async () => {
    expect((await settle([missing, missing, seen('completed')])).verdict.kind).toBe('completed');
    const { verdict, reads } = await settle([missing]);
    expect(verdict).toMatchObject({ kind: 'cannot_tell', reason: { code: 'not_found' } });
    expect(reads.length).toBeGreaterThan(3);
  });

  test('wait --direct ends at once for an id that Noxus rejects', async () => {
    const { verdict, reads } = await settle([{ kind: 'rejected', message: 'not a UUID' }]);
    expect(verdict.reason?.message).toContain('not a UUID');
    expect(reads).toHaveLength(1);
  });

  test('wait --direct outlasts short outages, and a long one is no failed run', async () => {
    expect((await settle([down, seen('completed')])).verdict.kind).toBe('completed');
    const { verdict } = await settle([seen('running'), down]);
    expect(verdict).toEqual({
      kind: 'cannot_tell',
      reason: { code: 'unavailable', message: 'Noxus answers 500' },
    });
  });

  test('wait --direct ends at once for a key that is refused at first', async () => {
    const { verdict, reads } = await settle([refused]);
    expect(verdict).toMatchObject({ kind: 'cannot_tell', reason: { code: 'unauthorized' } });
    expect(reads).toHaveLength(1);
  });

  test('wait --direct goes on when a key that has worked is refused', async () => {
    const script = [seen('running'), refused, seen('completed')];
    expect((await settle(script)).verdict.kind).toBe('completed');
  });

  test('wait --direct sends no request before Retry-After is over', async () => {
    const limited: PollResult = {
      kind: 'rate_limited',
      retryAfterMs: 150,
      message: 'slow down',
    };
    const { verdict, reads } = await settle([limited, seen('completed')]);
    expect(verdict.kind).toBe('completed');
    expect(reads).toHaveLength(2);
    expect(reads[1]! - reads[0]!).toBeGreaterThanOrEqual(150);
  });

  test('wait --direct cannot tell after a pause beyond its patience', async () => {
    const limited: PollResult = {
      kind: 'rate_limited',
      retryAfterMs: 3_600_000,
      message: 'slow down',
    };
    const { verdict, reads } = await settle([limited]);
    expect(verdict).toMatchObject({ kind: 'cannot_tell', reason: { code: 'rate_limited' } });
    expect(reads).toHaveLength(1);
  });

  test('wait --direct ends with the signal', async () => {
    const waiting = settle([seen('running')]);
    stop.abort();
    await expect(waiting).rejects.toThrow();
  });
});

describe('waiting by event stream', () => {
  let noxus: Simulator;
  beforeEach(async () => {
    noxus = await startSimulator();
  });
  afterEach(() => noxus.close());

  /** Waits for a run that takes a status once it was read. @returns the verdict, and the reads */
  async function settleByStream(
    status: string,
    intervalMs: number,
    {
      stream = {},
      streamedReadMs,
    }: { stream?: ScriptInput['stream']; streamedReadMs?: number } = {},
  ) {
    const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'running' }], stream });
    const reader = createRunReader({
      baseUrl: noxus.url,
      apiKey: noxus.apiKey,
      timeoutMs: 5_000,
      userAgent: 'test',
      maxSockets: 4,
      maxStreams: 4,
      proxy: undefined,
    });
    const observer = createDirectObserver({
      reader,
      policy: { ...POLICY, minIntervalMs: intervalMs, maxIntervalMs: intervalMs },
      throughFeedback: false,
      streamedReadMs,
      signal: stop.signal,
      now: Date.now,
      random: () => 0,
    });
    const verdict = await observer.settle(id, ({ run }) => {
      if (run?.status === 'running') setImmediate(() => noxus.setStatus(id, status));
    });
    // Before the wait for other runs is over.
    await waitFor(() => noxus.streams.open === 0);
    stop.abort();
    observer.close();
    return { kind: verdict.kind, reads: noxus.requests.run(id).count };
  }

  test.each(['completed', 'failed', 'stopped', 'awaiting_human_feedback'])(
    'wait --direct knows of %s at once by the stream, with two reads',
    async (status) => {
      const { kind, reads } = await settleByStream(status, 60_000);
      expect(kind).toBe(status);
      expect(reads).toBe(2);
      expect(noxus.streams.opened).toBe(1);
    },
  );

  test.each(['stopped', 'awaiting_human_feedback'])(
    'wait --direct knows of %s by a read where the stream is silent',
    async (status) => {
      const silent = { stream: { silent_on: ['*'] }, streamedReadMs: 100 };
      expect((await settleByStream(status, 60_000, silent)).kind).toBe(status);
      expect(noxus.streams.opened).toBe(1);
    },
  );

  test('wait --direct polls by its cadence where a run has no stream', async () => {
    noxus.fault({ kind: 'status', status: 404, on: 'stream' });
    expect((await settleByStream('stopped', 50)).kind).toBe('stopped');
    expect(noxus.streams.opened).toBe(0);
  });
});
