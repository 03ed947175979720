import { describe, expect, test } from '@jest/globals';
import { offsetsOf } from '../../src/core/feed/page-layout.ts';
import type { ListMember } from '../../src/core/feed/member.ts';
import {
  comparePage,
  deferredTo,
  memberToCheck,
  recalledTo,
  settledMs,
  type WatchOnPage,
} from '../../src/core/feed/list-hint.ts';
import { pageMember, parsePageMember } from '../../src/core/feed/page-name.ts';
import {
  givenUp,
  heldGood,
  hintOf,
  isRepeated,
  judgeHint,
  NEW_TRUST,
  repeatedInMs,
  throttled,
} from '../../src/core/feed/list-trust.ts';
import type { ListedRun } from '../../src/core/feed/run-list.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { newWatch, NOON, snapshot } from '../support/builders.ts';

const iso = (at: number) => new Date(at).toISOString();

function listed(changes: Partial<ListedRun> = {}): ListedRun {
  const { id, workflow_id, status, progress, created_at } = snapshot();
  return { id, workflow_id, status, progress, created_at, ...changes };
}

function seen(changes: Partial<Watch> = {}): Watch {
  return newWatch({
    run: snapshot({ observed_at: iso(NOON) }),
    runAskedAt: NOON,
    lastPolledAt: NOON,
    nextPollAt: NOON + 5_000,
    timeoutAt: NOON + 1e9,
    ...changes,
  });
}

function memberOf(watch: Watch, changes: Partial<ListMember> = {}): ListMember {
  return {
    watch: { ...watch, run: watch.run! },
    createdAt: NOON,
    intervalMs: 10_000,
    followsProgress: false,
    latestAt: Infinity,
    ...changes,
  };
}

function onPage(watch: Watch, run: ListedRun, changes: Partial<ListMember> = {}): WatchOnPage {
  const isRead = watch.run !== null && watch.state === 'active';
  return { watch, listed: run, member: isRead ? memberOf(watch, changes) : null };
}

describe('a page', () => {
  const compare = (...found: WatchOnPage[]) => comparePage(found, NOON + 20_000, true);

  test('a page separates changed runs from unchanged ones; progress counts where it is subscribed to', () => {
    const moved = listed({ progress: 99 });
    const found = [
      onPage(seen(), listed()),
      onPage(seen(), listed({ status: 'failed' })),
      onPage(seen(), moved),
      onPage(seen(), moved, { followsProgress: true }),
    ];
    const { changed, unchanged } = compare(...found);
    expect(changed.map((one) => one.listed)).toEqual([found[1]!.listed, moved]);
    expect(unchanged).toHaveLength(2);
  });

  test('a page shows which runs before their first read have ended and which go on', () => {
    const first = newWatch({ run: null });
    const { changed, unseen } = compare(
      onPage(first, listed({ status: 'failed' })),
      onPage(first, listed({ status: 'queued' })),
    );
    expect([changed.length, unseen.length]).toEqual([1, 1]);
  });

  test('a page waits for the confirming polls of its runs once all of them have changed', () => {
    const failed = () => onPage(seen(), listed({ status: 'failed' }));
    expect(settledMs(compare(failed(), failed(), failed()), 0.01)).toBe(300);
    expect(settledMs(compare(failed(), onPage(seen(), listed())), 0.01)).toBe(0);
    expect(settledMs(compare(), 0.01)).toBe(0);
  });

  test('a page disagrees where it shows as running what a single poll has long seen to end', () => {
    const run = snapshot({ status: 'completed', observed_at: iso(NOON) });
    const ended = newWatch({ state: 'finished', run });
    expect(compare(onPage(ended, listed())).disagrees).toContain('a single read has it completed');
    expect(comparePage([onPage(ended, listed())], NOON + 1_000, true).disagrees).toBeNull();
  });
});

