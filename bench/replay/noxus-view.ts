import type { PollResult } from '../../src/core/run/snapshot.ts';
import type { ListedRun } from '../../src/core/feed/run-list.ts';
import { NOTHING_GIVEN } from '../../test/support/builders.ts';
import { iso, isoWriter } from './clock.ts';
import { shownAt, type Sight } from './policy.ts';
import type { TracedRun } from './workload.ts';

/** The answers of Noxus to polls of a run. */
export function viewOf(run: TracedRun, id: string): (sight: Sight) => PollResult {
  const isoNow = isoWriter();
  const createdAt = iso(run.created);
  const startedAt = iso(run.started);
  const finishedAt = iso(run.finished);
  return ({ now, fails }) => {
    if (fails) return { kind: 'unavailable', message: 'status 503' };
    const { status, progress } = shownAt(run, now);
    const snapshot = {
      ...NOTHING_GIVEN,
      id,
      workflow_id: run.workflow,
      group_id: 'group',
      status,
      progress,
      created_at: createdAt,
      started_at: now >= run.started ? startedAt : null,
      finished_at: now >= run.finished ? finishedAt : null,
      observed_at: isoNow(now),
    };
    return { kind: 'run', run: snapshot };
  };
}

/** What Noxus's list shows of a run. */
export function listedOf(run: TracedRun, id: string, now: number): ListedRun {
  return {
    id,
    workflow_id: run.workflow,
    ...shownAt(run, now),
    created_at: iso(run.created),
  };
}
