import { isTerminalStatus } from '../run/snapshot.ts';
import type { Profile, Watch } from '../watch/watch.ts';
import { TRANSITION_KINDS, type TransitionKind } from './stream-hint.ts';
import { sumOf } from './word.ts';

/** Of so many transitions of a kind it is remembered whether a stream told them. */
export const REMEMBERED = 20;

/** Transitions that must be told in a row before a kind is believed: documented ones, and others. */
const IN_A_ROW: Record<TransitionKind, number> = {
  completed: 3,
  failed: 3,
  stopped: 10,
  awaiting: 10,
  resumed: 10,
};

/** One run in so many keeps its cadence, so that streams that fall silent are noticed. */
const ONE_IN = 20;

/** So many transitions in a row that no stream told show that streams are not worth their request. */
const HOPELESS = 10;

/** So many hints in a row that reads contradicted show that a stream lies. */
const LIES = 6;

/** What is remembered: transitions of each kind, and hints. */
export const REMEMBERED_KINDS = [...TRANSITION_KINDS, 'hint'] as const;

export type RememberedKind = (typeof REMEMBERED_KINDS)[number];

/**
 * The last ones of each kind, oldest first. Of a transition, 1 where the stream told it and 0 where a
 * read found it; of a hint, 1 where a read confirmed it.
 */
export type ToldHistory = Partial<Record<RememberedKind, string>>;

/** The histories of a source and of its workflows. */
export interface StreamTrust {
  source: ToldHistory;
  workflows: ReadonlyMap<string, ToldHistory>;
}

export const NO_TRUST: StreamTrust = { source: {}, workflows: new Map() };

/** Whether streams are believed to tell transitions of a kind. */
export function isBelieved(kind: TransitionKind, told: string): boolean {
  const missed = told.split('0').length - 1;
  return missed <= 1 && told.includes('1'.repeat(IN_A_ROW[kind]));
}

/** The kinds that a workflow has shown, or else its source, and that no stream is believed to tell. */
export function doubtedKinds(trust: StreamTrust, workflowId: string | null): TransitionKind[] {
  const shown = historyOf(trust, workflowId);
  return TRANSITION_KINDS.filter((kind) => {
    const told = shown[kind] ?? '';
    return told !== '' && !isBelieved(kind, told);
  });
}

/** Whether the stream of a run may stand in for the reads of its cadence. */
export function isEarned(trust: StreamTrust, { run, runId }: Pick<Watch, 'run' | 'runId'>) {
  if (run === null || sumOf(runId) % ONE_IN === 0) return false;
  const workflowId = run.workflow_id;
  const shown = historyOf(trust, workflowId);
  const hasShown = TRANSITION_KINDS.some((kind) => shown[kind] !== undefined);
  return hasShown && doubtedKinds(trust, workflowId).length === 0;
}

function historyOf({ source, workflows }: StreamTrust, workflowId: string | null): ToldHistory {
  return (workflowId === null ? undefined : workflows.get(workflowId)) ?? source;
}

/** Whether a stream of this run may save reads: some kind is told truly, or the run serves as a sample. */
export function isHopeful(
  trust: StreamTrust,
  { run, runId }: Pick<Watch, 'run' | 'runId'>,
): boolean {
  const { hint = '', ...kinds } = historyOf(trust, run?.workflow_id ?? null);
  const all = Object.values(kinds).join('');
  const isTelling = all.includes('1') || all.length < HOPELESS;
  return (isTelling && !hint.endsWith('0'.repeat(LIES))) || isSample(runId);
}

/** One run in so many gets a stream although streams are not worth while, to see when they are again. */
export function isSample(runId: string): boolean {
  return sumOf(runId) % ONE_IN === 1;
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
