import { BIN_EDGES_S, binOf, hazard, type Statistics } from './hazard.ts';
import type { RunSnapshot } from './run.ts';
import { newsAfter, SECOND_MS, workBegan, type Stage } from './stage.ts';

/** Below this age, s, 1/age is no useful prior. */
const YOUNGEST_S = 0.25;

/** Statistics by age, on one clock. */
interface Clock {
  statistics: Statistics | undefined;
  /** When its age is 0, milliseconds since the epoch. */
  since: number;
  /** How long a second of it lasts, ms. */
  secondMs: number;
}

/**
 * The hazard model of a run: when to expect its next major transition, by its present phase and by
 * its workflow as a whole.
 */
export interface Outlook {
  stage: Clock;
  workflow: Clock;
}

export function outlookOf(
  stage: Stage,
  run: RunSnapshot,
  learned: (state: string | null) => Statistics | undefined,
): Outlook {
  const isWork = stage.state.startsWith('running/');
  return {
    stage: {
      statistics: learned(newsAfter(stage.state)),
      since: stage.since,
      secondMs: stage.secondMs,
    },
    workflow: {
      statistics: isWork ? learned(null) : undefined,
      since: isWork ? (workBegan(run) ?? stage.since) : stage.since,
      secondMs: SECOND_MS,
    },
  };
}

/**
 * The time until the next poll: where the integral of the best poll density √(h/2c) reaches one.
 * The density of this instant alone would jump over later peaks. Source: J. B. Keller, Optimum
 * Checking Schedules for Systems Subject to Random Failure, Management Science 21(3), 1974.
 * @param priceS seconds of delay that one request is worth
 * @param longestMs where to end the search
 * @returns milliseconds
 */
export function lookInterval(
  outlook: Outlook,
  { now, priceS, longestMs }: { now: number; priceS: number; longestMs: number },
): number {
  const end = now + longestMs;
  let [at, due] = [now, 0];
  while (at < end) {
    const until = Math.min(nextEdge(outlook, at), end);
    const perMs = Math.sqrt(newsPerSecond(outlook, at) / (2 * priceS)) / SECOND_MS;
    if (due + perMs * (until - at) >= 1) return at - now + (1 - due) / perMs;
    due += perMs * (until - at);
    at = until;
  }
  return longestMs;
}

/** The hazard at a moment: the phase's statistics, shrunk towards those of the workflow. */
function newsPerSecond({ stage, workflow }: Outlook, at: number): number {
  const workedS = Math.max(YOUNGEST_S, ageS(workflow, at));
  const prior = hazard(workflow.statistics, workedS, 1 / workedS);
  const secondS = stage.secondMs / SECOND_MS;
  return hazard(stage.statistics, ageS(stage, at), prior * secondS) / secondS;
}

function ageS({ since, secondMs }: Clock, at: number): number {
  return Math.max(0, at - since) / secondMs;
}

/** Until when the hazard remains constant from a moment on. */
function nextEdge({ stage, workflow }: Outlook, at: number): number {
  // A clock that has not begun, or an edge moved back by rounding, must not stop the search.
  return Math.max(at + 1, Math.min(edgeAfter(stage, at), edgeAfter(workflow, at)));
}

function edgeAfter(clock: Clock, at: number): number {
  return clock.since + (BIN_EDGES_S[binOf(ageS(clock, at))] ?? Infinity) * clock.secondMs;
}
