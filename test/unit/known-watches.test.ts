import { expect, test } from '@jest/globals';
import { chunksOf } from '../../src/core/arrays.ts';
import { KnownWatches, MOST_BYTES } from '../../src/daemon/known-watches.ts';
import type { Watch, WatchKey } from '../../src/core/watch/watch.ts';
import type { StoredWatch } from '../../src/redis/watch-change.ts';
import { newWatch } from '../support/builders.ts';

test('a watch that the store lost is remembered with the ends that later reads took back', async () => {
  const known = new KnownWatches({
    absent: async () => [],
    getMany: async (keys) => keys.map(() => null),
    async *active() {},
  });
  const watch = newWatch();
  known.note(watch);
  known.polled({ ...watch, sequence: 1 });
  known.polled({ ...watch, sequence: 2, pastEnds: ['run.failed'] });
  known.polled({ ...watch, sequence: 3, pastEnds: ['run.failed'] });
  expect(await known.missing()).toMatchObject([{ sequence: 3, pastEnds: ['run.failed'] }]);
});

/** A store with these active watches. */
function storeOf(stored: readonly Watch[]) {
  const byId = new Map(stored.map((watch) => [watch.runId, watch]));
  return {
    getMany: async (keys: readonly WatchKey[]) =>
      keys.map(({ runId }) => storedWatch(byId.get(runId))),
    absent: async () => [],
    async *active(chunk: number, order: 'newest' | 'oldest' = 'oldest') {
      yield* chunksOf(order === 'newest' ? stored.toReversed() : stored, chunk);
    },
  };
}

const storedWatch = (watch: Watch | undefined): StoredWatch | null =>
  watch === undefined ? null : { watch, version: 1, number: 1 };

/** Watches that together are larger than what a process remembers. */
function largeWatches(): Watch[] {
  const text = 'x'.repeat(40_000);
  const count = Math.ceil((1.5 * MOST_BYTES) / text.length);
  return Array.from({ length: count }, (_, at) =>
    newWatch({ runId: `run-${at}`, metadata: { text } }),
  );
}

test('registrations are remembered up to a bound in bytes, the newest', async () => {
  const large = largeWatches();
  const known = new KnownWatches(storeOf([]));
  for (const watch of large) known.note(watch);
  expect(known.bytes).toBeLessThanOrEqual(MOST_BYTES);
  expect(known.bytes).toBeGreaterThan(0.9 * MOST_BYTES);
  expect((await known.missing()).at(-1)).toMatchObject({ runId: large.at(-1)?.runId });

  // Polls of the others do not push out newer ones.
  for (const watch of large) known.polled(watch);
  expect(known.bytes).toBeLessThanOrEqual(MOST_BYTES);
  expect((await known.missing()).at(-1)).toMatchObject({ runId: large.at(-1)?.runId });

  for (const watch of large) known.forget(watch);
  expect([known.size, known.bytes]).toEqual([0, 0]);
});

test.each([
  ['reads when it starts', (known: KnownWatches) => known.load()],
  [
    'hears of from other processes',
    (known: KnownWatches, all: readonly Watch[]) => {
      for (const watch of all) known.expect(watch);
      return known.catchUp();
    },
  ],
])('what a process %s is remembered up to the bound in bytes', async (_, read) => {
  const large = largeWatches();
  const known = new KnownWatches(storeOf(large));
  await read(known, large);
  expect(known.bytes).toBeLessThanOrEqual(MOST_BYTES);
  expect(known.bytes).toBeGreaterThan(0.9 * MOST_BYTES);
});

test('a start reads the newest watches as far as they are remembered, and those since are newer still', async () => {
  const large = largeWatches();
  const store = storeOf(large);
  let read = 0;
  const known = new KnownWatches({
    ...store,
    getMany: async (keys) => {
      read += keys.length;
      return store.getMany(keys);
    },
  });
  const since = newWatch({ runId: 'since' });
  known.note(since);
  expect(await known.load()).toBe(true);
  const remembered = known.sample(large.length).map(({ runId }) => runId);
  expect(remembered).toEqual([
    ...large.slice(1 - remembered.length).map(({ runId }) => runId),
    since.runId,
  ]);
  expect(read).toBeLessThan(large.length);
});

test.each([
  ['one that is remembered', 'run-599'],
  ['one that is not remembered', 'run-0'],
])('a start finds that a record is gone: of %s', async (_, runId) => {
  const large = largeWatches();
  const store = storeOf(large);
  const isGone = (key: WatchKey) => key.runId === runId;
  const known = new KnownWatches({
    ...store,
    getMany: async (keys) => {
      const found = await store.getMany(keys);
      return found.map((stored, at) => (isGone(keys[at]!) ? null : stored));
    },
    absent: async (keys) => keys.filter(isGone),
  });
  expect(await known.load()).toBe(false);
});
