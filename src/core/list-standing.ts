import type { Claim } from './list-claim.ts';
import { MAX_PAGE_SIZE, type ListOutcome } from './run-list.ts';

/** How long a list is left alone that has failed once; twice as long with every further failure. */
const FIRST_AVOIDED_MS = 30_000;
const LONGEST_AVOIDED_MS = 1_800_000;

/** A list of the runs of one workflow. */
export interface ListKey {
  source: string;
  workflowId: string;
}

/**
 * Why a list is given up: it can not be read, costs too much, wants to be left alone again and again, or
 * single reads show it to be untrue.
 */
export type FallbackReason =
  Exclude<ListOutcome['kind'], 'page' | 'rate_limited'> | 'too_large' | 'throttled' | 'disagrees';

/** What is known of a list from the looks before. Times are milliseconds since the epoch. */
export interface ListStanding {
  /** How often it was given up without having proved itself since. */
  failures: number;
  /** Until when it is not read, or since when it is trusted again. */
  since: number;
  /** How many runs the next look's pages are to have. */
  size: number;
  /** What it told of and no single read has judged so far. */
  claims: Claim[];
  /** True where the last look was answered by the wish to be left alone for a while. */
  isThrottled: boolean;
  /** When a run was last read by itself to check the list; 0 before that. */
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

/** Runs that may come in at the head of a list without pushing a member off a page. */
const HEADROOM = 20;

/** The size of the next look's pages: no larger than needed, for runs can drag large documents along. */
export function nextSize(reach: number, isAllFound: boolean): number {
  return isAllFound ? Math.min(MAX_PAGE_SIZE, reach + HEADROOM) : MAX_PAGE_SIZE;
}

/** A list that has failed is tried again, later each time. @param now when it may be asked at all */
export function givenUp({ failures }: ListStanding, now: number): ListStanding {
  return { ...NEW_STANDING, failures: failures + 1, since: now + avoidedMs(failures + 1) };
}

/**
 * A source that wants to be left alone is, and its list with it. Where that is all that the list says
 * again once it may be asked, the wish is the list's own: while single reads wait for it, it would keep
 * the whole source paused and nobody would be looked at.
 * @returns null where the list is to be given up
 */
export function throttled(standing: ListStanding): ListStanding | null {
  return standing.isThrottled ? null : { ...standing, isThrottled: true };
}

/** A look was good. Past failures are forgotten once the list has been good for as long as it was avoided. */
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

/** No run's id begins so. */
const PREFIX = '~';

/** The name of a list in the schedule of its source, beside the ids of runs. */
export function listMemberOf({ workflowId }: ListKey): string {
  return PREFIX + workflowId;
}

/** The reverse of {@link listMemberOf}. */
export function parseListMember(source: string, member: string): ListKey {
  return { source, workflowId: member.slice(PREFIX.length) };
}