describe('a page of a source of any kind', () => {
  test('a list that does not show progress stands in for no poll where progress is asked for', () => {
    const silent = listed({ progress: null });
    const asking = () => onPage(seen(), silent, { followsProgress: true });
    const { changed, unchanged } = comparePage([asking(), onPage(seen(), silent)], NOON, true);
    expect([changed.length, unchanged.length]).toEqual([0, 1]);
    const failed = listed({ status: 'failed', progress: null });
    const news = onPage(seen(), failed, { followsProgress: true });
    expect(comparePage([news], NOON, true).changed).toHaveLength(1);
  });

  test('a page that shows a run that had ended is right where runs may be begun again', () => {
    const run = snapshot({ status: 'completed', observed_at: iso(NOON) });
    const ended = newWatch({ state: 'finished', run });
    const findings = comparePage([onPage(ended, listed())], NOON + 20_000, false);
    expect(findings).toEqual({ changed: [], unseen: [], unchanged: [], disagrees: null });
  });
});

describe('a page of a source that counts attempts', () => {
  const second = (changes: Partial<Watch> = {}) =>
    seen({ run: snapshot({ attempt: 2, observed_at: iso(NOON) }), attempt: 2, ...changes });
  const compare = (watch: Watch, changes: Partial<ListedRun>) => {
    const { changed, unseen, unchanged } = comparePage(
      [onPage(watch, listed(changes))],
      NOON,
      false,
    );
    return [changed.length, unseen.length, unchanged.length];
  };

  test('a page that shows a later attempt in the same status stands in for no poll, and calls for one', () => {
    expect(compare(second(), { attempt: 2 })).toEqual([0, 0, 1]);
    expect(compare(second(), { attempt: 3 })).toEqual([1, 0, 0]);
  });

  test('a page that lags behind a re-run says nothing of its present attempt', () => {
    expect(compare(second(), { attempt: 1, status: 'failed' })).toEqual([0, 0, 0]);
    expect(compare(second(), { attempt: 1 })).toEqual([0, 0, 0]);
    expect(compare(second({ run: null }), { attempt: 1, status: 'failed' })).toEqual([0, 0, 0]);
  });

  test('a hint is settled by a poll that finds another attempt, in whatever status', () => {
    const madeAt = NOON + 10_000;
    const again = second({
      run: snapshot({ attempt: 3, observed_at: iso(madeAt + 3_000) }),
      attempt: 3,
      runAskedAt: madeAt + 2_990,
      restartedAt: madeAt + 3_000,
    });
    for (const shown of [{ attempt: 3 }, { attempt: 2, status: 'failed' }]) {
      expect(judgeHint(hintOf(second(), listed(shown), madeAt), again)).toBe('settled');
      const before = { ...again, restartedAt: NOON };
      expect(judgeHint(hintOf(second(), listed(shown), madeAt), before)).toBe('contradicted');
    }
  });
});

describe('a single poll that a page stands in for', () => {
  const options = { pageMs: 1_000, backstopMs: 120_000, now: NOON, random: () => 0 };

  test('a page defers the single poll of a run by some reads, and leaves a later one as it is', () => {
    expect(deferredTo(memberOf(seen()), options)).toBe(NOON + 15_000);
    expect(deferredTo(memberOf(seen()), { ...options, pageMs: 10_000 })).toBe(NOON + 30_000);
    expect(deferredTo(memberOf(seen({ nextPollAt: NOON + 11_000 })), options)).toBeNull();
  });

  test('a page defers no single poll beyond its backstop, a reminder or timeout, nor a claimed one', () => {
    const old = seen({ lastPolledAt: NOON - 113_000 });
    expect(deferredTo(memberOf(old), options)).toBe(NOON + 7_000);
    expect(deferredTo(memberOf(seen(), { latestAt: NOON + 8_000 }), options)).toBe(NOON + 8_000);
    expect(deferredTo(memberOf(seen({ timeoutAt: NOON + 9_000 })), options)).toBe(NOON + 9_000);
    expect(deferredTo(memberOf(seen({ nextPollAt: null })), options)).toBeNull();
  });

  test('a deferred poll is due within its own interval again once no page covers its run', () => {
    const when = { intervalMs: 2_000, now: NOON, random: () => 0.5 };
    expect(recalledTo({ nextPollAt: NOON + 60_000 }, when)).toBe(NOON + 1_000);
    expect(recalledTo({ nextPollAt: NOON + 1_500 }, when)).toBeNull();
  });

  test('a page lets one single poll check the list at times, of the run unread for longest', () => {
    const [one, other] = [
      seen({ lastPolledAt: NOON - 9_000 }),
      seen({ lastPolledAt: NOON - 8_000 }),
    ];
    const members = [memberOf(other), memberOf(one)];
    const check = { checkedAt: NOON - 6_000, pageMs: 500, now: NOON };
    expect(memberToCheck(members, check)?.watch.lastPolledAt).toBe(NOON - 9_000);
    expect(memberToCheck(members, { ...check, checkedAt: NOON - 4_000 })).toBeNull();
    expect(memberToCheck(members, { ...check, pageMs: 3_000 })).toBeNull();
  });
});

