import pRetry from 'p-retry';
import type { Random } from '../core/backoff.ts';
import { isRetriable, RunwatchError } from '../core/errors.ts';
import type { Deadline } from '../deadline.ts';
import type { Intake } from './request.ts';
import type { Reply } from './transport.ts';

/** Quick retries after the first attempt; whatever lasts longer is for the cadence to deal with. */
const MAX_RETRIES = 2;

/** The first retry comes after 100–200 ms, the second after twice that. */
const MIN_RETRY_DELAY_MS = 100;

/** A retry that would have less time than this is not begun: its time-out would hide what happened. */
const MIN_RETRY_TIME_MS = 100;

/** What one attempt came to. */
export interface Answered<Outcome> {
  reply: Reply;
  answer: Intake<Outcome>;
}

/** Whether the same request may well succeed a moment later. Time-outs have had their time. */
export function isWorthRetrying(reply: Reply): boolean {
  switch (reply.status) {
    case 502:
    case 504:
      return true;
    case 503:
      return reply.headers?.['retry-after'] === undefined;
    case null:
    case 200:
      return reply.kind === 'broken' && reply.failure.transient;
    default:
      return false;
  }
}

/**
 * Repeats a request after a transient failure, while the deadline leaves room. p-retry comes in
 * only here, so that the usual case, a first answer that is good, pays nothing for it.
 * @returns the first good reply, else the last bad one
 */
export async function retryQuickly<Outcome>(
  first: Answered<Outcome>,
  again: () => Promise<Answered<Outcome> | null>,
  deadline: Deadline,
  random: Random,
): Promise<Answered<Outcome>> {
  const delayMs = MIN_RETRY_DELAY_MS * (1 + random());
  let last = first;
  const step = async (attemptNumber: number): Promise<void> => {
    const answer = attemptNumber > 1 ? await again() : last;
    if (answer === null) return;
    last = answer;
    if (!isWorthRetrying(last.reply)) return;
    throw new RunwatchError('worth a retry', { code: 'unavailable', retriable: true });
  };
  try {
    await pRetry(step, {
      retries: MAX_RETRIES,
      minTimeout: delayMs,
      factor: 2,
      signal: deadline.signal,
      shouldRetry: ({ error, retriesConsumed }) =>
        isRetriable(error) &&
        deadline.remainingMs >= delayMs * 2 ** retriesConsumed + MIN_RETRY_TIME_MS,
    });
  } catch (error) {
    deadline.throwIfAbandoned();
    if (!isRetriable(error) && !deadline.signal.aborted) throw error;
  }
  return last;
}
