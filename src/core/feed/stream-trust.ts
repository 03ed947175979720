import { isTerminalStatus } from '../run/snapshot.ts';
import type { Profile, Watch } from '../watch/watch.ts';
import { TRANSITION_KINDS, type TransitionKind } from './stream-hint.ts';

/** Of so many transitions of a kind it is remembered whether a stream reported them. */
export const REMEMBERED = 20;

/** Transitions that must be reported in a row before a kind is believed: documented ones, and others. */
const IN_A_ROW: Record<TransitionKind, number> = {
  completed: 3,
  failed: 3,
  stopped: 10,
  awaiting: 10,
  resumed: 10,
};

/** The share of runs that are exceptions, each kind of exception. */
const ONE_IN = 20;

/** So many transitions in a row that no stream reported show that streams are not worth their request. */
const HOPELESS = 10;

/**
 * Streams lie when reads contradicted so many hints in a row, or so many of those that are remembered.
 * They lie no more when reads confirmed so many in a row.
 */
const LIES_IN_A_ROW = 3;
const LIES = 4;
const TRUTHS_IN_A_ROW = 3;

/** What is remembered: transitions of each kind, and hints. */
export const REMEMBERED_KINDS = [...TRANSITION_KINDS, 'hint'] as const;

export type RememberedKind = (typeof REMEMBERED_KINDS)[number];

/**
 * The last ones of each kind, oldest first. Of a transition, 1 where the stream reported it and 0 where
 * a read found it; of a hint, 1 where a read confirmed it. Empty for a kind that only runs without a stream have shown.
 */
export type ReportHistory = Partial<Record<RememberedKind, string>>;

/** The histories of a source and of its workflows. */
export interface StreamTrust {
  source: ReportHistory;
  workflows: ReadonlyMap<string, ReportHistory>;
}

export const NO_TRUST: StreamTrust = { source: {}, workflows: new Map() };

/** Whether streams are believed to report transitions of a kind. */
export function isBelieved(kind: TransitionKind, reports: string): boolean {
  return countOf(reports, '0') <= 1 && reports.includes('1'.repeat(IN_A_ROW[kind]));
}

function countOf(history: string, digit: string): number {
  return history.split(digit).length - 1;
}

/** Whether streams lie, by the history of their hints. */
function isLying(hints: string): boolean {
  if (hints.endsWith('1'.repeat(TRUTHS_IN_A_ROW))) return false;
  return hints.endsWith('0'.repeat(LIES_IN_A_ROW)) || countOf(hints, '0') >= LIES;
}

/**
 * The kinds that a workflow has shown, or else its source, and that no stream is believed to report. A workflow
 * that has had no stream goes by the reports of its source.
 */
export function doubtedKinds(trust: StreamTrust, workflowId: string | null): TransitionKind[] {
  const reports = reportsOf(trust, workflowId);
  return TRANSITION_KINDS.filter((kind) => {
    const isShown = reports[kind] !== undefined || hasShown(trust, workflowId, kind);
    return isShown && !isBelieved(kind, reports[kind] ?? '');
  });
}

/** Whether it is known that runs of a workflow make transitions of a kind, with a stream or without. */
export function hasShown(trust: StreamTrust, workflowId: string | null, kind: TransitionKind) {
  return workflowId !== null && trust.workflows.get(workflowId)?.[kind] !== undefined;
}

/** Whether the stream of a run may stand in for the reads of its cadence. */
export function isEarned(trust: StreamTrust, { run, runId }: Pick<Watch, 'run' | 'runId'>) {
  if (run === null || keepsCadence(runId)) return false;
  const workflowId = run.workflow_id;
  const reports = reportsOf(trust, workflowId);
  const isKnown = TRANSITION_KINDS.some((kind) => reports[kind] !== undefined);
  if (!isKnown || isLying(reports.hint ?? '')) return false;
  return doubtedKinds(trust, workflowId).length === 0;
}

/** What streams of a workflow have reported, or those of its source where no run of it has had one. */
function reportsOf({ source, workflows }: StreamTrust, workflowId: string | null): ReportHistory {
  const own = workflowId === null ? undefined : workflows.get(workflowId);
  return own !== undefined && hasReports(own) ? own : source;
}

/** Whether streams have been judged, and not only reads have shown what there is. */
export function hasReports(history: ReportHistory): boolean {
  return Object.values(history).some((reports) => reports !== '');
}

/** Whether a stream of this run may save reads: some kind is reported truly, or the run is a sample. */
export function isHopeful(
  trust: StreamTrust,
  { run, runId }: Pick<Watch, 'run' | 'runId'>,
): boolean {
  const { hint = '', ...kinds } = reportsOf(trust, run?.workflow_id ?? null);
  const all = Object.values(kinds).join('');
  const isReporting = all.includes('1') || all.length < HOPELESS;
  return (isReporting && !isLying(hint)) || isSample(runId);
}

/** One run in so many keeps its cadence, so that streams that fall silent are noticed. */
export function keepsCadence(runId: string): boolean {
  return hashOf(runId) % ONE_IN === 0;
}

/** One run in so many gets a stream although streams are not worth while, to see when they are again. */
export function isSample(runId: string): boolean {
  return hashOf(runId) % ONE_IN === 1;
}

/** The same for a run at each read, and as good as random between runs. */
export function hashOf(runId: string): number {
  let hash = 0;
  for (let at = 0; at < runId.length; at += 1) hash = (hash * 31 + runId.charCodeAt(at)) % 65_521;
  return hash;
}

/** Whether a run may still change, so that a stream of it makes sense. */
export function mayStream({ state, run }: Pick<Watch, 'state' | 'run'>): boolean {
  return state === 'active' && !isTerminalStatus(run?.status ?? '');
}

/** With a stream, reads only catch what the stream may have missed; this often at most, ms. */
const BACKSTOP_MS = 120_000;

/** The delay until the next read of a run that is left to its stream: at least the backstop. @returns ms */
export function streamedDelay({ maxDelayMs }: Pick<Watch, 'maxDelayMs'>, delayMs: number): number {
  return Math.max(delayMs, Math.min(BACKSTOP_MS, maxDelayMs ?? Infinity));
}

const CLASSES: Record<Profile, number> = { urgent: 0, normal: 1_000, frugal: 2_000 };

/** The order in which streams are opened, lowest first: urgent runs, then those that are nearly done. */
export function streamRank({ profile, run }: Pick<Watch, 'profile' | 'run'>): number {
  return CLASSES[profile] - Math.min(Math.max(run?.progress ?? 0, 0), 100);
}
