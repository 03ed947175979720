import { expect, test } from '@jest/globals';
import { parseStreamMember } from '../../src/core/feed/page-name.ts';
import { NEW_CAPACITY, type StreamCapacity } from '../../src/core/feed/stream-capacity.ts';
import { configSchema } from '../../src/config/schema.ts';
import { StreamFeed } from '../../src/source/stream-feed.ts';
import { testProcess, testSource } from '../support/daemon.ts';
import { newWatch, NOON, snapshot } from '../support/builders.ts';

const ALLOWED = 5;

const config = configSchema.parse({ data_dir: '/nowhere', polling: { hint_streams: 100 } });

const ASKED = { at: NOON, access: '' };

/** A run that is watched, and how far it is, per cent. */
function watchOf(runId: string, progress: number) {
  const cadence = { intervalMs: 1_000, failures: 0 };
  return newWatch({ runId, run: snapshot({ id: runId, progress }), cadence });
}

function openings({ size = ALLOWED } = {}) {
  const state = {
    hintsWaitMs: 0,
    entered: [] as string[],
    passes: 0,
    pauses: [] as (number | null)[],
    capacityChanges: 0,
    sizeAfter: size,
  };
  const capacity: StreamCapacity = { ...NEW_CAPACITY, size, liveAt: NOON };
  const streams = {
    take: async () => true,
    count: async () => 0,
    capacity: async () => capacity,
    changeCapacity: async (_source: string, change: (before: StreamCapacity) => StreamCapacity) => {
      state.capacityChanges += 1;
      state.sizeAfter = change(capacity).size;
      return capacity;
    },
  };
  const source = testSource({
    process: testProcess({ config, stores: { streams }, now: () => NOON }),
    limiter: { limit: { requests: 1_000, perMs: 1_000 } },
    throttle: {
      asks: () => ASKED,
      note: async (answer) => {
        if (answer.kind === 'rate_limited') state.pauses.push(answer.retryAfterMs);
      },
    },
    schedule: {
      enterFeed: async (_kind, members) => {
        state.entered.push(...members.map(({ member }) => parseStreamMember(member)));
      },
      countDue: async () => {
        state.passes += 1;
        return 0;
      },
    },
  });
  const feed = new StreamFeed(source);
  Object.assign(feed.hintReads, { waitMs: () => state.hintsWaitMs });
  const of = feed.openings;
  return { of, state };
}

test('as many streams as may be open are entered, of the runs that are nearly done first', async () => {
  const { of, state } = openings();
  for (let progress = 10; progress <= 90; progress += 10) {
    of.offer(watchOf(`run-${progress}`, progress));
  }
  await of.pump();
  expect(state.entered).toEqual(['run-90', 'run-80', 'run-70', 'run-60', 'run-50']);
});

test('a 429 of a stream stops streams for a while, and pauses polls only where it has Retry-After', async () => {
  const { of, state } = openings();
  await of.ended('run-1', { kind: 'throttled', status: 429, retryAfterMs: null }, ASKED);
  of.offer(watchOf('run-2', 50));
  await of.pump();
  expect([state.entered, state.pauses]).toEqual([[], []]);
  await of.ended('run-3', { kind: 'throttled', status: 429, retryAfterMs: 20_000 }, ASKED);
  expect(state.pauses).toEqual([20_000]);
});

test('a 429 of a stream leaves half of the streams that are configured', async () => {
  const { of, state } = openings({ size: 8_000 });
  await of.ended('run-1', { kind: 'throttled', status: 429, retryAfterMs: null }, ASKED);
  expect(state.sizeAfter).toBe(50);
});

test('a stream that this host could not open changes nothing for the source, and no other is opened at once', async () => {
  const { of, state } = openings();
  await of.ended('run-1', { kind: 'unsent', error: new Error('EMFILE') }, ASKED);
  of.offer(watchOf('run-2', 50));
  await of.pump();
  expect(state).toMatchObject({ entered: [], pauses: [], capacityChanges: 0 });
});

test('offers that come at once are entered in one pass', async () => {
  const { of, state } = openings();
  for (let run = 0; run < 50; run += 1) of.offer(watchOf(`run-${run}`, 0));
  await Promise.all([of.pump(), of.pump()]);
  expect(state.passes).toBe(1);
});

test('no stream is opened while hints wait for their reads, and those that were are offered again', async () => {
  const { of, state } = openings();
  const [before, later] = [watchOf('run-1', 90), watchOf('run-2', 10)];
  of.offer(before);
  await of.pump();
  expect(of.isDue(before)).toBe(true);
  state.hintsWaitMs = 1_000;
  expect(of.isDue(before)).toBe(false);
  of.offer(later);
  await of.pump();
  expect(state.entered).toEqual(['run-1']);
  state.hintsWaitMs = 0;
  await of.pump();
  expect(state.entered).toEqual(['run-1', 'run-1', 'run-2']);
});
