import { isTerminalStatus } from '../core/run/snapshot.ts';
import type { StopOutcome } from '../core/source/stop.ts';
import type { ClosedSource } from '../core/source/throttle.ts';
import type { Watch } from '../core/watch/watch.ts';
import { isAborted } from '../deadline.ts';
import { faultLog } from '../fault-log.ts';
import { isHostExhausted } from '../host-shortage.ts';
import type { Source } from '../source/source.ts';

/** How long a stop waits for a permit of the rate limit, as other requests of users wait for their turn, ms. */
const PERMIT_MS = 5_000;

/** How long the answer of the source may take, ms: with the permit less than any request to the API may take. */
const ANSWER_MS = 20_000;

/** What became of a stop. Where it was sent, that was once. */
export type StopResult =
  | StopOutcome
  /** No request was sent: the source cannot be reached. */
  | { kind: 'unsent'; message: string }
  /** No request was sent: the source is paused. */
  | { kind: 'paused'; closed: ClosedSource }
  /** No request was sent: the rate limit has no permit for it. */
  | { kind: 'limited' }
  /** No request was sent: the source cannot stop runs, or is configured no more. */
  | { kind: 'not_offered' };

interface StopRequest {
  /** Undefined where it is configured no more. */
  source: Source | undefined;
  watch: Watch;
  /** Called before the request is sent; what it throws keeps it from being sent. */
  beforeSending: () => Promise<void>;
}

/**
 * The use case behind stopping a run: one request to its source, which nothing repeats, then a poll. That the run
 * has stopped is for the poll to find.
 */
export async function stopRun({ source, watch, beforeSending }: StopRequest): Promise<StopResult> {
  const ended = endOf(watch);
  if (ended !== null) return { kind: 'ended', message: ended };
  if (source?.traits.stop !== true) return { kind: 'not_offered' };
  const closed = async () => (await source.throttle.read()).state?.closed ?? null;
  const permit = await source.limiter.claimWithin(PERMIT_MS, async () => (await closed()) !== null);
  if (permit === null) {
    const why = await closed();
    return why === null ? { kind: 'limited' } : { kind: 'paused', closed: why };
  }
  try {
    await beforeSending();
  } catch (error) {
    permit.giveBack();
    throw error;
  }
  const result = await send(source, watch.runId);
  permit.settle();
  // Polls by the cadence find it, too, only later.
  const onError = faultLog(source.process.log, 'stop');
  if (watch.state === 'active') await source.schedule.expedite([watch.runId]).catch(onError);
  return result;
}

/** How a run has ended by what is known of it; null where it goes on. */
function endOf({ state, run }: Watch): string | null {
  if (run !== null && isTerminalStatus(run.status)) return `it is ${run.status}`;
  return state === 'gone' ? 'it is gone' : null;
}

async function send({ process, reader }: Source, runId: string): Promise<StopResult> {
  let isSent = false;
  const onSent = () => void (isSent = true);
  const failed = (message: string): StopResult => ({
    kind: isSent ? 'unanswered' : 'unsent',
    message,
  });
  try {
    const outcome = await reader.stopRun(runId, { onSent, signal: AbortSignal.timeout(ANSWER_MS) });
    return outcome.kind === 'unanswered' ? failed(outcome.message) : outcome;
  } catch (error) {
    if (isHostExhausted(error)) process.hostShortages.note(error);
    else if (!isSent && !isAborted(error)) throw error;
    return failed(isSent ? 'its answer was given up' : 'no connection was opened');
  }
}
