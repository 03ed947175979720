import type { Random } from '../core/backoff.ts';
import { putOffAt, recallAt } from '../core/feed/batch.ts';
import type { ListMember } from '../core/feed/list-member.ts';
import type { Schedule } from './schedule.ts';

interface SinglePollsDependencies {
  scheduleOf: (source: string) => Pick<Schedule, 'expedite' | 'defer'> | undefined;
  now: () => number;
  random: Random;
}

/** Moves the single polls of watches that are on a list. */
export interface SinglePolls {
  /** Reads them now. */
  expedite(members: readonly ListMember[]): Promise<void>;
  /** Reads them later, for the list stands in for them. */
  defer(members: readonly ListMember[]): Promise<void>;
  /** Reads them at their own pace, for no list does. */
  recall(members: readonly ListMember[]): Promise<void>;
}

/**
 * A poll is moved only from the time that was read: what another poll, or an expedite, has set
 * meanwhile stands.
 */
export function createSinglePolls(deps: SinglePollsDependencies): SinglePolls {
  const { scheduleOf, now, random } = deps;

  async function move(
    members: readonly ListMember[],
    toOf: (member: ListMember) => number | null,
  ): Promise<void> {
    const moves = members.flatMap((member) => {
      const { source, runId, nextPollAt: from } = member.watch;
      const to = from === null ? null : toOf(member);
      return from === null || to === null ? [] : [{ source, runId, from, to }];
    });
    const [first] = moves;
    if (first !== undefined) await scheduleOf(first.source)?.defer(moves);
  }

  return {
    async expedite(members) {
      const [first] = members;
      if (first === undefined) return;
      await scheduleOf(first.watch.source)?.expedite(members.map(({ watch }) => watch.runId));
    },
    defer: (members) => move(members, (one) => putOffAt(one.watch, { ...one, random })),
    recall: (members) =>
      move(members, (one) => recallAt(one.watch, { ...one, now: now(), random })),
  };
}
