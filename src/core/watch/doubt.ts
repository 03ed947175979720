import type { RunNodes } from '../run/nodes.ts';
import { isAwaiting, isTerminalStatus, timeOf, type RunSnapshot } from '../run/snapshot.ts';
import { hasMovedOn, placeOf, waitedAt } from './waits.ts';
import type { Watch } from './watch.ts';

/** How many reads must agree, and how far apart they are, ms. */
interface Confirmation {
  reads: number;
  apartMs: number;
}

/** At an inconsistent source, five reads over 30 s. */
const INCONSISTENT = { reads: 5, apartMs: 7_500 };

/** A read that is due earlier by this share than asked for counts: clocks differ a little. */
const SLACK = 0.1;

/** Reads that take something back, none of which counts yet. Times are milliseconds since the epoch. */
export interface Doubt {
  /** When the first was. */
  since: number;
  /** When the last of those that count as agreeing was. */
  at: number;
  /** How many of these there are. */
  reads: number;
}

/** What a read of a run is worth. */
export type Judgement =
  /** It counts. `contradicted` is the doubt that it ends without agreeing; null for none. */
  | { is: 'counted'; contradicted: Doubt | null }
  /** It takes something back, and is repeated. */
  | { is: 'doubted'; doubt: Doubt; againAt: number };

interface JudgeContext {
  now: number;
  nodes: RunNodes | null;
  isConsistent: boolean;
  policy: { minIntervalMs: number };
}

type JudgedWatch = Pick<Watch, 'run' | 'waits' | 'doubt'>;

/**
 * Judges a read. Replicas and caches lag, so that a read may be older than the last one: what takes
 * something back counts only when further reads agree. An end counts at once.
 */
export function judgePoll(watch: JudgedWatch, run: RunSnapshot, context: JudgeContext): Judgement {
  const { doubt } = watch;
  if (!takesBack(watch, run, context.nodes)) {
    const isContradiction = doubt !== null && watch.run?.status === run.status;
    return { is: 'counted', contradicted: isContradiction ? doubt : null };
  }
  const { now, isConsistent, policy } = context;
  const wanted: Confirmation = isConsistent
    ? { reads: 2, apartMs: policy.minIntervalMs }
    : { ...INCONSISTENT, apartMs: Math.max(INCONSISTENT.apartMs, policy.minIntervalMs) };
  const next = withRead(doubt, wanted, now);
  if (next.reads >= wanted.reads) return { is: 'counted', contradicted: null };
  return { is: 'doubted', doubt: next, againAt: next.at + wanted.apartMs };
}

/** A read too soon after the last one may come from the same place, and adds nothing. */
function withRead(doubt: Doubt | null, { apartMs }: Confirmation, now: number): Doubt {
  if (doubt === null) return { since: now, at: now, reads: 1 };
  if (now - doubt.at < apartMs * (1 - SLACK)) return doubt;
  return { ...doubt, at: now, reads: doubt.reads + 1 };
}

/** Whether a read shows a run where it was before: less than the last one, or no wait although nothing moved on. */
export function takesBack(
  { run: before, waits }: Pick<Watch, 'run' | 'waits'>,
  run: RunSnapshot,
  nodes: RunNodes | null,
): boolean {
  if (before === null || isTerminalStatus(before.status) || isTerminalStatus(run.status))
    return false;
  if (isEarlier(before, run)) return true;
  if (!isAwaiting(before.status) || isAwaiting(run.status)) return false;
  return !hasMovedOn(waitedAt(before, waits), placeOf(run, nodes));
}

function isEarlier(before: RunSnapshot, run: RunSnapshot): boolean {
  if (run.status === 'queued' && before.status !== 'queued') return true;
  if (run.progress !== null && before.progress !== null && run.progress < before.progress)
    return true;
  const [startedBefore, started] = [timeOf(before.started_at), timeOf(run.started_at)];
  return startedBefore !== null && (started === null || started < startedBefore);
}
