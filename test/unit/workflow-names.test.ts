import { describe, expect, test } from '@jest/globals';
import type { WorkflowListOutcome, WorkflowsQuestion } from '../../src/core/feed/workflow.ts';
import {
  DELAY_MS,
  MOST_NAMES,
  WorkflowNames,
  type WorkflowReader,
} from '../../src/source/workflow-names.ts';
import { NOON } from '../support/builders.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

/** What processes share: names, the time before which no list is read, and the clock. */
function sharedStore() {
  const names = new Map<string, string>();
  let readableAt = 0;
  let looked = 0;
  let now = NOON;
  return {
    names,
    looked: () => looked,
    now: () => now,
    pass: (ms: number) => void (now += ms),
    store: {
      all: async () => new Map(names),
      some: async (_: string, ids: readonly string[]) => {
        looked += 1;
        return new Map([...names].filter(([id]) => ids.includes(id)));
      },
      async put(
        _: string,
        named: readonly { id: string; name: string }[],
        forgotten: readonly string[],
      ) {
        for (const { id, name } of named) names.set(id, name);
        for (const id of forgotten) names.delete(id);
      },
      async claimPass(_: string, forMs: number) {
        if (readableAt > now) return false;
        readableAt = now + forMs;
        return true;
      },
    },
  };
}

/** A list of workflows of which an answer holds at most `fits`. */
class FakeList implements WorkflowReader {
  readonly asked: WorkflowsQuestion[] = [];
  prefix = 'name';
  /** The number of the first workflow. */
  first = 1;
  hasPermits = true;
  outcome: WorkflowListOutcome | null = null;

  constructor(
    private readonly count: number,
    private readonly fits = Infinity,
  ) {}

  async readWorkflows({ page, size }: WorkflowsQuestion): Promise<WorkflowListOutcome> {
    this.asked.push({ page, size });
    if (this.outcome !== null) return this.outcome;
    const ids = Array.from({ length: this.count }, (_, at) => `workflow-${at + this.first}`);
    const all = ids.slice((page - 1) * size, page * size);
    const named = all.map((id) => ({ id, name: `${this.prefix} of ${id}` }));
    const workflows = named.slice(0, this.fits);
    const isCut = workflows.length < all.length;
    const isLast = page * size >= this.count && !isCut;
    return { kind: 'page', page: { workflows, items: workflows.length, isLast, isCut } };
  }

  async claimPermit() {
    return this.hasPermits ? { settle: () => undefined } : null;
  }
}

function refusedList(outcome: WorkflowListOutcome): FakeList {
  const list = new FakeList(1);
  list.outcome = outcome;
  return list;
}

function namesOf(shared = sharedStore()) {
  const names = new WorkflowNames(shared.store, shared.now);
  /** Tends them so many times, once the first delay is over. */
  const tend = async (list: WorkflowReader, times = 1) => {
    await names.tend('default', list);
    shared.pass(DELAY_MS);
    for (let time = 0; time < times; time += 1) await names.tend('default', list);
  };
  return { shared, names, tend };
}

const workflow = (number: number) => ({ source: 'default', workflowId: `workflow-${number}` });

test('the list of workflows is read once a workflow without a name is seen, not before', async () => {
  const { names, tend } = namesOf();
  const list = new FakeList(3);
  await tend(list, 3);
  expect(list.asked).toEqual([]);
  expect(names.nameOf(workflow(2))).toBeNull();
  await tend(list, 3);
  expect(list.asked).toEqual([{ page: 1, size: 64 }]);
  expect(names.nameOf(workflow(2))).toBe('name of workflow-2');
  expect(names.nameOf(workflow(3))).toBe('name of workflow-3');
});

test('the list of workflows is not read in the first seconds, when polls begin', async () => {
  const { shared, names } = namesOf();
  const list = new FakeList(1);
  names.nameOf(workflow(1));
  for (let ms = 0; ms < DELAY_MS; ms += 1_000) {
    await names.tend('default', list);
    expect(list.asked).toEqual([]);
    shared.pass(1_000);
  }
  await names.tend('default', list);
  expect(list.asked).toHaveLength(1);
});

