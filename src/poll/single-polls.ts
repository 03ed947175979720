import type { Random } from '../core/backoff.ts';
import { putOffAt, recallAt } from '../core/batch.ts';
import type { ListMember } from '../core/list-member.ts';
import type { WatchChange } from '../core/watch-change.ts';
import { watchId, type StoredWatch, type WatchKey } from '../core/watch.ts';

interface WatchStore {
  getMany(keys: WatchKey[]): Promise<(StoredWatch | null)[]>;
  commitMany(changes: WatchChange[]): Promise<(string[] | null)[]>;
}

interface PollJobs {
  hasten(id: string): Promise<void>;
  reschedule(id: string, at: number): Promise<void>;
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
  at: number;
}

/**
 * A poll that is moved is moved in the watch, which says when it is due, and in its job, which wakes
 * it. Who dies in between leaves a job that comes too early, or one whose watch was polled meanwhile
 * too late: by no more than the backstop.
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
        const at = putOffAt(member.watch, { ...member, random });
        return at === null ? [] : [{ member, at }];
      });
      const written = await moveWatches(deps, moves);
      await moveJobs(deps, written);
      await moveBack(deps, written);
    },
    async recall(members) {
      const moves = members.flatMap((member) => {
        const at = recallAt(member.watch, { ...member, now: now(), random });
        return at === null ? [] : [{ member, at }];
      });
      await moveJobs(deps, moves);
      await moveWatches(deps, moves);
    },
  };
}

/** @returns the moves that were written; a watch that has changed meanwhile has a time of its own */
async function moveWatches({ watches }: SinglePollsDependencies, moves: Move[]): Promise<Move[]> {
  if (moves.length === 0) return [];
  const changes = moves.map(({ member: { watch, version }, at }) => ({
    before: { watch, version },
    after: { ...watch, nextPollAt: at },
    events: [],
    deliveries: [],
    lessons: [],
  }));
  const written = await watches.commitMany(changes);
  return moves.filter((_, place) => written[place] !== null);
}

async function moveJobs({ jobsOf }: SinglePollsDependencies, moves: Move[]): Promise<void> {
  await Promise.all(
    moves.map(async ({ member: { watch }, at }) => {
      await jobsOf(watch.source)?.reschedule(watchId(watch), at);
    }),
  );
}

/**
 * A poll may have run between the two steps of a move: its watch has a time of its own then, which
 * the move of its job has gone over. A poll that is still under way sets its job's time by itself.
 */
async function moveBack(
  { watches, jobsOf }: SinglePollsDependencies,
  moves: Move[],
): Promise<void> {
  if (moves.length === 0) return;
  const current = await watches.getMany(moves.map(({ member }) => member.watch));
  await Promise.all(
    moves.map(async ({ at }, place) => {
      const watch = current[place]?.watch;
      if (watch === undefined || watch.nextPollAt === null || watch.nextPollAt === at) return;
      await jobsOf(watch.source)?.reschedule(watchId(watch), watch.nextPollAt);
    }),
  );
}
