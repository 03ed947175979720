import type { Random } from '../core/backoff.ts';
import type { SourceHeaders } from '../core/source/port.ts';
import type { RequestReport } from '../core/source/request.ts';
import { Deadline } from '../deadline.ts';
import { isWorthRetrying, retryQuickly, type Answered } from './quick-retry.ts';
import type { SourceRequest } from './request.ts';
import { createTransport, type TransportOptions } from './transport.ts';

export interface SourceClientOptions extends TransportOptions {
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

interface CallOptions {
  signal?: AbortSignal;
  /** Called when the first attempt has left this host. */
  onSent?: () => void;
}

/** Sends a request of a call, with quick retries. */
type Send = <Outcome>(request: SourceRequest<Outcome>, onSent?: () => void) => Promise<Outcome>;

export interface SourceClient {
  /**
   * Makes several requests as one call, by one deadline.
   * @throws as {@link SourceClient.send}
   */
  call: <Outcome>(
    make: (send: Send) => Promise<Outcome>,
    options?: Pick<CallOptions, 'signal'>,
  ) => Promise<Outcome>;
  /**
   * Sends a request. One deadline covers everything, quick retries included.
   * @throws RunwatchError `aborted` when `signal` fires or the client is closed, `host_exhausted` when
   * this host could open no connection; trouble with the source is never thrown
   */
  send: <Outcome>(request: SourceRequest<Outcome>, options?: CallOptions) => Promise<Outcome>;
  /** Takes the credentials in the headers of the source out of a text. */
  redact: (text: string) => string;
  /** Sends other headers from now on; what is in flight goes on with its own. */
  useHeaders: (headers: SourceHeaders) => void;
  /** Gives up what is in flight and closes all connections. */
  close: () => void;
}

/** A client of one source with a connection pool of its own. */
export function createSourceClient(options: SourceClientOptions): SourceClient {
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

  const sendWithin = async <Outcome>(
    request: SourceRequest<Outcome>,
    deadline: Deadline,
    onSent?: () => void,
  ): Promise<Outcome> => {
    let answered = await attempt(request, deadline, onSent);
    if (request.mayRepeat && isWorthRetrying(answered.reply)) {
      const again = async () => ((await mayRetry()) ? attempt(request, deadline) : null);
      answered = await retryQuickly(answered, again, deadline, random);
    }
    const { reply, answer } = answered;
    return answer.read(reply, { redact: transport.redact, now: now(), onUnread });
  };

  return {
    call: (make, { signal } = {}) =>
      calls.within(signal, (deadline) =>
        make((request, onSent) => sendWithin(request, deadline, onSent)),
      ),
    send: (request, { signal, onSent } = {}) =>
      calls.within(signal, (deadline) => sendWithin(request, deadline, onSent)),
    redact: transport.redact,
    useHeaders: (headers) => transport.useHeaders(headers),
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
