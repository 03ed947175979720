import { isSubscribed, type EndpointFilter } from '../delivery/delivery.ts';
import { isAwaiting, isTerminalStatus } from '../run/snapshot.ts';
import type { Watch } from '../watch/watch.ts';

/** A transition that streams are trusted to report, or not. */
export const TRANSITION_KINDS = ['completed', 'failed', 'stopped', 'awaiting', 'resumed'] as const;

export type TransitionKind = (typeof TRANSITION_KINDS)[number];

/** The kind of a transition; null for those that no stream is judged by, such as a start. */
export function transitionKind(before: string, after: string): TransitionKind | null {
  if (before === after) return null;
  if (after === 'completed' || after === 'failed' || after === 'stopped') return after;
  if (isAwaiting(after)) return 'awaiting';
  return isAwaiting(before) ? 'resumed' : null;
}

/** A stream that reports what a read has found within this time counts as having reported it, ms. */
const GRACE_MS = 2_000;

/** After a read that disagrees with a hint, further ones follow after these times, ms. */
const AGAIN_MS = [600, 1_200];

/** What the stream of a run has said of its status, beside what reads have found. */
export interface RunHints {
  /** By the last read; null before the first. */
  known: string | null;
  /** By the last event that named one; null before it. */
  said: string | null;
  /** A hint that no read has judged, when it came, and how many reads have disagreed with it. */
  pending: { status: string; at: number; disagreed: number } | null;
  /** A transition that a read has found, and that the stream may yet report. */
  unclear: { kind: TransitionKind; status: string; at: number } | null;
}

/** The hints of a stream whose run was last read with this status. */
export function newHints(known: string | null): RunHints {
  return { known, said: null, pending: null, unclear: null };
}

/** Whether the stream reported a transition before a read found it, or in time. */
interface StreamReport {
  kind: TransitionKind;
  isReported: boolean;
}

/** What an event or a read calls for. */
export interface HintStep {
  hints: RunHints;
  /** After how long a confirming read is due, ms; null for none. */
  readInMs: number | null;
  report: StreamReport | null;
  /** `wrong`: three reads disagree with the hint. */
  judged: 'confirmed' | 'wrong' | null;
}

/**
 * Takes in a status that an event names. A status unlike the one last read is a hint; one that the
 * stream has named before is not, so that a wrong hint is judged once.
 * @param isStartWanted false where nothing needs to know that the run has started
 */
export function heard(
  hints: RunHints,
  status: string,
  { now, isStartWanted }: { now: number; isStartWanted: boolean },
): HintStep {
  const { known, said, unclear } = hints;
  const isReported = unclear?.status === status;
  const report = unclear !== null && isReported ? { kind: unclear.kind, isReported } : null;
  const next = { ...hints, said: status, unclear: isReported ? null : unclear };
  if (status === known) return step({ ...next, pending: null }, { report });
  if (status === said || !isHint(known, status, isStartWanted)) return step(next, { report });
  return step({ ...next, pending: { status, at: now, disagreed: 0 } }, { report, readInMs: 0 });
}

/** Before the first read, which is due anyway, only an end or a wait is a hint. */
function isHint(known: string | null, status: string, isStartWanted: boolean): boolean {
  if (known === null) return isTerminalStatus(status) || isAwaiting(status);
  return isStartWanted || known !== 'queued' || status !== 'running';
}

/** Takes in a read. @param read.askedAt when it was sent, ms since the epoch */
export function readFound(
  hints: RunHints,
  { status, askedAt }: { status: string; askedAt: number },
  now: number,
): HintStep {
  const { known, said } = hints;
  const kind = known === null ? null : transitionKind(known, status);
  const report = kind !== null && said === status ? { kind, isReported: true } : null;
  const unclear = kind !== null && report === null ? { kind, status, at: now } : hints.unclear;
  const next = { ...hints, unclear };
  return { ...compared({ ...next, known: status }, { before: known, askedAt }), report };
}

/** Compares a read with the hint that waits for one. */
function compared(
  hints: RunHints,
  { before, askedAt }: { before: string | null; askedAt: number },
): HintStep {
  const { pending, known } = hints;
  if (pending === null) return step(hints, {});
  if (pending.status === known) return step({ ...hints, pending: null }, { judged: 'confirmed' });
  if (askedAt < pending.at) return step(hints, {});
  // A first read is no change since the hint: it contradicts one that says something else.
  if (before !== null && known !== before) return step({ ...hints, pending: null }, {});
  const readInMs = AGAIN_MS[pending.disagreed] ?? null;
  if (readInMs === null) return step({ ...hints, pending: null }, { judged: 'wrong' });
  const disagreed = pending.disagreed + 1;
  return step({ ...hints, pending: { ...pending, disagreed } }, { readInMs });
}

/** Judges a transition that the stream has not reported in time. */
export function judgedLate(hints: RunHints, now: number): HintStep {
  const { unclear } = hints;
  if (unclear === null || now < unclear.at + GRACE_MS) return step(hints, {});
  return step({ ...hints, unclear: null }, { report: { kind: unclear.kind, isReported: false } });
}

function step(
  hints: RunHints,
  { readInMs = null, report = null, judged = null }: Partial<HintStep>,
) {
  return { hints, readInMs, report, judged };
}

/** Whether a subscription is notified of the start of the run. */
export function wantsStart(watch: Watch, wants: EndpointFilter): boolean {
  return watch.subscriptions.some((one) => isSubscribed(one, 'run.started', watch, wants));
}

/** Confirming reads of hints take at most this share of the rate limit while they turn out wrong. */
const WRONG_SHARE = 0.5;

/** So many seconds' worth of them may be made at once. */
const BURST_MS = 5_000;

/**
 * The confirming reads that hints may cause. Each counts as wasted until a read confirms its hint, so
 * that however many hints are wrong, half of the rate limit is left.
 */
export class HintAllowance {
  private wasted = 0;
  private at: number;

  constructor(
    /** What the rate limit allows. */
    private readonly requestsPerMs: () => number,
    now: number,
  ) {
    this.at = now;
  }

  /** Whether a confirming read may be made; it counts if so. */
  take(now: number): boolean {
    const passed = Math.max(0, now - this.at);
    const perMs = this.requestsPerMs() * WRONG_SHARE;
    this.wasted = Math.max(0, this.wasted - passed * perMs);
    this.at = now;
    if (this.wasted + 1 > Math.max(1, perMs * BURST_MS)) return false;
    this.wasted += 1;
    return true;
  }

  /** A read has confirmed its hint. */
  giveBack(): void {
    this.wasted = Math.max(0, this.wasted - 1);
  }
}