describe('the trust in a list', () => {
  const hint = hintOf(seen(), listed({ status: 'failed' }), NOON + 10_000);
  const later = (status: string, atMs: number) =>
    seen({
      run: snapshot({ status, observed_at: iso(NOON + atMs) }),
      runAskedAt: NOON + atMs - 10,
      lastPolledAt: NOON + atMs,
    });

  test('a hint is settled by a poll that finds a change, and contradicted by one that finds none', () => {
    expect(judgeHint(hint, later('failed', 11_000))).toBe('settled');
    expect(judgeHint(hint, later('completed', 11_000))).toBe('settled');
    expect(judgeHint(hint, later('running', 12_010))).toBe('contradicted');
  });

  test('a poll that lags behind the list contradicts nothing, and is repeated twice within two seconds', () => {
    const madeAt = NOON + 10_000;
    const first = later('running', 10_100);
    expect(judgeHint(hint, first)).toBe('doubted');
    expect(repeatedInMs(hint, first, madeAt + 100)).toBe(600);
    const second = later('running', 10_800);
    expect(judgeHint(hint, second)).toBe('doubted');
    expect(repeatedInMs(hint, second, madeAt + 800)).toBe(1_200);
    expect(judgeHint(hint, later('failed', 12_010))).toBe('settled');
    for (const over of [later('running', 12_010), later('failed', 10_800)]) {
      expect(repeatedInMs(hint, over, madeAt + 3_000)).toBeNull();
    }
    expect([isRepeated(hint, madeAt + 1_999), isRepeated(hint, madeAt + 2_000)]).toEqual([
      true,
      false,
    ]);
  });

  test('trust in a list is not judged by a poll that began before the list was read', () => {
    expect(judgeHint(hint, seen())).toBe('open');
    const crossing = { ...later('running', 11_000), runAskedAt: NOON + 9_000 };
    expect(judgeHint(hint, crossing)).toBe('open');
  });

  test('trust in a list is lost for longer with each failure, and regained after as long a good time', () => {
    const once = givenUp(NEW_TRUST, NOON);
    const twice = givenUp(once, NOON);
    expect([once.since - NOON, twice.since - NOON]).toEqual([30_000, 60_000]);
    expect(heldGood(twice, twice.since + 60_000)).toBeNull();
    expect(heldGood(twice, twice.since + 60_001)?.failures).toBe(0);
  });

  test('trust in a list is lost where it is throttled twice in a row', () => {
    const once = throttled(NEW_TRUST)!;
    expect(throttled(once)).toBeNull();
    expect(throttled(heldGood(once, NOON)!)).not.toBeNull();
  });
});