test('one page is read at a time, until the workflow is found', async () => {
  const { names, tend } = namesOf();
  const list = new FakeList(1_000);
  names.nameOf(workflow(150));
  await tend(list);
  expect(list.asked).toHaveLength(1);
  await tend(list, 20);
  expect(list.asked.map(({ page }) => page)).toEqual([1, 2, 3]);
});

test('names are learned from all pages although answers are cut off', async () => {
  const { names, tend } = namesOf();
  const list = new FakeList(130, 10);
  names.nameOf(workflow(130));
  await tend(list, 60);
  expect(names.nameOf(workflow(130))).toBe('name of workflow-130');
  expect(names.nameOf(workflow(75))).toBe('name of workflow-75');
  expect(list.asked.length).toBeLessThan(30);
});

test('processes read the list for each other, and a restart needs no request', async () => {
  const shared = sharedStore();
  const [one, other] = [namesOf(shared), namesOf(shared)];
  const list = new FakeList(3);
  for (const { names, tend } of [one, other]) {
    names.nameOf(workflow(1));
    await tend(list);
  }
  expect(other.names.nameOf(workflow(1))).toBe('name of workflow-1');
  const restarted = namesOf(shared);
  await restarted.tend(list);
  expect(restarted.names.nameOf(workflow(1))).toBe('name of workflow-1');
  expect(list.asked).toHaveLength(1);
});

test('further new workflows are looked for only after some minutes', async () => {
  const { shared, names, tend } = namesOf();
  const list = new FakeList(1);
  names.nameOf(workflow(1));
  await tend(list);
  names.nameOf(workflow(2));
  await tend(list, 5);
  expect(list.asked).toHaveLength(1);
  shared.pass(3 * MINUTE_MS);
  await tend(list, 5);
  expect(list.asked).toHaveLength(2);
});

test('a workflow that the list lacks is looked for again after an hour', async () => {
  const { shared, names, tend } = namesOf();
  const list = new FakeList(1);
  for (let minutes = 0; minutes < 50; minutes += 1) {
    names.nameOf(workflow(2));
    await tend(list);
    shared.pass(MINUTE_MS);
  }
  expect(list.asked).toHaveLength(1);
  shared.pass(HOUR_MS);
  names.nameOf(workflow(2));
  await tend(list);
  expect(list.asked).toHaveLength(2);
});

test('a list that is refused is not read again for an hour', async () => {
  const { shared, names, tend } = namesOf();
  const list = new FakeList(1);
  list.outcome = { kind: 'not_offered', status: 404, message: 'status 404' };
  for (let minutes = 0; minutes < 40; minutes += 1) {
    names.nameOf(workflow(1));
    await tend(list);
    shared.pass(MINUTE_MS);
  }
  expect(list.asked).toHaveLength(1);
  list.outcome = null;
  shared.pass(HOUR_MS);
  await tend(list);
  expect(names.nameOf(workflow(1))).toBe('name of workflow-1');
});

test('names in use are renewed each hour', async () => {
  const { shared, names, tend } = namesOf();
  const list = new FakeList(1);
  names.nameOf(workflow(1));
  await tend(list);
  list.prefix = 'new name';
  names.nameOf(workflow(1));
  shared.pass(HOUR_MS);
  await tend(list, 3);
  expect(names.nameOf(workflow(1))).toBe('new name of workflow-1');
  expect(list.asked).toHaveLength(2);
});

test('the list of workflows waits for a permit of the rate limit', async () => {
  const { names, tend } = namesOf();
  const list = new FakeList(1);
  names.nameOf(workflow(1));
  list.hasPermits = false;
  await tend(list);
  expect(list.asked).toEqual([]);
  list.hasPermits = true;
  await tend(list);
  expect(list.asked).toHaveLength(1);
});

