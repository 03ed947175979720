import { STATUS_CODES, type IncomingHttpHeaders } from 'node:http';
import { parseRetryAfter } from '../core/backoff.ts';
import type { Attempt, AttemptError, AttemptOutcome } from '../core/delivery/delivery.ts';
import { messageOf } from '../core/errors.ts';
import { formatDuration } from '../core/time.ts';
import { Deadline } from '../deadline.ts';
import { throwIfExhausted } from '../host-shortage.ts';
import type { Process } from '../process.ts';
import { withoutResult } from './channels/channel.ts';
import {
  post,
  responseText,
  type PostRequest,
  type PostResult,
  type RequestStep,
  type WebhookAgents,
} from './http-post.ts';

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

/** Makes the requests of attempts, by agents with an egress guard. */
export class HttpAttempts {
  readonly userAgent: string;
  readonly now: () => number;

  constructor(
    private readonly agents: WebhookAgents,
    { userAgent, now }: Pick<Process, 'userAgent' | 'now'>,
  ) {
    this.userAgent = userAgent;
    this.now = now;
  }

  /**
   * Makes one request and describes it as an attempt.
   * @param signal aborts the request; its outcome is then unknown
   * @throws RunwatchError `attempt_aborted` when aborted before the receiver answered, `claim_too_old`
   *   when `mayStart` of the request returned false, `host_exhausted`
   */
  async post(request: AttemptRequest, signal?: AbortSignal): Promise<HttpResult> {
    const at = this.now();
    const deadline = new Deadline(request.timeoutMs, signal);
    const result = await this.postOnce(request, deadline).finally(() => deadline.release());
    if (result.kind === 'cut' && signal?.aborted === true) throw withoutResult('attempt_aborted');
    if (result.kind === 'withheld') throw withoutResult('claim_too_old');
    const durationMs = Math.max(0, this.now() - at);
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
      case 'answered':
        return answered(result, request, { at, durationMs });
    }
  }

  /**
   * The receiver may close a kept-alive connection at the moment of its use. That is no failure of the
   * receiver, so the request is sent once more, on another connection and within the same deadline. A
   * repeat has the same id.
   */
  private async postOnce(request: PostRequest, deadline: Deadline): Promise<PostResult> {
    const result = await post(request, this.agents, deadline);
    const stale =
      result.kind === 'broken' &&
      result.reusedSocket &&
      ['ECONNRESET', 'EPIPE'].includes(errorCode(result.error));
    return stale ? post(request, this.agents, deadline) : result;
  }
}

/** The attempt that an answer makes, with as much of it as may be stored. */
function answered(
  { status, headers, head, address, phases }: PostResult & { kind: 'answered' },
  { mayShow, confidential }: AttemptRequest,
  { at, durationMs }: Pick<Attempt, 'at' | 'durationMs'>,
): HttpResult {
  const isShown = mayShow?.(address) ?? true;
  const location = isShown ? headers.location : undefined;
  const error = isSuccess(status) ? null : statusError(status, location);
  const response = isShown ? responseText(head, confidential) : null;
  return {
    attempt: { at, status, error, durationMs, response, phases },
    answer: { status, headers, head },
  };
}

function isSuccess(status: number): boolean {
  return status >= 200 && status <= 299;
}

/**
 * The outcome by the rules of HTTP alone, which channels refine by what their services document. What becomes of the
 * delivery by it, and how long a receiver has for its answer, is said by `core/delivery/retry.ts`.
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

const DOING: Record<RequestStep, string> = {
  queue: 'waiting for a free connection',
  dns: 'resolving the host name',
  connect: 'connecting',
  tls: 'in the TLS handshake',
  headers: 'waiting for the answer',
};

/** What a failed TLS check means, by the code that OpenSSL or Node gives it. */
const TLS_CHECKS: Record<string, string> = {
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet',
  CERT_REVOKED: 'its certificate was revoked',
  CERT_SIGNATURE_FAILURE: 'the signature of its certificate is wrong',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate chain ends in an authority that is not trusted',
  UNABLE_TO_GET_ISSUER_CERT: 'its certificate chain is incomplete',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    'its certificate was issued by an authority that is not trusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate chain is incomplete or not trusted',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host name',
  EPROTO: 'it does not speak TLS, or no version of it that we accept',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS on this port',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'it does not speak TLS on this port',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'it asks for a client certificate',
};

/**
 * Reasons of TLS alerts by number, which Node gives only in the message of its error. Source: RFC 8446,
 * section 6.
 */
