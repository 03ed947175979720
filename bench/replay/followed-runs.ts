import { listedAs } from '../../src/core/feed/list-findings.ts';
import { listMember, type ListMember } from '../../src/core/feed/list-member.ts';
import type { ObserveContext } from '../../src/core/watch/observation.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { toS } from './clock.ts';
import type { ListStep } from './policy.ts';
import type { TracedRun } from './workload.ts';

/** A polled run and its watch. */
export interface Followed {
  run: TracedRun;
  watch: Watch;
}

/** The members of a list, by {@link listedAs}. */
export type Members = ReadonlyMap<string, ListMember>;

/** The watches that lists cover. */
export class FollowedRuns {
  private readonly all = new Map<TracedRun, Followed>();
  /** Those that have been seen and have not ended, by their workflow and {@link listedAs}. */
  private readonly active = new Map<string, Map<string, Followed>>();

  add(followed: Followed): void {
    this.all.set(followed.run, followed);
  }

  watchOf(run: TracedRun): Watch {
    return this.all.get(run)!.watch;
  }

  /** Records a run that was just polled. */
  polled(run: TracedRun): void {
    const followed = this.all.get(run)!;
    const { runId, state } = followed.watch;
    const active = this.active.get(run.workflow) ?? new Map<string, Followed>();
    this.active.set(run.workflow, active);
    if (state === 'active') active.set(listedAs(runId), followed);
    else active.delete(listedAs(runId));
  }

  membersOf(workflow: string, context: ObserveContext): Members {
    const active = [...(this.active.get(workflow) ?? [])];
    return new Map(
      active.flatMap(([id, { watch }]) => {
        const member = listMember({ watch, version: 0 }, context);
        return member === null ? [] : [[id, member]];
      }),
    );
  }

  runOf({ watch }: ListMember): TracedRun {
    return this.followedBy(watch.run.workflow_id, watch.runId).run;
  }

  /**
   * Moves the next polls of members.
   * @param timeOf the new time, milliseconds since the epoch; null for no move
   */
  move(
    members: readonly ListMember[],
    timeOf: (member: ListMember) => number | null,
  ): ListStep['moved'] {
    return members.flatMap((member) => {
      const nextPollAt = timeOf(member);
      if (nextPollAt === null) return [];
      const followed = this.followedBy(member.watch.run.workflow_id, member.watch.runId);
      followed.watch = { ...followed.watch, nextPollAt };
      return [[followed.run, toS(nextPollAt)] as const];
    });
  }

  private followedBy(workflow: string | null, runId: string): Followed {
    return this.active.get(workflow ?? '')!.get(listedAs(runId))!;
  }
}