describe('where runs stand in a list', () => {
  const mark = (page: number, newest: number, oldest: number, isLast = false) => ({
    page,
    newest,
    oldest,
    runs: 100,
    isLast,
    at: NOON,
  });

  test('runs of an unread list are placed by their own number', () => {
    expect(offsetsOf([30, 20, 10], [], 100)).toEqual([0, 1, 2]);
  });

  test('runs are placed between the pages that were read, and beyond by the density of the last', () => {
    const marks = [mark(1, 1_000, 901), mark(3, 800, 701)];
    expect(offsetsOf([1_500, 1_000, 850, 750, 601], marks, 100)).toEqual([0, 1, 150, 250, 400]);
  });

  test.each([
    ['as those of the source', 0],
    ['an hour behind that of the source', -3_600_000],
  ])(
    'a page moves on by the runs that have come since it was read, by a clock %s',
    (_, aheadMs) => {
      // Ten runs a second come.
      const read = (page: number, agoMs: number) => ({
        ...mark(page, NOON - agoMs - (page - 1) * 10_000, NOON - agoMs - page * 10_000 + 100),
        at: NOON + aheadMs - agoMs,
      });
      // Page 3 is not read any more; page 2 was read a second before the first.
      const marks = [read(1, 0), read(2, 1_000), read(3, 30_000)];
      const placed = (...times: number[]) =>
        offsetsOf(
          times.map((at) => NOON + at),
          marks,
          100,
        );
      const at = [-5_000, -15_000, -25_000, -35_000, -55_000];
      expect(placed(...at).map((offset) => Math.round(offset / 10))).toEqual([5, 15, 25, 35, 55]);
      // A watched run that is newer than all that was read moves them all.
      expect(placed(50, -5_000, -25_000)).toEqual([0, 51, 251]);
      // What was not read yet may be old.
      expect(placed(Infinity, -5_000)).toEqual([0, 50]);
    },
  );

  test('runs that were created at once do not move pages for which none has come since', () => {
    const read = (page: number) => ({
      ...mark(page, NOON + 1_000 - page * 10, NOON + 991 - page * 10),
      at: NOON + 1_000 + page * 500,
    });
    const marks = [1, 2, 3].map(read);
    const times = [990, 975, 965].map((at) => NOON + at);
    expect(offsetsOf(times, marks, 100)).toEqual([0, 155, 255]);
  });

  test('runs that come together in a quiet list are where its pages show them', () => {
    // The first page was read when it was the only one, four seconds before.
    const before = { ...mark(1, NOON - 8_000, NOON - 8_001, true), runs: 30, at: NOON - 4_000 };
    const pageOf = (page: number) => mark(page, NOON - 100 * page, NOON - 100 * page - 99);
    const read = Array.from({ length: 9 }, (_, at) => ({ ...pageOf(at + 2), at: NOON + 2_000 }));
    const times = Array.from({ length: 1_000 }, (_, at) => NOON - 100 - at);
    expect(offsetsOf(times, [before, ...read], 100).at(-1)).toBe(999);
    const first = { ...pageOf(1), at: NOON + 3_000 };
    const offsets = offsetsOf(times, [first, ...read], 100);
    expect(offsets.every((offset, at) => Math.abs(offset - at) <= 1)).toBe(true);
  });

  test('runs that were created at once are placed apart', () => {
    const marks = [mark(1, 10, 5), mark(2, 5, 5), mark(3, 5, 1)];
    const offsets = offsetsOf([5, 5, 5, 5], marks, 100);
    expect(offsets[0]).toBeGreaterThanOrEqual(96);
    expect(offsets[3]).toBeLessThanOrEqual(203);
    expect(new Set(offsets).size).toBe(4);
  });

  test.each([
    ['that was read', [mark(1, 10, 5), mark(2, 5, 1)]],
    ['that was not read', [mark(1, 10, 5)]],
    ['that was not read, before one that was', [mark(1, 10, 5), mark(3, 3, 1)]],
  ])('runs that were created at once go on to a page %s', (_, marks) => {
    const offsets = offsetsOf(Array<number>(40).fill(5), marks, 100);
    expect(offsets.some((offset) => offset < 100)).toBe(true);
    expect(offsets.some((offset) => offset >= 110)).toBe(true);
    expect(Math.max(...offsets)).toBeLessThan(200);
  });

  test('runs that were created at once are placed on one page where the next one begins with others', () => {
    const marks = [mark(1, 10, 5), mark(2, 4, 1)];
    expect(Math.max(...offsetsOf(Array<number>(40).fill(5), marks, 100))).toBeLessThan(100);
    const last = { ...mark(1, 10, 5), isLast: true };
    expect(Math.max(...offsetsOf(Array<number>(40).fill(5), [last], 100))).toBeLessThan(100);
  });
});

test('the name of a page says its list and number', () => {
  for (const name of [
    { workflowId: null, page: 1 },
    { workflowId: 'a/b', page: 12 },
  ]) {
    expect(parsePageMember(pageMember(name))).toEqual(name);
  }
});
