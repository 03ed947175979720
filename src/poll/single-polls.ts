import type { Random } from '../core/backoff.ts';
import { putOffAt, recallAt } from '../core/batch.ts';
import type { ListMember } from '../core/list-member.ts';
import type { WatchChange } from '../core/watch-change.ts';
import { watchId } from '../core/watch.ts';

interface WatchStore {
  commitMany(changes: WatchChange[]): Promise<(string[] | null)[]>;
}

interface PollJobs {
  hasten(id: string): Promise<void>;
  /** Does nothing where the job has another time by now. */
  reschedule(id: string, move: { from: number; to: number }): Promise<void>;
}

interface SinglePollsDependencies {
  watches: WatchStore;
  jobsOf: (source: string) => PollJobs | undefined;
  now: () => number;
  random: Random;
}

/** Moves the single polls of watches that are on a list. */
export interface SinglePolls {
  /** Reads them now. */
  hasten(members: readonly ListMember[]): Promise<void>;
  /** Reads them later, for the list stands in for them. */
  putOff(members: readonly ListMember[]): Promise<void>;
  /** Reads them at their own pace, for no list does. */
  recall(members: readonly ListMember[]): Promise<void>;
}

interface Move {
  member: ListMember;
  to: number;
}

/**
 * A poll that is moved is moved in the watch, which says when it is due, and in its job, which wakes
 * it. Who dies in between leaves a job that comes too early. What a poll has set meanwhile stands:
 * the watch is written only as it was read, and the job moved only from where the watch had it.
 */
export function createSinglePolls(deps: SinglePollsDependencies): SinglePolls {
  const { now, random } = deps;
  return {
    async hasten(members) {
      await Promise.all(
        members.map(async ({ watch }) => deps.jobsOf(watch.source)?.hasten(watchId(watch))),
      );
    },
    async putOff(members) {
      const moves = members.flatMap((member) => {
        const to = putOffAt(member.watch, { ...member, random });
        return to === null ? [] : [{ member, to }];
      });
      await moveJobs(deps, await moveWatches(deps, moves));
    },
    async recall(members) {
      const moves = members.flatMap((member) => {
        const to = recallAt(member.watch, { ...member, now: now(), random });
        return to === null ? [] : [{ member, to }];
      });
      await moveJobs(deps, moves);
      await moveWatches(deps, moves);
    },
  };
}

/** @returns the moves that were written; a watch that has changed meanwhile has a time of its own */
async function moveWatches({ watches }: SinglePollsDependencies, moves: Move[]): Promise<Move[]> {
  if (moves.length === 0) return [];
  const changes = moves.map(({ member: { watch, version }, to }) => ({
    before: { watch, version },
    after: { ...watch, nextPollAt: to },
    events: [],
    deliveries: [],
    lessons: [],
  }));
  const written = await watches.commitMany(changes);
  return moves.filter((_, place) => written[place] !== null);
}

async function moveJobs({ jobsOf }: SinglePollsDependencies, moves: Move[]): Promise<void> {
  await Promise.all(
    moves.map(async ({ member: { watch }, to }) => {
      await jobsOf(watch.source)?.reschedule(watchId(watch), { from: watch.nextPollAt ?? 0, to });
    }),
  );
}
