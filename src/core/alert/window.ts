import { MOST_RUNS, type AlertRun } from './alert.ts';
import type { Condition } from './rule.ts';

/** What a group remembers of its last events, for a threshold. */
export interface Window {
  /** Times of the last matching events, oldest first, as many as the threshold counts. */
  times: readonly number[];
  /** The last ends of runs, oldest first: `1` for one that matches, else `0`. */
  outcomes: string;
  /** The last matching runs, newest first, as many as the rule shows. */
  runs: readonly AlertRun[];
  /** The ids of as many as the threshold counts, oldest first. */
  runIds: readonly string[];
  /** The type of the last matching event. */
  type: string;
}

export const EMPTY_WINDOW: Window = { times: [], outcomes: '', runs: [], runIds: [], type: '' };

/** A window after one more event. */
export function afterSample(
  window: Window,
  condition: Condition,
  sample: { isMatch: boolean; at: number; type: string; run: AlertRun | null; maxRuns: number },
): Window {
  const { isMatch, at, type, run, maxRuns } = sample;
  const outcomes = (window.outcomes + (isMatch ? '1' : '0')).slice(-outcomesKept(condition));
  if (!isMatch) return { ...window, outcomes };
  const kept = condition.kind === 'count' ? condition.count : 1;
  const ids = run === null ? window.runIds : [...window.runIds, run.runId];
  return {
    times: [...window.times, at].slice(-kept),
    outcomes,
    runIds: ids.slice(-Math.min(MOST_RUNS, Math.max(kept, outcomesKept(condition)))),
    runs: run === null ? window.runs : [run, ...window.runs].slice(0, maxRuns),
    type,
  };
}

/** A window that names a run no more, though it still counts it. */
export function withoutRun(window: Window, runId: string): Window {
  const runs = window.runs.filter((run) => run.runId !== runId);
  return { ...window, runs, runIds: window.runIds.filter((id) => id !== runId) };
}

function outcomesKept(condition: Condition): number {
  if (condition.kind === 'consecutive') return condition.count;
  return condition.kind === 'rate' ? condition.ofLast : 1;
}

/** How many matching events a threshold sees; 0 where it is not crossed. */
export function crossedBy(window: Window, condition: Condition, now: number): number {
  if (condition.kind === 'count') return countWithin(window, condition, now);
  if (condition.kind === 'rate') return rateOf(window, condition);
  if (condition.kind !== 'consecutive') return 0;
  const { count } = condition;
  return window.outcomes.slice(-count) === '1'.repeat(count) ? count : 0;
}

function countWithin(
  { times }: Window,
  { count, withinMs }: Condition & { kind: 'count' },
  now: number,
): number {
  const first = times.at(-count) ?? -Infinity;
  return times.length >= count && now - first <= withinMs ? count : 0;
}

function rateOf(window: Window, condition: Condition & { kind: 'rate' }): number {
  const { rate, atLeast, ofLast } = condition;
  const outcomes = window.outcomes.slice(-ofLast);
  const matching = outcomes.replaceAll('0', '').length;
  return outcomes.length >= atLeast && matching / outcomes.length >= rate ? matching : 0;
}

/** When a crossed threshold is not crossed any more unless more events come; Infinity for never. */
export function lapsesAt(window: Window, condition: Condition): number {
  if (condition.kind !== 'count') return Infinity;
  const first = window.times.at(-condition.count) ?? window.times[0];
  return first !== undefined ? first + condition.withinMs + 1 : Infinity;
}
