import { expect, test } from '@jest/globals';
import { isoTime } from '../../src/core/event/event.ts';
import { VanishedRuns } from '../../src/core/feed/vanished.ts';
import { NOON } from '../support/builders.ts';

const WORKFLOW = 'workflow-1';

/** A list in pages of three runs, all of them watched. The time between two reads is a second. */
function listOf(ids: string[], { size = 3 } = {}) {
  const vanished = new VanishedRuns();
  const createdAt = new Map(ids.map((id, at) => [id, NOON - at * 60_000]));
  let seconds = 0;
  return {
    ids,
    read(number: number): string[] {
      const runs = ids.slice((number - 1) * size, number * size).map((id) => ({
        id,
        workflow_id: WORKFLOW,
        status: 'running',
        progress: 0,
        created_at: isoTime(createdAt.get(id)!),
        finished_at: null,
      }));
      const page = { runs, isLast: number * size >= ids.length, isCut: false, bytes: 0 };
      const watched = new Map(runs.map(({ id }) => [id, createdAt.get(id)!]));
      const now = NOON + (seconds += 1) * 1_000;
      return vanished.take({ workflowId: WORKFLOW, page: number }, { page, watched, now });
    },
    delete: (...gone: string[]) =>
      void ids.splice(0, ids.length, ...ids.filter((id) => !gone.includes(id))),
    begin(id: string) {
      createdAt.set(id, NOON + (seconds += 1) * 1_000);
      ids.unshift(id);
    },
    wait: (s: number) => void (seconds += s),
  };
}

const EIGHT = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];

test('a run that is deleted vanishes from its page, once', () => {
  const list = listOf([...EIGHT]);
  for (const page of [1, 2, 3]) expect(list.read(page)).toEqual([]);
  list.delete('e');
  expect([1, 2, 3, 1, 2, 3].map((page) => list.read(page))).toEqual([[], ['e'], [], [], [], []]);
});

test.each(['a', 'c', 'f', 'h'])('run %s at the edge of a page is found to vanish', (id) => {
  const list = listOf([...EIGHT]);
  for (const page of [1, 2, 3]) list.read(page);
  list.delete(id);
  expect([1, 2, 3].flatMap((page) => list.read(page))).toEqual([id]);
});

test('the first run of a page counts as vanished once the page before does not show it either', () => {
  const list = listOf([...EIGHT]);
  for (const page of [1, 2, 3]) list.read(page);
  list.delete('d');
  expect(list.read(2)).toEqual([]);
  expect(list.read(2)).toEqual([]);
  list.read(1);
  expect(list.read(2)).toEqual(['d']);
  expect(list.read(2)).toEqual([]);
});

test('runs that move to other pages do not vanish', () => {
  const list = listOf([...EIGHT]);
  for (const page of [1, 2, 3]) list.read(page);
  for (const id of ['i', 'j', 'k', 'l']) {
    list.begin(id);
    expect([3, 2, 1, 2].flatMap((page) => list.read(page))).toEqual([]);
  }
  list.delete('i', 'j');
  expect([2, 3, 2, 1, 2, 3].flatMap((page) => list.read(page))).toEqual(['j', 'i']);
});

test('a list that is cleared reports only a few of its runs', () => {
  const ids = Array.from({ length: 100 }, (_, at) => `run-${at}`);
  const list = listOf(ids, { size: 100 });
  list.read(1);
  list.delete(...ids);
  expect(list.read(1)).toHaveLength(10);
  expect(list.read(1)).toEqual([]);
});

test('what a page showed long ago does not count', () => {
  const list = listOf([...EIGHT]);
  list.read(1);
  list.wait(61);
  list.delete('b');
  expect(list.read(1)).toEqual([]);
});

test('a list that is not sorted by creation reports no run', () => {
  const list = listOf([...EIGHT]);
  list.read(1);
  list.delete('b');
  list.ids.reverse();
  expect(list.read(1)).toEqual([]);
});
