import type { RunNodes } from '../run/nodes.ts';
import { isAwaiting, isTerminalStatus, timeOf, type RunSnapshot } from '../run/snapshot.ts';
import { hasMovedOn, placeOf, waitedAt } from './waits.ts';
import type { Doubt, Watch } from './watch.ts';

/** How many reads must agree, and how far apart they are, ms. */
interface Confirmation {
  reads: number;
  apartMs: number;
}

/** At an inconsistent source, five reads over 30 s. */
const INCONSISTENT = { reads: 5, apartMs: 7_500 };

/** A read that is due earlier by this share than asked for counts: clocks differ a little. */
const SLACK = 0.1;

/** No wait is shorter, in the shortest intervals of reads: one that seems so is a lagging replica's. */
const SHORTEST_INTERVALS = 2.75;

/** So much of a read's lag does not count as part of a wait that seems short, ms. */
const LAG_MS = 1_500;

/** What a read of a run is worth. */
export type Judgement =
  /** It counts. */
  | {
      is: 'counted';
      /** The doubt with which it disagrees; null for none. */
      disagreesWith: Doubt | null;
      /** What the next read is judged by; null for nothing. */
      doubt: Doubt | null;
    }
  /** It takes something back, and is repeated. */
  | {
      is: 'doubted';
      doubt: Doubt;
      againAt: number;
      /** Whether it shows that the source contradicts itself. */
      isContradiction: boolean;
    };

interface JudgeContext {
  now: number;
  /** From when the read was due to its start, ms. */
  lagMs: number;
  nodes: RunNodes | null;
  isConsistent: boolean;
  policy: { minIntervalMs: number };
}

type JudgedWatch = Pick<Watch, 'run' | 'runAskedAt' | 'waits' | 'doubt'>;

/**
 * Judges a read. Replicas and caches lag, so that a read may be older than the last one: what takes
 * something back counts only when further reads agree. An end counts at once.
 *
 * A second read that disagrees may show a new wait after a little work. A third one decides: where it
 * takes back the same, the wait would have been shorter than any, and the source contradicts itself.
 */
export function judgePoll(watch: JudgedWatch, run: RunSnapshot, context: JudgeContext): Judgement {
  const { doubt } = watch;
  if (!takesBack(watch, run, context.nodes)) return counted(watch, run, context);
  const { now, isConsistent, policy } = context;
  if (!isOpen(doubt)) {
    return {
      is: 'doubted',
      doubt: { since: now, at: now, reads: 1 },
      againAt: now + policy.minIntervalMs,
      isContradiction: doubt !== null && isTooShort(doubt, context),
    };
  }
  const wanted: Confirmation = isConsistent
    ? { reads: 2, apartMs: policy.minIntervalMs }
    : { ...INCONSISTENT, apartMs: Math.max(INCONSISTENT.apartMs, policy.minIntervalMs) };
  const next = withRead(doubt, wanted, now);
  if (next.reads >= wanted.reads) return { is: 'counted', disagreesWith: null, doubt: null };
  return {
    is: 'doubted',
    doubt: next,
    againAt: next.at + wanted.apartMs,
    isContradiction: false,
  };
}

function counted(
  { run: before, runAskedAt, doubt }: JudgedWatch,
  run: RunSnapshot,
  { lagMs }: JudgeContext,
): Judgement {
  const punctualMs = Math.min(lagMs, LAG_MS);
  if (isOpen(doubt) && before?.status === run.status) {
    const shown = { ...doubt, at: doubt.at + punctualMs, reads: 0 };
    return { is: 'counted', disagreesWith: doubt, doubt: shown };
  }
  const isEntry = before !== null && !isAwaiting(before.status) && isAwaiting(run.status);
  const workedAt = isEntry && runAskedAt !== null ? runAskedAt + punctualMs : null;
  const shown = workedAt === null ? null : { since: workedAt, at: workedAt, reads: 0 };
  return { is: 'counted', disagreesWith: null, doubt: shown };
}

function isOpen(doubt: Doubt | null): doubt is Doubt {
  return doubt !== null && doubt.reads > 0;
}

/** Whether what a single read showed, between the doubt and this read, lasted less than it can. */
function isTooShort({ at }: Doubt, { now, lagMs, policy }: JudgeContext): boolean {
  return now - Math.min(lagMs, LAG_MS) - at < SHORTEST_INTERVALS * policy.minIntervalMs;
}

/** A read too soon after the last one may come from the same place, and adds nothing. */
function withRead(doubt: Doubt, { apartMs }: Confirmation, now: number): Doubt {
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
