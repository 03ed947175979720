import { describe, expect, test } from '@jest/globals';
import { compareWithList, judgeList, listedAs } from '../../src/core/feed/list-findings.ts';
import type { ListMember } from '../../src/core/feed/list-member.ts';
import { claimOf } from '../../src/core/feed/list-claim.ts';
import type { ListedRun } from '../../src/core/feed/run-list.ts';
import type { RunSnapshot } from '../../src/core/run/snapshot.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { newWatch, NOON, snapshot } from '../support/builders.ts';

const at = (ms: number) => new Date(NOON + ms).toISOString();

/** A watch with a polled run; the answer came at once, unless `askedAt` says otherwise. */
function watchOf(run: Partial<RunSnapshot>, askedAt?: number) {
  const seen = snapshot({ id: 'run-1', ...run });
  const runAskedAt = askedAt ?? Date.parse(seen.observed_at);
  return { ...newWatch({ runId: seen.id, runAskedAt }), run: seen };
}

function member(run: Partial<RunSnapshot>, followsProgress = false): ListMember {
  return {
    watch: watchOf(run),
    version: 1,
    createdAt: NOON,
    intervalMs: 1_000,
    followsProgress,
    latestAt: Infinity,
  };
}

function listed(run: Partial<ListedRun>): [string, ListedRun] {
  const { id, workflow_id, status, progress, created_at, finished_at } = snapshot(run);
  return [listedAs(id), { id, workflow_id, status, progress, created_at, finished_at }];
}

const list = (...runs: Partial<ListedRun>[]) => new Map(runs.map(listed));

describe('comparing watches with a list', () => {
  test('a comparison with a list finds changed, unchanged and missing runs', () => {
    const members = ['a', 'b', 'c'].map((id) => member({ id }));
    const runs = list({ id: 'a', status: 'completed' }, { id: 'b' }, { id: 'somebody-elses' });
    const { changed, unchanged, missing, claims } = compareWithList(members, runs, NOON);
    expect(changed).toEqual([members[0]]);
    expect(unchanged).toEqual([members[1]]);
    expect(missing).toEqual([members[2]]);
    expect(claims).toMatchObject([{ runId: 'a', madeAt: NOON, listed: { status: 'completed' } }]);
  });

  test("a list's progress counts as a change only where a subscription wants it", () => {
    const runs = list({ progress: 50 });
    expect(compareWithList([member({ progress: 40 })], runs, NOON).changed).toHaveLength(0);
    expect(compareWithList([member({ progress: 40 }, true)], runs, NOON).changed).toHaveLength(1);
  });

  test("a list's run is matched by its id in capitals too", () => {
    const runs = list({ id: 'ABC' });
    expect(compareWithList([member({ id: 'abc' })], runs, NOON).unchanged).toHaveLength(1);
  });
});

describe('hint of a list', () => {
  /** A poll saw the run running at 40 %, a minute before the list was read. */
  const before = watchOf({ progress: 40, observed_at: at(-60_000) });
  const claim = (claimed: Partial<ListedRun>, watch = before) =>
    claimOf(watch, listed(claimed)[1], NOON);
  const judge = (claimed: ReturnType<typeof claim>, watch: Watch) =>
    judgeList({ runs: new Map(), claims: [claimed] }, new Map([['run-1', watch]]), NOON + 1_000);
  const readLater = (run: Partial<RunSnapshot>) => watchOf({ observed_at: at(100), ...run });
  test('a hint remains open until a later single poll', () => {
    const completed = claim({ status: 'completed' });
    expect(judge(completed, before)).toEqual({ disagrees: null, open: [completed] });
  });

  test('a hint is confirmed by a poll that finds any change, even beyond the listed state', () => {
    const moved = readLater({ status: 'completed', progress: 100 });
    expect(judge(claim({ status: 'awaiting_human_feedback' }), moved)).toEqual({
      disagrees: null,
      open: [],
    });
  });

  test('a hint is contradicted by a poll that finds no change', () => {
    expect(judge(claim({ status: 'queued' }), readLater({ progress: 40 })).disagrees).toBe(
      'the list has run run-1 queued at 0, a single read has it running at 40',
    );
  });

  test('a hint remains open where the contradicting poll began before the list was read', () => {
    const failed = claim({ status: 'failed' });
    const older = watchOf({ progress: 40, observed_at: at(100) }, NOON - 1);
    expect(judge(failed, older)).toEqual({ disagrees: null, open: [failed] });
    const ended = watchOf({ status: 'failed', observed_at: at(100) }, NOON - 1);
    expect(judge(failed, ended)).toEqual({ disagrees: null, open: [] });
  });

  test('a hint of an end is contradicted by an active run, whatever has changed', () => {
    const goesOn = readLater({ progress: 70 });
    expect(judge(claim({ status: 'failed' }), goesOn).disagrees).not.toBeNull();
  });

  test('a poll from just before the sweep does not contradict a list, which may lag', () => {
    const fresh = watchOf({ progress: 40, observed_at: at(-1_000) });
    const lagging = claim({ progress: 30 }, fresh);
    expect(judge(lagging, readLater({ progress: 40 }))).toEqual({ disagrees: null, open: [] });
  });

  test('a hint is dropped with its watch', () => {
    const claims = [claim({ status: 'completed' })];
    expect(judgeList({ runs: new Map(), claims }, new Map(), NOON)).toEqual({
      disagrees: null,
      open: [],
    });
  });
});

describe('a list that shows an active run', () => {
  const judge = (run: Partial<RunSnapshot>) =>
    judgeList({ runs: list({}), claims: [] }, new Map([['run-1', watchOf(run)]]), NOON).disagrees;

  test('a list that shows an active run disagrees with a poll that saw its end long before', () => {
    expect(judge({ status: 'completed', observed_at: at(-60_000) })).not.toBeNull();
  });

  test('a list that shows an active run may lag behind a poll of just before', () => {
    expect(judge({ status: 'completed', observed_at: at(-1_000) })).toBeNull();
  });

  test('a list that shows an active run agrees with a poll that saw it active', () => {
    expect(judge({ status: 'queued', observed_at: at(-60_000) })).toBeNull();
  });
});
