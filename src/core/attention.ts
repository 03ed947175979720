import type { Suppressor } from './alert/suppression.ts';
import { isAwaiting } from './run/snapshot.ts';
import type { Acknowledgement, Watch } from './watch/watch.ts';

/** What of a watch needs a person. */
export const WATCH_ATTENTION = ['awaiting', 'stalled', 'gone', 'unreachable'] as const;

export type WatchAttention = (typeof WATCH_ATTENTION)[number];

/** All that needs a person. */
export const ATTENTION_KINDS = [
  ...WATCH_ATTENTION,
  'alert',
  'dead',
  'parked',
  'endpoint',
  'source',
  'overdue',
  'discovery',
] as const;

export type AttentionKind = (typeof ATTENTION_KINDS)[number];

/** Something that needs a person. What it is not about is absent. */
export interface AttentionItem {
  kind: AttentionKind;
  /** Milliseconds since the epoch. */
  since: number;
  /** A sentence for people. */
  message: string;
  runId?: string;
  source?: string;
  workflowId?: string | null;
  workflowName?: string | null;
  runUrl?: string | null;
  endpoint?: string;
  /** Of deliveries, polls, or events of an alert. */
  count?: number;
  alertId?: string;
  rule?: string;
  severity?: string;
  /** What keeps notifications of an alert back now. */
  suppressedBy?: readonly Suppressor[];
  /** Absent for kinds that cannot be acknowledged. */
  acknowledged?: Acknowledgement | null;
}

/** The parts of a watch that say whether it needs a person. */
type AttentiveWatch = Pick<
  Watch,
  'state' | 'run' | 'dwell' | 'unreachable' | 'waiting' | 'trouble' | 'gone' | 'changedAt'
>;

/** What of a watch needs a person, in the order of {@link WATCH_ATTENTION}. */
export function attentionOf({ state, run, dwell, unreachable }: AttentiveWatch): WatchAttention[] {
  if (state === 'gone') return ['gone'];
  if (state !== 'active') return [];
  const found: WatchAttention[] = [];
  if (run !== null && isAwaiting(run.status)) found.push('awaiting');
  if (dwell?.stalled === true) found.push('stalled');
  if (unreachable) found.push('unreachable');
  return found;
}

/** Since when a watch needs a person for this, and why. */
export function watchNeeds(
  kind: WatchAttention,
  watch: AttentiveWatch,
): { since: number; message: string } {
  const { waiting, dwell, trouble, gone, changedAt } = watch;
  const why = {
    awaiting: { since: waiting?.since, message: 'the run waits for a human' },
    stalled: { since: dwell?.since, message: `the run has stalled ${whereOf(watch.run)}` },
    gone: { since: gone?.since, message: gone?.message },
    unreachable: { since: trouble?.since, message: trouble?.message },
  }[kind];
  return { since: why.since ?? changedAt, message: why.message ?? 'nothing is known of the run' };
}

function whereOf(run: Watch['run']): string {
  if (run === null) return 'before its first poll';
  const progress = run.progress === null ? '' : ` at ${run.progress} %`;
  return `while ${run.status}${progress}`;
}
