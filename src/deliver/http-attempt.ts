import type { IncomingHttpHeaders } from 'node:http';
import { parseRetryAfter } from '../core/backoff.ts';
import type { Attempt, AttemptError, AttemptOutcome } from '../core/delivery/delivery.ts';
import { Deadline } from '../deadline.ts';
import { throwIfExhausted } from '../host-shortage.ts';
import { withoutResult } from './channels/channel.ts';
import { errorCode, networkError, statusError, timeoutError } from './attempt-error.ts';
import {
  post,
  responseText,
  type PostRequest,
  type PostResult,
  type WebhookAgents,
} from './http-post.ts';

/** What every channel over HTTP needs. */
export interface HttpDeps {
  /** With the egress guard. */
  agents: WebhookAgents;
  /** `runwatch/<version>`. */
  userAgent: string;
  /** Milliseconds since the epoch. */
  now: () => number;
}

/** One request of an attempt. */
interface AttemptRequest extends PostRequest {
  /** One deadline for DNS, connect, TLS, headers and body, in milliseconds. */
  timeoutMs: number;
  /** Texts that may be credentials; they are redacted from the stored answer. */
  confidential: readonly string[];
  /** Whether an answer of this address may be stored; absent, every one. */
  mayShow?: (address: string | undefined) => boolean;
}

/** What a receiver answered. */
interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  /** The start of the body. */
  head: Buffer;
}

export interface HttpResult {
  /** An answer that is not 2xx, and none, is an error. */
  attempt: Attempt;
  /** Null where none came. */
  answer: Answer | null;
}

/**
 * Makes one request and describes it as an attempt.
 * @param signal aborts the request; its outcome is then unknown
 * @throws RunwatchError `attempt_aborted` when aborted before the receiver answered, `claim_too_old`
 *   when `mayStart` of the request returned false, `host_exhausted`
 */
export async function attemptPost(
  request: AttemptRequest,
  { agents, now }: Pick<HttpDeps, 'agents' | 'now'>,
  signal?: AbortSignal,
): Promise<HttpResult> {
  const at = now();
  const deadline = new Deadline(request.timeoutMs, signal);
  const result = await postOnce(request, agents, deadline).finally(() => deadline.release());
  if (result.kind === 'cut' && signal?.aborted === true) throw withoutResult('attempt_aborted');
  if (result.kind === 'withheld') throw withoutResult('claim_too_old');
  const durationMs = Math.max(0, now() - at);
  const { phases } = result;
  const failed = (error: AttemptError): HttpResult => ({
    attempt: { at, status: null, error, durationMs, response: null, phases },
    answer: null,
  });
  switch (result.kind) {
    case 'cut':
      return failed(timeoutError(request.timeoutMs, result.step));
    case 'broken':
      await throwIfExhausted(result.error);
      return failed(networkError(result.error, request.url.hostname, result.step));
    case 'answered': {
      const { status, headers, head, address } = result;
      const isShown = request.mayShow?.(address) ?? true;
      const error = isSuccess(status) ? null : statusError(status, shownLocation(result, isShown));
      const response = isShown ? responseText(head, request.confidential) : null;
      const attempt = { at, status, error, durationMs, response, phases };
      return { attempt, answer: { status, headers, head } };
    }
  }
}

function shownLocation({ headers }: { headers: IncomingHttpHeaders }, isShown: boolean) {
  return isShown ? headers.location : undefined;
}

/**
 * The receiver may close a kept-alive connection at the moment of its use. That is no failure of the
 * receiver, so the request is sent once more, on another connection and within the same deadline. A
 * repeat has the same id.
 */
async function postOnce(
  request: PostRequest,
  agents: WebhookAgents,
  deadline: Deadline,
): Promise<PostResult> {
  const result = await post(request, agents, deadline);
  const stale =
    result.kind === 'broken' &&
    result.reusedSocket &&
    ['ECONNRESET', 'EPIPE'].includes(errorCode(result.error));
  return stale ? post(request, agents, deadline) : result;
}

function isSuccess(status: number): boolean {
  return status >= 200 && status <= 299;
}

/**
 * The outcome by the rules of HTTP alone, which channels refine by what their services document.
 * `Retry-After` pauses the receiver after 429 and 503, else it delays this delivery alone (RFC 9110,
 * 10.2.3; RFC 6585, 4).
 */
export function outcomeByStatus({ attempt, answer }: HttpResult, now: number): AttemptOutcome {
  if (answer === null) return { kind: 'failed', attempt };
  const { status, headers } = answer;
  if (isSuccess(status)) return { kind: 'delivered', attempt };
  if (status === 410) return { kind: 'refused', attempt };
  const retryAfterMs = parseRetryAfter(headers['retry-after'], now);
  if (retryAfterMs === null) return { kind: 'failed', attempt };
  const kind = status === 429 || status === 503 ? 'throttled' : 'failed';
  return { kind, attempt, retryAfterMs };
}
