import type { AlertRun } from './alert.ts';
import type { Condition } from './rule.ts';

/** What a group remembers of its last events, for a threshold. */
export interface Window {
  /** Times of the last matching events, oldest first, as many as the threshold counts. */
  times: readonly number[];
  /** The last ends of runs, oldest first: `1` for one that matches, else `0`. */
  outcomes: string;
  /** The last matching runs, newest first. */
  runs: readonly AlertRun[];
}

export const EMPTY_WINDOW: Window = { times: [], outcomes: '', runs: [] };

/** A window after one more event. */
export function afterSample(
  window: Window,
  condition: Condition,
  sample: { isMatch: boolean; at: number; run: AlertRun | null; maxRuns: number },
): Window {
  const { isMatch, at, run, maxRuns } = sample;
  const outcomes = (window.outcomes + (isMatch ? '1' : '0')).slice(-outcomesKept(condition));
  if (!isMatch) return { ...window, outcomes };
  const kept = condition.kind === 'count' ? condition.count : 1;
  return {
    times: [...window.times, at].slice(-kept),
    outcomes,
    runs: run === null ? window.runs : [run, ...window.runs].slice(0, maxRuns),
  };
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
  return window.outcomes === '1'.repeat(condition.count) ? condition.count : 0;
}

function countWithin(
  { times }: Window,
  { count, withinMs }: Condition & { kind: 'count' },
  now: number,
): number {
  const [first = -Infinity] = times;
  return times.length === count && now - first <= withinMs ? count : 0;
}

function rateOf({ outcomes }: Window, { rate, atLeast }: Condition & { kind: 'rate' }): number {
  const matching = outcomes.replaceAll('0', '').length;
  return outcomes.length >= atLeast && matching / outcomes.length >= rate ? matching : 0;
}

/** When a crossed threshold is not crossed any more unless more events come; Infinity for never. */
export function lapsesAt(window: Window, condition: Condition): number {
  const first = window.times[0];
  return condition.kind === 'count' && first !== undefined
    ? first + condition.withinMs + 1
    : Infinity;
}
