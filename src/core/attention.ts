/** What needs a person, and which of it comes first. `http/attention.ts` gathers it. */
import type { AlertRun } from './alert/alert.ts';
import { SEVERITIES, type Severity } from './alert/rule.ts';
import type { Suppressor } from './alert/suppression.ts';
import { groupBy, sum } from './arrays.ts';
import { isAwaiting } from './run/snapshot.ts';
import type { Acknowledgement } from './watch/acknowledgement.ts';
import type { Watch } from './watch/watch.ts';

/** What of a watch needs a person. */
export const WATCH_ATTENTION = ['awaiting', 'stalled', 'gone', 'unreachable'] as const;

export type WatchAttention = (typeof WATCH_ATTENTION)[number];

/** All that needs a person. */
export const ATTENTION_KINDS = [
  'failed',
  ...WATCH_ATTENTION,
  'alert',
  'dead',
  'parked',
  'endpoint',
  'source',
  'overdue',
  'discovery',
  'batch',
] as const;

export type AttentionKind = (typeof ATTENTION_KINDS)[number];

/** A run of an entry. */
export interface AttentionRun {
  runId: string;
  /** Since when it needs a person, milliseconds since the epoch. */
  since: number;
  runUrl: string | null;
}

/** One cause for which something needs a person. What it is not about is absent. */
export interface AttentionItem {
  kind: AttentionKind;
  severity: Severity;
  /** How many things it is about: runs, events of an alert, deliveries, polls. */
  count: number;
  /** Milliseconds since the epoch. */
  since: number;
  /** A sentence for people. */
  message: string;
  /** Where it is about one run. */
  runId?: string;
  source?: string;
  workflowId?: string | null;
  workflowName?: string | null;
  runUrl?: string | null;
  /** Runs that it is about, {@link MOST_LISTED} at the most. */
  runs?: readonly AttentionRun[];
  endpoint?: string;
  /** Of an endpoint: deliveries that wait, and that were given up. */
  deliveries?: { waiting: number; dead: number };
  alertId?: string;
  rule?: string;
  /** The name of a batch. */
  batch?: string;
  /** What keeps notifications of an alert back now. */
  suppressedBy?: readonly Suppressor[];
  /** Absent for kinds that cannot be acknowledged. */
  acknowledged?: Acknowledgement | null;
}

/** Runs that an entry lists; a filter finds the others. */
const MOST_LISTED = 20;

/** The severity of what no rule gives one. */
export const SEVERITY_OF: Readonly<Record<Exclude<AttentionKind, 'alert'>, Severity>> = {
  failed: 'error',
  awaiting: 'warning',
  stalled: 'warning',
  gone: 'warning',
  unreachable: 'warning',
  dead: 'warning',
  parked: 'warning',
  endpoint: 'error',
  source: 'error',
  overdue: 'warning',
  discovery: 'warning',
  batch: 'warning',
};

/** The heaviest first, and of these the oldest. */
export function byWeight(one: AttentionItem, other: AttentionItem): number {
  const [weight, otherWeight] = [one, other].map(({ severity }) => SEVERITIES.indexOf(severity));
  return (weight ?? 0) - (otherWeight ?? 0) || one.since - other.since;
}

/** A run that needs a person. */
export interface NeedingRun extends AttentionRun {
  kind: WatchAttention;
  message: string;
  source: string;
  workflowId: string | null;
  workflowName: string | null;
  acknowledged: Acknowledgement | null;
}

/** One entry for the runs of a workflow that need a person alike, the longest first. */
export function entriesOfRuns(runs: readonly NeedingRun[]): AttentionItem[] {
  const groups = groupBy(runs, ({ kind, source, workflowId, acknowledged }) =>
    JSON.stringify([kind, source, workflowId, acknowledged?.by ?? null]),
  );
  return [...groups.values()].flatMap((group): AttentionItem[] => {
    const all = group.toSorted((a, b) => a.since - b.since);
    const [first] = all;
    if (first === undefined) return [];
    const { runId, runUrl, message, ...shared } = first;
    const entry = { ...shared, severity: SEVERITY_OF[first.kind], count: all.length };
    if (all.length === 1) return [{ ...entry, message, runId, runUrl }];
    return [{ ...entry, message: runsText(first.kind, all.length), runs: listed(all) }];
  });
}

function listed(runs: readonly AttentionRun[]): AttentionRun[] {
  return runs.slice(0, MOST_LISTED).map(({ runId, since, runUrl }) => ({ runId, since, runUrl }));
}

/** What several runs need. */
export function runsText(kind: WatchAttention, count: number): string {
  const what = {
    awaiting: 'wait for a human',
    stalled: 'have stalled',
    gone: 'are gone',
    unreachable: 'have no answer',
  }[kind];
  return `${count.toLocaleString('en')} runs ${what}`;
}

/** Failures of a workflow since its last completed run, as an entry about them says it. */
export function failedText(count: number): string {
  return count === 1
    ? 'the run failed, and none has completed since'
    : `${count.toLocaleString('en')} runs failed, and none has completed since`;
}

/** The runs of failures, as an entry lists them. */
export function failedRuns(runs: readonly AlertRun[]): AttentionRun[] {
  return runs.map(({ runId, at, url }) => ({ runId, since: at, runUrl: url }));
}

/**
 * One entry for each endpoint: what fails about it, what waits for it and what was given up have one cause.
 * The heaviest says what it is.
 */
export function joinedByEndpoint(items: readonly AttentionItem[]): AttentionItem[] {
  const groups = groupBy(items, ({ endpoint }) => endpoint ?? '');
  return [...groups.values()].flatMap((group): AttentionItem[] => {
    const [first] = group.toSorted((a, b) => PARTS.indexOf(a.kind) - PARTS.indexOf(b.kind));
    if (first === undefined) return [];
    const deliveries = {
      waiting: Math.max(...group.map((one) => one.deliveries?.waiting ?? 0)),
      dead: sum(group.map((one) => one.deliveries?.dead ?? 0)),
    };
    return [
      {
        ...first,
        since: Math.min(...group.map(({ since }) => since)),
        message: group.map(({ message }) => message).join('; '),
        count: deliveries.waiting + deliveries.dead,
        deliveries,
      },
    ];
  });
}

/** What may be the matter with an endpoint, the heaviest first. */
const PARTS: readonly AttentionKind[] = ['endpoint', 'dead', 'parked'];

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
