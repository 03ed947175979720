import type { FetchOutcome } from '../outcome.ts';
import type { ListOutcome } from '../run-list.ts';
import type { SourceAnswer } from './throttle.ts';

/** Replaces the run id in answers about a list; no run id begins with a tilde. */
const THE_LIST = '~list';

/** What a poll result shows about its source. */
export function answerAboutRun(outcome: FetchOutcome, runId: string): SourceAnswer {
  switch (outcome.kind) {
    case 'run':
      return { kind: 'valid' };
    case 'not_found':
      return { kind: 'missing', about: runId, message: 'status 404' };
    case 'rejected':
      return { kind: 'missing', about: runId, message: outcome.message };
    case 'unauthorized':
    case 'rate_limited':
      return outcome;
    case 'forbidden':
      return { kind: 'forbidden', about: runId, message: outcome.message };
    case 'unavailable':
    case 'invalid_response':
      return { kind: 'trouble', about: runId, message: outcome.message };
  }
}

/** What the answer to a read of a list shows about its source; a missing list shows nothing. */
export function answerAboutList(outcome: ListOutcome): SourceAnswer {
  switch (outcome.kind) {
    case 'page':
      return { kind: 'valid' };
    case 'unauthorized':
    case 'rate_limited':
      return outcome;
    case 'not_offered':
      return { kind: 'missing', about: THE_LIST, message: outcome.message };
    case 'forbidden':
    case 'unavailable':
    case 'invalid_response':
      return { kind: 'trouble', about: THE_LIST, message: outcome.message };
  }
}
