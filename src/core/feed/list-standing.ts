import type { Claim } from './list-claim.ts';
import { MAX_PAGE_SIZE, type ListOutcome } from './run-list.ts';

/** How long a list is avoided after its first failure; each further failure doubles it. */
const FIRST_AVOIDED_MS = 30_000;
const LONGEST_AVOIDED_MS = 1_800_000;

/** A list of the runs of one workflow. */
export interface ListKey {
  source: string;
  workflowId: string;
}

/**
 * Why a list is given up: it cannot be read, costs too many requests, is throttled again and again,
 * or single polls contradict it.
 */
export type FallbackReason =
  Exclude<ListOutcome['kind'], 'page' | 'rate_limited'> | 'too_large' | 'throttled' | 'disagrees';

/** What earlier sweeps showed of a list. Times are milliseconds since the epoch. */
export interface ListStanding {
  /** How often it was given up since it last proved reliable. */
  failures: number;
  /** Until when it is not swept, or since when it is trusted again. */
  since: number;
  /** The page size of the next sweep. */
  size: number;
  /** Hints that no single poll has judged so far. */
  claims: Claim[];
  /** True where the last sweep was throttled. */
  isThrottled: boolean;
  /** When a single poll last checked the list; 0 for never. */
  checkedAt: number;
}

export const NEW_STANDING: ListStanding = {
  failures: 0,
  since: 0,
  size: MAX_PAGE_SIZE,
  claims: [],
  isThrottled: false,
  checkedAt: 0,
};

/** Runs that may enter the list at its head without pushing a member off a page. */
const HEADROOM = 20;

/** The page size of the next sweep: as small as possible, since runs can carry large documents. */
export function nextSize(reach: number, isAllFound: boolean): number {
  return isAllFound ? Math.min(MAX_PAGE_SIZE, reach + HEADROOM) : MAX_PAGE_SIZE;
}

/** Gives up a list for a while, longer each time. @param now when it may be swept again at all */
export function givenUp({ failures }: ListStanding, now: number): ListStanding {
  return { ...NEW_STANDING, failures: failures + 1, since: now + avoidedMs(failures + 1) };
}

/**
 * The state of a list after a throttled sweep. The source pauses as a whole. A list that is
 * throttled again right after the pause is throttled by itself. Single polls wait for it, so it
 * would keep the source paused and stop all polls.
 * @returns null where the list is to be given up
 */
export function throttled(standing: ListStanding): ListStanding | null {
  return standing.isThrottled ? null : { ...standing, isThrottled: true };
}

/**
 * A good sweep. Past failures are forgotten once the list has been good for as long as it was
 * avoided.
 */
export function heldGood(
  { failures, since }: ListStanding,
  look: Pick<ListStanding, 'size' | 'claims' | 'checkedAt'>,
  now: number,
): ListStanding {
  const isProved = now - since > avoidedMs(failures);
  return { ...look, since, failures: isProved ? 0 : failures, isThrottled: false };
}

function avoidedMs(failures: number): number {
  return failures === 0
    ? 0
    : Math.min(LONGEST_AVOIDED_MS, FIRST_AVOIDED_MS * 2 ** Math.min(failures - 1, 10));
}

/** No run id begins with this. */
const PREFIX = '~';

/** The name of a list in its source's schedule, beside the ids of runs. */
export function listMemberOf({ workflowId }: ListKey): string {
  return PREFIX + workflowId;
}

/** The reverse of {@link listMemberOf}. */
export function parseListMember(source: string, member: string): ListKey {
  return { source, workflowId: member.slice(PREFIX.length) };
}
