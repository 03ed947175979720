import type { Lesson } from './lesson.ts';
import { isTerminalStatus, type RunSnapshot } from './run.ts';
import { isNews, newsAfter, SECOND_MS, workBegan, type Stage } from './stage.ts';
import type { Watch } from './watch.ts';

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
export function lessonsOf(before: Watch, after: Watch, now: number): Lesson[] {
  const [previous, run] = [before.run, after.run];
  if (previous !== null && run !== null && isNews(previous, run)) {
    const end = { at: newsAt(previous, run, now), ended: true };
    return [...leaving(before, end), ...untilNews(before, run, end)];
  }
  if (after.state !== 'active') return lessonsCutShort(after);
  const [left, entered] = [before.stages.at(-1), after.stages.at(-1)];
  if (entered === undefined || entered.state === left?.state) return [];
  return leaving(before, { at: entered.since, ended: true });
}

/** The samples of a watch that ends before its run: censored at the last poll. */
export function lessonsCutShort(watch: Watch): Lesson[] {
  if (watch.run === null) return [];
  const end = { at: Date.parse(watch.run.observed_at), ended: false };
  return [...leaving(watch, end), ...untilNews(watch, watch.run, end)];
}

/**
 * When a change came: by Noxus's time, clamped between the two polls, else half-way between them.
 */
function newsAt(previous: RunSnapshot, run: RunSnapshot, now: number): number {
  const lastPollAt = Date.parse(previous.observed_at);
  const finishedAt = isTerminalStatus(run.status) ? run.finished_at : null;
  if (finishedAt === null) return (lastPollAt + now) / 2;
  return Math.min(Math.max(Date.parse(finishedAt), lastPollAt), now);
}

/** The dwell time of the present phase, in plain seconds. */
function leaving({ source, run, stages }: Watch, end: End): Lesson[] {
  const stage = stages.at(-1);
  if (stage === undefined || run === null || run.workflow_id === null) return [];
  const of = { source, workflowId: run.workflow_id, state: stage.state };
  return lesson(of, { ...stage, secondMs: SECOND_MS }, end);
}

function untilNews({ source, stages }: Watch, run: RunSnapshot, end: End): Lesson[] {
  if (run.workflow_id === null) return [];
  const of = { source, workflowId: run.workflow_id };
  return [
    ...stages.flatMap((stage) => lesson({ ...of, state: newsAfter(stage.state) }, stage, end)),
    ...lesson({ ...of, state: null }, wholeWork(stages, run), end),
  ];
}

/** The work of a run from its start on; work after human feedback is a separate phase. */
function wholeWork(stages: readonly Stage[], run: RunSnapshot): Omit<Stage, 'state'> | undefined {
  const [first] = stages;
  if (first === undefined || !isFirstWork(first)) return undefined;
  const since = workBegan(run) ?? first.since;
  // Watching began with the first poll, even where its phase is known to have begun earlier.
  return { since, seenAt: Math.max(since, first.seenAt ?? first.since), secondMs: SECOND_MS };
}

function isFirstWork({ state }: Stage): boolean {
  return state === 'queued' || state.startsWith('running/');
}

function lesson(
  of: Pick<Lesson, 'source' | 'workflowId' | 'state'>,
  stage: Omit<Stage, 'state'> | undefined,
  { at, ended }: End,
): Lesson[] {
  if (stage === undefined || stage.seenAt === null) return [];
  const { since, seenAt, secondMs } = stage;
  const fromS = Math.max(0, seenAt - since) / secondMs;
  const toS = Math.max(fromS, (at - since) / secondMs);
  return [{ ...of, fromS, toS, ended }];
}
