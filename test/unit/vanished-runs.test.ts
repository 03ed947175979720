import { expect, test } from '@jest/globals';
import { VanishedRuns } from '../../src/core/feed/vanished.ts';
import { NOON } from '../support/builders.ts';

/** A list in pages of three runs, all of them watched. */
function listOf(ids: string[], { size = 3 } = {}) {
  const vanished = new VanishedRuns();
  const createdAt = new Map(ids.map((id, at) => [id, NOON - at * 60_000]));
  return {
    read(page: number): string[] {
      const shown = ids.slice((page - 1) * size, page * size);
      const watched = new Map(shown.map((id) => [id, createdAt.get(id)!]));
      const [newest, oldest] = [Math.max(...watched.values()), Math.min(...watched.values())];
      const isLast = page * size >= ids.length;
      const mark = { page, newest, oldest, runs: shown.length, isLast, at: NOON, head: null };
      return vanished.take({ workflowId: null }, mark, { shown: new Set(shown), watched });
    },
    delete: (...gone: string[]) =>
      void ids.splice(0, ids.length, ...ids.filter((id) => !gone.includes(id))),
    begin(id: string) {
      createdAt.set(id, Math.max(...createdAt.values()) + 1_000);
      ids.unshift(id);
    },
  };
}

const EIGHT = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];

test('a run that is deleted vanishes from its page, once', () => {
  const list = listOf([...EIGHT]);
  for (const page of [1, 2, 3]) expect(list.read(page)).toEqual([]);
  list.delete('e');
  expect([1, 2, 3, 1, 2, 3].map((page) => list.read(page))).toEqual([[], ['e'], [], [], [], []]);
});

test.each(['a', 'h'])('run %s at an end of the list is found to vanish', (id) => {
  const list = listOf([...EIGHT]);
  for (const page of [1, 2, 3]) list.read(page);
  list.delete(id);
  expect([1, 2, 3].flatMap((page) => list.read(page))).toEqual([id]);
});

test('runs that move to other pages do not vanish', () => {
  const list = listOf([...EIGHT]);
  for (const page of [1, 2, 3]) list.read(page);
  for (const id of ['i', 'j', 'k', 'l']) {
    list.begin(id);
    expect([3, 2, 1, 2].flatMap((page) => list.read(page))).toEqual([]);
  }
  list.delete('i', 'j');
  expect([2, 3, 2, 1, 2, 3].flatMap((page) => list.read(page))).toEqual(['j']);
});

test('a list that is cleared reports only a few of its runs', () => {
  const ids = Array.from({ length: 100 }, (_, at) => `run-${at}`);
  const list = listOf(ids, { size: 100 });
  list.read(1);
  list.delete(...ids);
  expect(list.read(1)).toHaveLength(10);
  expect(list.read(1)).toEqual([]);
});
