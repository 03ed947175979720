import {
  isNextPageWorthIt,
  MAX_LIST_PAGES,
  planBatch,
  putOffAt,
  recallAt,
  type BatchPlan,
} from '../../src/core/feed/batch.ts';
import { compareWithList, listedAs, reachOf } from '../../src/core/feed/list-findings.ts';
import type { ListMember } from '../../src/core/feed/list-member.ts';
import { leftAloneUntil, scheduleAfter } from '../../src/core/feed/list-schedule.ts';
import {
  givenUp,
  heldGood,
  NEW_STANDING,
  nextSize,
  type ListStanding,
} from '../../src/core/feed/list-standing.ts';
import type { ObserveContext } from '../../src/core/watch/observation.ts';
import type { ListedRun } from '../../src/core/feed/run-list.ts';
import { patienceMs } from '../../src/core/cadence/load.ts';
import { createListSpotter } from '../../src/poll/list-spotter.ts';
import { toMs, toS } from './clock.ts';
import { FollowedRuns, type Followed, type Members } from './followed-runs.ts';
import { listedOf } from './noxus-view.ts';
import type { ListFollower, ListSight, ListStep } from './policy.ts';
import type { TracedRun } from './workload.ts';

/** What decides about a sweep. */
interface BenchContext {
  members: Members;
  plan: BatchPlan;
  context: ObserveContext;
}

/** The result of a sweep, and the time of the next one, milliseconds since the epoch. */
type Looked = Pick<ListStep, 'woken' | 'moved'> & { nextReadAt: number };

/**
 * The daemon's own rules for lists, `core/batch` and those around it, with a virtual clock. Lists
 * here are correct, so single polls do not check them.
 */
export class Batching implements ListFollower {
  private readonly followed = new FollowedRuns();
  private readonly standings = new Map<string, ListStanding>();
  private readonly spot = createListSpotter(() => this.nowMs);
  private nowMs = 0;

  constructor(private readonly contextAt: (now: number) => ObserveContext) {}

  add(followed: Followed): void {
    this.followed.add(followed);
  }

  notice(run: TracedRun, now: number): boolean {
    this.followed.polled(run);
    this.nowMs = toMs(now);
    return this.spot(this.followed.watchOf(run)) !== null;
  }

  look(sight: ListSight): ListStep {
    const context = this.contextAt(sight.now);
    const members = this.followed.membersOf(sight.workflow, context);
    const all = [...members.values()];
    const plan = planBatch(all, { ...context.policy, pages: 1 });
    if (all.length < 2) return { woken: [], moved: this.recall(all, context), next: null };

    const { nextReadAt, ...looked } = this.lookNow(sight, { members, plan, context });
    const deadline = nextReadAt + patienceMs('list', context.load.roundMs);
    return { ...looked, next: { at: toS(nextReadAt), deadline: toS(deadline) } };
  }

  private lookNow(sight: ListSight, { members, plan, context }: BenchContext): Looked {
    const { workflow } = sight;
    const { now } = context;
    const all = [...members.values()];
    const standing = this.standings.get(workflow) ?? NEW_STANDING;
    const until = leftAloneUntil(standing, { members: all, plan, now });
    if (until !== null) return this.leaveAlone(all, context, until);

    const reading = this.read(sight, standing.size, { members, plan });
    if (reading === null) {
      const fallen = givenUp(standing, now);
      this.standings.set(workflow, fallen);
      return this.leaveAlone(all, context, fallen.since);
    }
    const findings = compareWithList(all, reading.runs, now);
    const size = nextSize(reachOf(reading.runs, members), findings.missing.length === 0);
    const { putOff, recalled, toCheck, checkedAt, nextMs } = scheduleAfter(findings, {
      ...context.policy,
      pages: reading.pages,
      checkedAt: standing.checkedAt,
      now,
      random: context.random,
    });
    this.standings.set(workflow, heldGood(standing, { size, claims: [], checkedAt }, now));
    const woken = toCheck === null ? findings.changed : [...findings.changed, toCheck];
    return {
      woken: woken.map((member) => this.followed.runOf(member)),
      moved: [...this.putOff(putOff, context), ...this.recall(recalled, context)],
      nextReadAt: now + nextMs,
    };
  }

  private leaveAlone(members: readonly ListMember[], context: ObserveContext, until: number) {
    return { woken: [], moved: this.recall(members, context), nextReadAt: until };
  }

  /** Null where a page can not be read. */
  private read(
    { now, read }: ListSight,
    size: number,
    { members, plan }: Pick<BenchContext, 'members' | 'plan'>,
  ): { runs: Map<string, ListedRun>; pages: number } | null {
    const runs = new Map<string, ListedRun>();
    for (let pages = 1; ; pages += 1) {
      const page = read(pages, size);
      if (page === null) return null;
      const listed = page.runs.map((run) => listedOf(run, this.followed.watchOf(run).runId, now));
      for (const run of listed) runs.set(listedAs(run.id), run);
      const missing = [...members].flatMap(([id, member]) => (runs.has(id) ? [] : [member]));
      const { isLast } = page;
      const goesOn = isNextPageWorthIt({ runs: listed, isLast, isCut: false }, missing, plan);
      if (pages === MAX_LIST_PAGES || !goesOn) return { runs, pages };
    }
  }

  private putOff(members: readonly ListMember[], { random }: ObserveContext): ListStep['moved'] {
    return this.followed.move(members, (one) => putOffAt(one.watch, { ...one, random }));
  }

  private recall(
    members: readonly ListMember[],
    { now, random }: ObserveContext,
  ): ListStep['moved'] {
    return this.followed.move(members, (one) => recallAt(one.watch, { ...one, now, random }));
  }
}