test('what is kept of names is bounded, however many workflows there are', async () => {
  const { shared, names, tend } = namesOf();
  const list = new FakeList(5_000);
  names.nameOf(workflow(4_999));
  await tend(list, 100);
  expect(shared.names.size).toBe(MOST_NAMES);
  expect(list.asked.length).toBeLessThan(40);
  shared.pass(HOUR_MS);
  list.first = 10_000;
  names.nameOf(workflow(10_001));
  await tend(list);
  expect(shared.names.size).toBe(MOST_NAMES);
  expect(names.nameOf(workflow(10_001))).toBe('name of workflow-10001');
  expect(shared.names.has('workflow-1')).toBe(false);
});

describe('a name that a message waits for', () => {
  const seen = workflow(1);

  test('is read at once, also in the first seconds', async () => {
    const { names } = namesOf();
    const list = new FakeList(1);
    names.nameOf(seen);
    expect(names.isExpected(seen)).toBe(false);
    await names.tend('default', list);
    expect(list.asked).toEqual([]);
    expect(names.isExpected(seen)).toBe(true);
    await names.tend('default', list);
    expect(names.isExpected(seen)).toBe(false);
    expect(names.nameOf(seen)).toBe('name of workflow-1');
  });

  test('is not expected of a source with names that no process reads, nor where no message wants it', async () => {
    const { names, tend } = namesOf();
    names.nameOf(seen);
    expect(names.isExpected({ ...seen, source: 'other' })).toBe(false);
    expect(names.isExpected(seen)).toBe(false);
    await tend(new FakeList(1));
    expect(names.isExpected(workflow(2))).toBe(false);
  });

  test.each([
    ['the list lacks it', new FakeList(0)],
    ['the list is refused', refusedList({ kind: 'not_offered', status: 404, message: '' })],
    ['the list cannot be read', refusedList({ kind: 'unavailable', message: 'down' } as never)],
  ])('is not expected once %s', async (_, list) => {
    const { names, tend } = namesOf();
    names.nameOf(seen);
    await tend(list);
    expect(list.asked).toHaveLength(1);
    names.nameOf(seen);
    expect(names.isExpected(seen)).toBe(false);
  });

  test('is not expected for good once the list lacked it', async () => {
    const { shared, names, tend } = namesOf();
    names.nameOf(seen);
    await tend(new FakeList(0));
    for (let minutes = 0; minutes < 200; minutes += 4) {
      shared.pass(4 * MINUTE_MS);
      names.nameOf(seen);
      expect(names.isExpected(seen)).toBe(false);
    }
  });

  test('is expected while the pages before it are read', async () => {
    const { names, tend } = namesOf();
    names.nameOf(workflow(150));
    const list = new FakeList(200);
    await tend(list, 2);
    expect([names.isExpected(workflow(150)), names.nameOf(workflow(150))]).toEqual([true, null]);
    await names.tend('default', list);
    expect(names.nameOf(workflow(150))).toBe('name of workflow-150');
  });

  test('is looked up where another process reads it, four times a second at the most', async () => {
    const shared = sharedStore();
    const [one, other] = [namesOf(shared), namesOf(shared)];
    const list = new FakeList(100);
    one.names.nameOf(workflow(80));
    await one.tend(list);
    other.names.nameOf(workflow(80));
    await other.tend(list);
    expect(other.names.isExpected(workflow(80))).toBe(true);
    for (let event = 0; event < 100; event += 1) await other.names.lookUp('default');
    expect(shared.looked()).toBe(1);
    await one.names.tend('default', list);
    shared.pass(250);
    await other.names.lookUp('default');
    expect(other.names.nameOf(workflow(80))).toBe('name of workflow-80');
    shared.pass(10_000);
    other.names.nameOf(workflow(99_999));
    expect(other.names.isExpected(workflow(99_999))).toBe(false);
    await other.names.lookUp('default');
    expect(shared.looked()).toBe(2);
  });
});
