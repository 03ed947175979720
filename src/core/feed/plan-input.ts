import type { Watch } from '../watch/watch.ts';
import type { PageMark } from './page-layout.ts';
import type { ListHint } from './list-trust.ts';
import type { ListMember } from './member.ts';

/** Delay that a request is worth under the profile `normal`, ms: hazards follow from it. */
export const PRICE_MS = 200;

/** A watch as a plan sees it. */
export interface PlannedWatch {
  runId: string;
  /** Null while it is being polled. */
  nextPollAt: number | null;
  /** Null before a read has shown its workflow. */
  workflowId: string | null;
  /** By the source, ms since the epoch; NaN where it is not known. */
  createdAt: number;
  /** The interval of its single polls in a source that keeps up, ms. */
  intervalMs: number;
  /** The longest interval that it accepts, ms. */
  longestMs: number;
  /** How long it has been there, ms. */
  ageMs: number;
  /** False where a list cannot stand in for single polls: the run is missing or unreadable. */
  isListed: boolean;
  /** True before its first read. */
  isUnseen: boolean;
}

/** A list that can be read. */
export interface PlannedList {
  /** Null for the list of the runs of all workflows. */
  workflowId: string | null;
  marks: readonly PageMark[];
  /** Runs on a page. */
  size: number;
  /** How many pages can be read. */
  pages: number;
  /** True where the last plan used it. */
  isInUse: boolean;
}

/**
 * What a plan goes by for a watch.
 * @param seen.member the watch as a list has it, at the interval of single polls; null where it has none
 * @param seen.hint what a list has shown of the run, which counts before its first read
 */
export function plannedWatch(
  { runId, nextPollAt, run, cadence, registeredAt }: Watch,
  seen: { member: ListMember | null; hint: Pick<ListHint, 'workflowId' | 'createdAt'> | null },
  { minIntervalMs, longestMs, now }: { minIntervalMs: number; longestMs: number; now: number },
): PlannedWatch {
  const { member, hint } = seen;
  const isUnseen = run === null;
  const createdAt = (isUnseen ? hint : member)?.createdAt ?? NaN;
  const ageMs = ageOf({ registeredAt }, createdAt, now);
  const usualMs = isUnseen ? unseenIntervalMs(ageMs) : cadence.intervalMs;
  return {
    runId,
    nextPollAt,
    workflowId: (isUnseen ? hint?.workflowId : run.workflow_id) ?? null,
    createdAt,
    intervalMs: member?.intervalMs ?? Math.max(minIntervalMs, usualMs),
    longestMs,
    ageMs,
    isListed: isUnseen || !Number.isNaN(createdAt),
    isUnseen,
  };
}

/** The workflows with several watched runs, and null for the list of all workflows where there are several. */
export function sharedLists(watches: readonly PlannedWatch[]): (string | null)[] {
  const counts = new Map<string | null, number>([[null, watches.length]]);
  for (const { workflowId, isListed } of watches) {
    if (workflowId !== null && isListed) counts.set(workflowId, (counts.get(workflowId) ?? 0) + 1);
  }
  return [...counts].flatMap(([workflowId, count]) => (count < 2 ? [] : [workflowId]));
}

/** The interval of a run of which only the age is known, ms: its hazard is taken for 1/age. */
export function unseenIntervalMs(ageMs: number): number {
  return Math.min(ageMs, Math.sqrt(2 * PRICE_MS * ageMs));
}

/** How long a run has been there, by whichever clock says more, ms. @param createdAt NaN where it is not known */
export function ageOf(
  { registeredAt }: Pick<Watch, 'registeredAt'>,
  createdAt: number,
  now: number,
) {
  return Math.max(1, now - Math.min(createdAt || registeredAt, registeredAt));
}
