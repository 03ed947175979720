import { expect, test } from '@jest/globals';
import {
  overdueCause,
  overdueHelp,
  overdueMessage,
  overdueText,
  type Overdue,
} from '../../src/core/source/overdue.ts';
import { caughtUpData, OverdueMonitor, overdueData } from '../../src/source/schedule.ts';
import { testSource } from '../support/daemon.ts';

const LIMIT = { is: 'limit' } as const;

/** State that all processes share. @returns whether a process is the first to note it */
const shared = (isOverdue = false) => {
  return (to: boolean) => {
    const isFirst = isOverdue !== to;
    isOverdue = to;
    return isFirst;
  };
};

function monitor(note: (overdue: Overdue | null) => Promise<void>) {
  class Monitor extends OverdueMonitor {
    protected override note(overdue: Overdue | null): Promise<void> {
      return note(overdue);
    }
  }
  const limit = { requests: 10, perMs: 1_000 };
  return new Monitor(testSource({ limiter: { limit, usedShare: async () => 1 } }));
}

function watching(turn = shared()) {
  const said: (Overdue | 'caught up')[] = [];
  const watch = monitor(async (overdue) => {
    if (turn(overdue !== null)) said.push(overdue ?? 'caught up');
  });
  return { watch, said };
}

test('polls due for over ten seconds are overdue, with a rate limit that would suffice', async () => {
  const { watch, said } = watching();
  await watch.check({ due: 600, oldestMs: 11_000, answerMs: 1 });
  expect(watch.current()).toBeNull();
  await watch.check({ due: 600, oldestMs: 16_000, answerMs: 1 });
  await watch.check({ due: 700, oldestMs: 21_000, answerMs: 1 });
  expect(said).toMatchObject([{ polls: 600, oldestMs: 16_000, wantedRequests: 20 }]);
  expect(watch.current()).toMatchObject({ polls: 700 });
  await watch.check({ due: 3, oldestMs: 500, answerMs: 1 });
  expect(said.slice(1)).toEqual(['caught up']);
  expect(watch.current()).toBeNull();
});

test('all processes together raise one event for overdue polls', async () => {
  const store = shared();
  const processes = [watching(store), watching(store)];
  for (const oldestMs of [11_000, 16_000, 21_000, 0, 0]) {
    for (const { watch } of processes) await watch.check({ due: 5, oldestMs, answerMs: 1 });
  }
  const said = processes.flatMap((one) => one.said);
  expect(said).toEqual([expect.objectContaining({ polls: 5 }), 'caught up']);
});

test('a process that starts when polls have caught up reports it for one that died before', async () => {
  const { watch, said } = watching(shared(true));
  await watch.check({ due: 0, oldestMs: null, answerMs: 1 });
  await watch.check({ due: 0, oldestMs: null, answerMs: 1 });
  expect(said).toEqual(['caught up']);
});

test('a report that fails is made at the next check', async () => {
  let isAway = true;
  const noted: (Overdue | null)[] = [];
  const watch = monitor(async (overdue) => {
    if (isAway) throw new Error('Redis is away');
    noted.push(overdue);
  });
  await expect(watch.check({ due: 0, oldestMs: null, answerMs: 1 })).rejects.toThrow('away');
  isAway = false;
  await watch.check({ due: 0, oldestMs: null, answerMs: 1 });
  expect(noted).toEqual([null]);
});

test('overdue polls are said in words that an operator can act on', () => {
  const limit = { requests: 10, perMs: 1_000 };
  const overdue = {
    source: 'default',
    polls: 1_343,
    oldestMs: 240_000,
    wantedRequests: 38,
    limit,
    cause: LIMIT,
  };
  expect(overdueText(overdue)).toBe(
    '1,343 runs overdue, oldest 4 min; source default may be asked 10/s; 38/s would do, or profile frugal',
  );
  const slow = { ...overdue, polls: 1, oldestMs: 45_000, limit: { requests: 30, perMs: 60_000 } };
  expect(overdueText({ ...slow, wantedRequests: 60 })).toBe(
    '1 run overdue, oldest 45 s; source default may be asked 30/min; 1/s would do, or profile frugal',
  );
});

test('overdue polls are laid to a slow Redis, to the rate limit or to busy daemons, by what is short', () => {
  const limit = { requests: 200, perMs: 1_000 };
  const overdue = { source: 'eu', polls: 600, oldestMs: 60_000, wantedRequests: 210, limit };
  const by = (answerMs: number, usedShare: number) => {
    const found = { ...overdue, cause: overdueCause(limit, { answerMs, usedShare }) };
    return [overdueText(found), overdueMessage(found), overdueHelp(found)].join('\n');
  };
  expect(by(300, 1)).toContain('Redis answers in 300 ms, which is too slow for that');
  expect(by(300, 1)).not.toContain('210/s');
  expect(by(20, 0.98)).toContain('210/s would do');
  expect(by(20, 0.98)).not.toMatch(/Redis|daemons/);
  expect(by(20, 0.1)).toContain('10 % of it are used: daemons do not keep up');
  // Beside a minute, three tenths of a second do not matter.
  expect(overdueCause({ requests: 30, perMs: 60_000 }, { answerMs: 300, usedShare: 1 })).toEqual(
    LIMIT,
  );
});

test('one slow answer of Redis is not what polls are overdue for', async () => {
  const { watch } = watching();
  await watch.check({ due: 600, oldestMs: 11_000, answerMs: 2 });
  await watch.check({ due: 600, oldestMs: 16_000, answerMs: 400 });
  expect(watch.current()?.cause).toEqual(LIMIT);
  await watch.check({ due: 0, oldestMs: null, answerMs: 2 });
  for (const oldestMs of [11_000, 16_000]) {
    await watch.check({ due: 600, oldestMs, answerMs: 300 });
  }
  expect(watch.current()?.cause).toEqual({ is: 'redis', answerMs: 300 });
});

test('system events of polling say what happened, since when, and what would help', () => {
  const limit = { requests: 10, perMs: 1_000 };
  const overdue = {
    source: 'eu',
    polls: 600,
    oldestMs: 60_000,
    wantedRequests: 20,
    limit,
    cause: LIMIT,
  };
  expect(overdueData(overdue, 100_000)).toMatchObject({
    message: '600 runs overdue, oldest 1 min; the rate limit is 10/s',
    since: '1970-01-01T00:00:40.000Z',
    help: 'raise rate_limit of the source to 20/s, or set profile frugal',
  });
  expect(caughtUpData('eu', 40_000, 100_000)).toEqual({
    source: 'eu',
    message: 'no poll is overdue any more',
    since: '1970-01-01T00:00:40.000Z',
    lasted_ms: 60_000,
    help: 'nothing: polls are in time again',
  });
});
