import {
  attemptBeganAt,
  isAwaiting,
  isTerminalStatus,
  timeOf,
  workBegan,
  type RunSnapshot,
} from '../run/snapshot.ts';
import { isRestart, isSameEnd, watchedSince } from '../watch/attempt.ts';
import { finishedAt, type ChangedWatch, type Phase, type Watch } from '../watch/watch.ts';

/** How long a second of a phase's clock lasts by default, ms. */
export const SECOND_MS = 1_000;

/** The second of its clock at which a run that keeps its pace ends. */
const EXPECTED_END_S = 100;

/** Progress from which on the pace of a run can be estimated, per cent. */
const LEAST_PROGRESS = 10;

/** Beyond this, progress only says that little is left: a run may stop at 99 for long. */
const MOST_PROGRESS = 95;

/** The state of a run after a human's answer, whatever its status. */
const RESUMED = 'resumed';

/** The name under which the time from a state's beginning to the next major transition is kept. */
export function untilTransition(state: string): string {
  return `transition/${state}`;
}

/**
 * Whether a poll shows a major transition: the run ended, or began or ceased to wait for a human.
 */
function isMajorTransition(previous: RunSnapshot, run: RunSnapshot): boolean {
  return isTerminalStatus(run.status) || isAwaiting(previous.status) !== isAwaiting(run.status);
}

/**
 * The phases of a run since the last major transition, the present one last. Each state occurs
 * once: where progress falls back, that phase begins anew.
 * @param phases the phases before this poll
 * @param previous the last snapshot; null on the first poll
 */
export function phasesAfter(
  phases: readonly Phase[],
  previous: RunSnapshot | null,
  run: RunSnapshot,
  now: number,
): Phase[] {
  if (isTerminalStatus(run.status)) return [];
  const isFresh = previous === null || isMajorTransition(previous, run);
  const earlier = isFresh ? [] : phases;
  const isResumed = isFresh ? previous !== null : earlier[0]?.state === RESUMED;
  const state = stateOf(run, isResumed);
  if (earlier.at(-1)?.state === state) return [...earlier];
  const began = beganAt(state, previous, run, now);
  const since = began ?? now;
  return [
    ...earlier.filter((phase) => phase.state !== state),
    { state, since, seenAt: began === null ? null : now, secondMs: secondOf(state, run, since) },
  ];
}

function stateOf(run: RunSnapshot, isResumed: boolean): string {
  if (isAwaiting(run.status)) return run.status;
  if (isResumed) return RESUMED;
  return run.status === 'running' ? `running/${bucketOf(run.progress)}` : run.status;
}

function bucketOf(progress: number | null): number {
  return Math.min(90, Math.max(0, Math.floor((progress ?? 0) / 10) * 10));
}

/**
 * When a state began: by the source's time where given, but never before a poll that saw another state.
 * Else half-way between the two polls; null without an earlier poll.
 */
function beganAt(
  state: string,
  previous: RunSnapshot | null,
  run: RunSnapshot,
  now: number,
): number | null {
  const lastPollAt = previous === null ? null : Date.parse(previous.observed_at);
  const givenAt = reportedBeginning(state, previous, run);
  if (givenAt !== null) return Math.min(Math.max(givenAt, lastPollAt ?? givenAt), now);
  return lastPollAt === null ? null : Math.round((lastPollAt + now) / 2);
}

/**
 * When a run entered a state, by the source's own times, ms since the epoch; null where these do not say.
 * @param previous the last snapshot; null on the first poll
 */
function reportedBeginning(
  state: string,
  previous: RunSnapshot | null,
  run: RunSnapshot,
): number | null {
  if (state === 'queued') return previous === null ? timeOf(attemptBeganAt(run)) : null;
  if (state !== 'running/0') return null;
  if (previous === null) return workBegan(run);
  const isStarted = previous.status === 'queued' && run.started_at !== null;
  return isStarted ? workBegan(run) : null;
}

function secondOf(state: string, run: RunSnapshot, since: number): number {
  const reached = run.progress ?? 0;
  if (!state.startsWith('running/') || reached < LEAST_PROGRESS) return SECOND_MS;
  const progress = Math.min(reached, MOST_PROGRESS);
  const leftMs = (Math.max(0, since - (workBegan(run) ?? since)) * (100 - progress)) / progress;
  return Math.max(1, Math.round(leftMs / EXPECTED_END_S));
}

/** The end of the watched part of a run or of one of its phases. */
interface End {
  /** Milliseconds since the epoch. */
  at: number;
  /** False where only the watching ended. */
  ended: boolean;
}

/**
 * The duration samples of one poll: the phase that the run left, and with a major transition the
 * time to it from each phase on. Empty where the run is still in its phase.
 */
export function durationSamples(before: Watch, after: Watch, now: number): DurationSample[] {
  // Nothing shows when the earlier attempt ended, or ends the run again.
  if (isRestart(before, after)) return censoredSamples(before);
  const [previous, run] = [before.run, after.run];
  if (previous !== null && run !== null && isMajorTransition(previous, run)) {
    const end = { at: transitionAt(previous, run, now), ended: true };
    return [...leaving(before, end), ...samplesUntilTransition(before, run, end)];
  }
  if (after.state !== 'active') return censoredSamples(after);
  const [left, entered] = [before.phases.at(-1), after.phases.at(-1)];
  if (entered === undefined || entered.state === left?.state) return [];
  return leaving(before, { at: entered.since, ended: true });
}

