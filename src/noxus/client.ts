import pRetry from 'p-retry';
import type { Random } from '../core/backoff.ts';
import { isRetriable, RunwatchError } from '../core/errors.ts';
import type { RequestReport } from '../core/source/request.ts';
import { Deadline } from '../deadline.ts';
import type { Intake, SourceRequest } from './request.ts';
import { isWorthRetrying } from './run.ts';
import { createTransport, type Reply, type TransportOptions } from './transport.ts';

/** Quick retries after the first attempt; whatever lasts longer is for the cadence to deal with. */
const MAX_RETRIES = 2;

/** The first retry comes after 100–200 ms, the second after twice that. */
const MIN_RETRY_DELAY_MS = 100;

/** A retry that would have less time than this is not begun: its time-out would hide what happened. */
const MIN_RETRY_TIME_MS = 100;

export interface NoxusClientOptions extends TransportOptions {
  /** The wall clock, milliseconds since the epoch. */
  now?: () => number;
  random?: Random;
  /** Asked before every quick retry; a retry that may not be sent now is left out. */
  mayRetry?: () => Promise<boolean>;
  /** Called after every request, also after one that failed; must not throw. */
  onRequest?: (report: RequestReport & { durationMs: number }) => void;
  /** Called once for each field of runs that is missing, or cannot be read, in some answer. */
  onUnreadField?: (field: string) => void;
}

export interface NoxusClient {
  /**
   * Sends a request. One deadline covers everything, quick retries included.
   * @param options.onSent called when the first attempt has left this host
   * @throws RunwatchError `aborted` when `signal` fires or the client is closed, `host_exhausted` when
   * this host could open no connection; trouble with Noxus is never thrown
   */
  send: <Outcome>(
    request: SourceRequest<Outcome>,
    options?: { signal?: AbortSignal; onSent?: () => void },
  ) => Promise<Outcome>;
  /** Sends another API key from now on; what is in flight goes on with its own. */
  useApiKey: (apiKey: string) => void;
  /** Gives up what is in flight and closes all connections. */
  close: () => void;
}

/** A client of one Noxus source with a connection pool of its own. */
export function createNoxusClient(options: NoxusClientOptions): NoxusClient {
  const { timeoutMs, now = Date.now, random = Math.random, onRequest } = options;
  const { mayRetry = async () => true } = options;
  const transport = createTransport(options);
  const calls = createCalls(timeoutMs);
  const onUnread = once(options.onUnreadField ?? (() => undefined));

  const attempt = async <Outcome>(
    request: SourceRequest<Outcome>,
    deadline: Deadline,
    onSent?: () => void,
  ): Promise<Answered<Outcome>> => {
    const answer = request.openAnswer();
    const startedAt = performance.now();
    const reply = await transport.send(request, deadline, answer.take, onSent);
    const durationMs = performance.now() - startedAt;
    onRequest?.({ kind: request.kind, status: reply.status, durationMs });
    deadline.throwIfAbandoned();
    return { reply, answer };
  };

  return {
    send: (request, { signal, onSent } = {}) =>
      calls.within(signal, async (deadline) => {
        let answered = await attempt(request, deadline, onSent);
        if (request.mayRepeat && isWorthRetrying(answered.reply)) {
          const again = async () => ((await mayRetry()) ? attempt(request, deadline) : null);
          answered = await retryQuickly(answered, again, deadline, random);
        }
        const { reply, answer } = answered;
        return answer.read(reply, { apiKey: transport.apiKey, now: now(), onUnread });
      }),
    useApiKey: (apiKey) => transport.useApiKey(apiKey),
    close: () => {
      calls.abandonAll();
      transport.close();
    },
  };
}

/** Calls that each have a deadline of their own, and are given up together. */
function createCalls(timeoutMs: number) {
  const inFlight = new Set<Deadline>();
  let closed = false;
  return {
    async within<Outcome>(
      signal: AbortSignal | undefined,
      call: (deadline: Deadline) => Promise<Outcome>,
    ): Promise<Outcome> {
      const deadline = new Deadline(timeoutMs, signal);
      inFlight.add(deadline);
      try {
        if (closed) deadline.abandon();
        deadline.throwIfAbandoned();
        return await call(deadline);
      } finally {
        inFlight.delete(deadline);
        deadline.release();
      }
    },
    /** Gives up the calls in flight, and all that follow. */
    abandonAll() {
      closed = true;
      for (const deadline of inFlight) deadline.abandon();
    },
  };
}

/** What one attempt came to. */
interface Answered<Outcome> {
  reply: Reply;
  answer: Intake<Outcome>;
}

/** Reports each field once, however often it occurs. */
function once(report: (field: string) => void): (fields: string[]) => void {
  const reported = new Set<string>();
  return (fields) => {
    for (const field of fields) {
      if (reported.has(field)) continue;
      reported.add(field);
      report(field);
    }
  };
}

/**
 * Repeats a request after a transient failure, while the deadline leaves room. p-retry comes in
 * only here, so that the usual case, a first answer that is good, pays nothing for it.
 * @returns the first good reply, else the last bad one
 */
async function retryQuickly<Outcome>(
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
