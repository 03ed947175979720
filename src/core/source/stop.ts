import { isTerminalStatus } from '../run/snapshot.ts';
import type { SourceAnswer } from './throttle.ts';

/** What the answer to a request to stop a run says. */
export type StopOutcome =
  /** The source took it. */
  | {
      kind: 'asked';
      /** The status of the run in the answer; null where it shows none. */
      status: string | null;
    }
  /** The run had ended before. */
  | {
      kind: 'ended';
      /** How the answer says so, for people. */
      message: string;
    }
  /** The source does not do it. */
  | {
      kind: 'refused';
      status: number;
      /** For people; it may hold the source's own words. */
      message: string;
      /** What that shows of the source as a whole. */
      says: SourceAnswer | null;
    }
  /** No answer says what became of the request. */
  | { kind: 'unanswered'; message: string };

/** What it means that the source took the request and answered with this status of the run. */
export function stopOutcomeOf(status: string | null): StopOutcome {
  const hadEnded = status !== null && status !== 'stopped' && isTerminalStatus(status);
  return hadEnded
    ? { kind: 'ended', message: `it was ${status} already` }
    : { kind: 'asked', status };
}

/**
 * What the answer to a stop shows of its source. A 403 concerns the right to stop alone, and a run that
 * was stopped says nothing of whether runs can be read.
 */
export function answerAboutStop(outcome: StopOutcome): SourceAnswer | null {
  return outcome.kind === 'refused' ? outcome.says : null;
}