const TLS_ALERTS: Record<string, string> = {
  40: 'it refused the handshake, as it does for want of a client certificate',
  42: 'it refused our client certificate',
  45: 'our client certificate has expired',
  48: 'it does not trust our client certificate',
  70: 'it speaks no version of TLS that we accept',
  116: 'it asks for a client certificate',
};

const DNS = new Set(['ENOTFOUND', 'ENODATA', 'ESERVFAIL', 'EAI_AGAIN', 'EAI_FAIL', 'EAI_NODATA']);
const RESET = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED']);
const UNREACHABLE = new Set(['EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN']);
const TLS =
  /^(ERR_TLS_|ERR_SSL_|ERR_OSSL_|CERT_|CRL_|UNABLE_TO_|INVALID_CA$|PATH_LENGTH_EXCEEDED$)/;

/**
 * Why a request got no answer. The codes are stable: `dns`, `refused`, `reset`, `unreachable`, `tls`,
 * `timeout`, `egress_blocked`, `proxy`, `too_large`, `protocol`, and `network` for what remains.
 */
export function networkError(thrown: unknown, host: string, step: RequestStep): AttemptError {
  const code = errorCode(thrown);
  if (code === 'egress_blocked') {
    return { code, message: `blocked by the egress guard: ${messageOf(thrown)}` };
  }
  if (code === 'proxy') return { code, message: messageOf(thrown) };
  if (DNS.has(code)) return { code: 'dns', message: `the name ${host} did not resolve (${code})` };
  if (code === 'ECONNREFUSED') {
    return { code: 'refused', message: `${host} refused the connection` };
  }
  if (RESET.has(code)) {
    return { code: 'reset', message: `${host} closed the connection while ${DOING[step]}` };
  }
  if (UNREACHABLE.has(code)) {
    return { code: 'unreachable', message: `there is no route to ${host} (${code})` };
  }
  if (code === 'ETIMEDOUT') {
    return { code: 'timeout', message: `${host} did not take the connection (${code}, connect)` };
  }
  return tlsError(thrown, host) ?? protocolError(code, host);
}

function tlsError(thrown: unknown, host: string): AttemptError | null {
  const code = errorCode(thrown);
  const [, alert = ''] = /\bSSL alert number (\d+)/.exec(messageOf(thrown)) ?? [];
  const check = TLS_ALERTS[alert] ?? TLS_CHECKS[code];
  if (check === undefined && !TLS.test(code)) return null;
  const message = `${host} failed the TLS check: ${check ?? 'the handshake failed'} (${code})`;
  return { code: 'tls', message };
}

function protocolError(code: string, host: string): AttemptError {
  if (code === 'HPE_HEADER_OVERFLOW') {
    return { code: 'too_large', message: `the headers of the answer of ${host} exceed 16 KiB` };
  }
  if (/^(HPE_|ERR_PROTOCOL_)/.test(code)) {
    return {
      code: 'protocol',
      message: `the answer of ${host} is not a plain HTTP/1.1 answer (${code})`,
    };
  }
  return { code: 'network', message: `the request to ${host} failed (${code})` };
}

/** The deadline passed. @param ms the whole of it */
export function timeoutError(ms: number, step: RequestStep): AttemptError {
  const message = `no answer within ${formatDuration(ms)}: still ${DOING[step]} (${step})`;
  return { code: 'timeout', message };
}

/** The error of an answer that is not 2xx. */
export function statusError(status: number, location: string | undefined): AttemptError {
  const answer = `answered ${status} ${STATUS_CODES[status] ?? ''}`.trimEnd();
  if (status < 300 || status > 399) return { code: 'status', message: answer };
  const target = originOf(location);
  const where = target === null ? '' : `, pointing to ${target}`;
  return { code: 'redirect', message: `${answer}${where}; redirects are not followed` };
}

/** The origin alone: path and query may hold a token. */
function originOf(location: string | undefined): string | null {
  if (location === undefined || !URL.canParse(location)) return null;
  const { origin } = new URL(location);
  return origin === 'null' ? null : origin;
}

/**
 * The code of an error. From Node 24 on a failed handshake is an error of Node, not of got, so the class
 * of the error is no help.
 */
function errorCode(thrown: unknown): string {
  const code =
    typeof thrown === 'object' && thrown !== null && 'code' in thrown ? thrown.code : undefined;
  return typeof code === 'string' ? code : 'unknown';
}
