import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import { watchId, type Watch } from '../../src/core/watch/watch.ts';
import { createHints, type Hints } from '../../src/feed/stream-feed.ts';
import type { StreamEnd } from '../../src/feed/hint-stream.ts';
import { HintStore } from '../../src/redis/stores/hint-store.ts';
import { newWatch, NOON, snapshot } from '../support/builders.ts';
import { openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const stores = openStores();
afterAll(() => stores.close());

const LIMIT = 2;

let sources = 0;
let source: string;
let hints: Hints;
/** Runs whose streams are open. */
let open: Set<string>;
/** The most streams that were open at once. */
let most: number;
/** What a stream that is asked for comes to in place of one. */
let refusal: StreamEnd | null;
let asked: number;
let pauses: number;

beforeEach(() => {
  source = `source-${(sources += 1)}`;
  [open, most, refusal, asked, pauses] = [new Set(), 0, null, 0, 0];
  hints = createHints({
    source,
    process: 'one',
    limit: LIMIT,
    store: new HintStore(stores.redis, stores.keys),
    streams: { follow },
    watches: { getMany: async (keys) => keys.map(() => null) },
    claim: async () => ({ settle: () => undefined }),
    expedite: async () => undefined,
    pause: async () => void (pauses += 1),
    onEnd: () => undefined,
    onError: (error) => {
      throw error;
    },
    now: Date.now,
  });
});

/** A stream that is there until it is closed. */
async function follow(runId: string, { signal }: { signal: AbortSignal }): Promise<StreamEnd> {
  asked += 1;
  if (refusal !== null) return refusal;
  open.add(runId);
  most = Math.max(most, open.size);
  if (!signal.aborted) {
    await new Promise((closed) => signal.addEventListener('abort', closed, { once: true }));
  }
  open.delete(runId);
  return { kind: 'closed' };
}

function watchOf(runId: string, fields: Partial<Watch> = {}): Watch {
  return newWatch({ source, runId, run: snapshot({ id: runId }), ...fields });
}

describe('a process that has as many streams as there may be', () => {
  test('a process with all its streams gives one to a run that needs it more', async () => {
    hints.offer(watchOf('older', { registeredAt: NOON - 1 }));
    hints.offer(watchOf('newer', { registeredAt: NOON }));
    await waitFor(() => open.size === LIMIT);
    hints.offer(watchOf('newest', { registeredAt: NOON + 1 }));
    hints.offer(watchOf('urgent', { registeredAt: NOON + 2, profile: 'urgent' }));
    await waitFor(() => open.has('urgent'));
    expect([...open].toSorted()).toEqual(['older', 'urgent']);
    hints.offer(watchOf('oldest', { registeredAt: NOON - 2 }));
    await waitFor(() => open.has('oldest'));
    expect([...open].toSorted()).toEqual(['oldest', 'urgent']);
    expect(most).toBe(LIMIT);
    expect(await hints.isStreamed(watchId(watchOf('older')))).toBe(false);
    await hints.stop();
  });
});

describe('a source that throttles a stream', () => {
  test('no stream is opened for longer than the source asks, so that runs can be polled', async () => {
    refusal = { kind: 'refused', status: 429, retryAfterMs: 1 };
    hints.offer(watchOf('first'));
    await waitFor(() => pauses === 1);
    hints.offer(watchOf('second'));
    await hints.stop();
    expect(asked).toBe(1);
  });
});