/** The samples of a watch that ends before its run: censored at the last poll. */
export function censoredSamples(watch: Watch): DurationSample[] {
  if (watch.run === null) return [];
  const end = { at: Date.parse(watch.run.observed_at), ended: false };
  return [...leaving(watch, end), ...samplesUntilTransition(watch, watch.run, end)];
}

/**
 * When a change came: by the source's time, clamped between the two polls, else half-way between them.
 */
function transitionAt(previous: RunSnapshot, run: RunSnapshot, now: number): number {
  const lastPollAt = Date.parse(previous.observed_at);
  const givenAt = isTerminalStatus(run.status) ? run.finished_at : null;
  if (givenAt === null) return (lastPollAt + now) / 2;
  return Math.min(Math.max(Date.parse(givenAt), lastPollAt), now);
}

/** The dwell time of the present phase, in plain seconds. */
function leaving({ source, run, phases }: Watch, end: End): DurationSample[] {
  const phase = phases.at(-1);
  if (phase === undefined || run === null || run.workflow_id === null) return [];
  const of = { source, workflowId: run.workflow_id, state: phase.state };
  return sampleOf(of, { ...phase, secondMs: SECOND_MS }, end);
}

function samplesUntilTransition(
  { source, phases }: Watch,
  run: RunSnapshot,
  end: End,
): DurationSample[] {
  if (run.workflow_id === null) return [];
  const of = { source, workflowId: run.workflow_id };
  return [
    ...phases.flatMap((phase) =>
      sampleOf({ ...of, state: untilTransition(phase.state) }, phase, end),
    ),
    ...sampleOf({ ...of, state: null }, wholeWork(phases, run), end),
  ];
}

/** The work of a run from its start on; work after human feedback is a separate phase. */
function wholeWork(phases: readonly Phase[], run: RunSnapshot): Omit<Phase, 'state'> | undefined {
  const [first] = phases;
  if (first === undefined || !isFirstWork(first)) return undefined;
  const since = workBegan(run) ?? first.since;
  // Watching began with the first poll, even where its phase is known to have begun earlier.
  return { since, seenAt: Math.max(since, first.seenAt ?? first.since), secondMs: SECOND_MS };
}

function isFirstWork({ state }: Phase): boolean {
  return state === 'queued' || state.startsWith('running/');
}

function sampleOf(
  of: Pick<DurationSample, 'source' | 'workflowId' | 'state'>,
  phase: Omit<Phase, 'state'> | undefined,
  { at, ended }: End,
): DurationSample[] {
  if (phase === undefined || phase.seenAt === null) return [];
  const { since, seenAt, secondMs } = phase;
  const fromS = Math.max(0, seenAt - since) / secondMs;
  const toS = Math.max(fromS, (at - since) / secondMs);
  return [{ ...of, fromS, toS, ended }];
}

/**
 * A duration sample: how long something lasted, as far as it was watched. Watching that began late
 * says nothing about the time before. Watching that stopped early gives only a lower bound.
 */
export interface Dwell {
  /** Age of the state when watching began, seconds. */
  fromS: number;
  /** Age of the state when it ended, or when watching stopped, seconds. */
  toS: number;
  /** False where watching stopped before the state ended (censored). */
  ended: boolean;
}

/** A duration sample of one state; statistics are made of these. */
export interface DurationSample extends Dwell {
  source: string;
  workflowId: string;
  /**
   * The state's name within its workflow, such as `running/30`; null for the workflow as a whole.
   */
  state: string | null;
}

/** Names one workflow of one source. */
export interface WorkflowKey {
  source: string;
  workflowId: string;
}

/** The internal name of a workflow. The name of a source holds no slash. */
export function workflowName({ source, workflowId }: WorkflowKey): string {
  return `${source}/${workflowId}`;
}

/** The reverse of {@link workflowName}. */
export function parseWorkflowName(name: string): WorkflowKey {
  const slash = name.indexOf('/');
  return { source: name.slice(0, slash), workflowId: name.slice(slash + 1) };
}

/** What the end of a watch adds to the statistics of whole runs. */
interface WatchedRun extends WorkflowKey {
  /** How long the run lasted from its creation on, as far as it was watched. */
  duration: Dwell;
  /** Requests and delay of seeing the end; null where it was not seen. */
  polled: { requests: number; delayS: number } | null;
}

/**
 * The run of a watch that this change ends; null where the watch goes on. Null too where no poll
 * ran while the run was active, as after a registration past its end.
 */
export function watchedRun({ before, after }: ChangedWatch): WatchedRun | null {
  const { run, endedAt } = after;
  if (run === null || run.workflow_id === null || endedAt === null || before === null) return null;
  if (before.watch.state !== 'active' || isSameEnd(before.watch, after)) return null;
  const ended = after.state === 'finished';
  const watchedFrom = watchedSince(after);
  const endMs = finishedAt(after) ?? endedAt;
  if (after.state === 'gone' || watchedFrom >= endMs) return null;
  const createdMs = Math.min(Date.parse(attemptBeganAt(run) ?? run.observed_at), endMs);
  const ageS = (at: number) => Math.max(0, at - createdMs) / SECOND_MS;
  return {
    source: after.source,
    workflowId: run.workflow_id,
    duration: { fromS: ageS(watchedFrom), toS: ageS(endMs), ended },
    polled: ended ? polledEnd(after, endedAt - endMs) : null,
  };
}

/** The requests for an attempt that another one preceded are not counted by themselves. */
function polledEnd({ polls, restartedAt }: Watch, delayMs: number): WatchedRun['polled'] {
  return restartedAt === null
    ? { requests: polls, delayS: Math.max(0, delayMs) / SECOND_MS }
    : null;
}
