import { spanText } from '../time.ts';

/** So many of the last doubts that further reads have settled are judged. */
const JUDGED = 20;

/** From this share of them on, contradicted ones make the source inconsistent. */
const SHARE = 1 / 5;

/** Two contradictions of one run may be two waits that a program answers at once. */
const LEAST_RUNS = 2;

/** After so long without a contradiction a source is consistent again, ms. */
const QUIET_MS = 600_000;

/** How far the reads of a source agree. A source without contradictions has none. */
export interface SourceConsistency {
  /** What reads took back last, oldest first: the run of what further reads contradicted, else null. */
  changes: (string | null)[];
  /** When the last contradiction was, milliseconds since the epoch. */
  contradictedAt: number;
  /** Since when it has been inconsistent, milliseconds since the epoch; null while it is not. */
  since: number | null;
}

/**
 * The record after one more contradiction. A share decides, not a number: a healthy replica with some
 * lag contradicts itself now and then, between many reads with which the next ones agree.
 * @param contradiction.stood how often further reads agreed since the last contradiction
 */
export function afterContradiction(
  before: SourceConsistency | null,
  { runId, stood, now }: { runId: string; stood: number; now: number },
): SourceConsistency {
  const past = before === null || isQuiet(before, now) ? null : before;
  const others = Array.from({ length: Math.min(stood, JUDGED) }, () => null);
  const changes = [...(past?.changes ?? []), ...others, runId].slice(-JUDGED);
  const since = before?.since ?? (isTooMany(changes) ? now : null);
  return { changes, contradictedAt: now, since };
}

function isTooMany(changes: SourceConsistency['changes']): boolean {
  const contradicted = changes.filter((runId) => runId !== null);
  if (contradicted.length < SHARE * changes.length) return false;
  return new Set(contradicted).size >= LEAST_RUNS || contradicted.length >= SHARE * JUDGED;
}

/** Whether the last contradiction is so long ago that it says nothing of the source any more. */
export function isQuiet(
  { contradictedAt }: Pick<SourceConsistency, 'contradictedAt'>,
  now: number,
): boolean {
  return now - contradictedAt >= QUIET_MS;
}

/** Whether what a source says is to be doubted more than usual. */
export function isInconsistent(found: SourceConsistency | null, now: number): boolean {
  return found !== null && found.since !== null && !isQuiet(found, now);
}

/** What is wrong with an inconsistent source, for people. */
export function inconsistentMessage({ changes }: Pick<SourceConsistency, 'changes'>): string {
  const contradicted = changes.filter((runId) => runId !== null).length;
  return `of the last ${changes.length} changes back that reads showed, further reads contradicted ${contradicted}`;
}

/** What ends it, for people. */
export const CONSISTENT_MESSAGE = `no read has contradicted another for ${spanText(QUIET_MS)}`;
