import { validateHeaderName, validateHeaderValue } from 'node:http';
import { parseRetryAfter } from '../../core/backoff.ts';
import type { Attempt, AttemptError, AttemptOutcome } from '../../core/delivery/delivery.ts';
import { RunwatchError, messageOf } from '../../core/errors.ts';
import { isReservedHeader } from '../../core/event/event.ts';
import { Deadline } from '../../deadline.ts';
import { errorCode, networkError, statusError, timeoutError } from '../attempt-error.ts';
import { standardBody } from './bodies.ts';
import {
  post,
  type PostRequest,
  type PostResult,
  type TlsOptions,
  type WebhookAgents,
  responseText,
} from '../http-post.ts';
import { parseAddress, specialRange } from '../egress/addresses.ts';
import { createSigner } from '../secrets/sign.ts';
import type { BodyKind, Channel, Message } from './channel.ts';

/** Where a webhook goes and how. */
export interface WebhookTarget {
  url: string;
  /** Its path and query are credentials, which an answer may repeat but nothing may show. */
  isUrlSecret?: boolean;
  /** Each signs: the present one, and those that it replaces. */
  secrets: readonly string[];
  headers: Readonly<Record<string, string>>;
  /** One deadline for DNS, connect, TLS, headers and body, in milliseconds. */
  timeoutMs: number;
  tls?: TlsOptions;
  auth?: WebhookAuth;
  /** What is sent of an event; absent, the event as it is. */
  body?: BodyKind;
  /**
   * True for a URL that is not the operator's choice: of the answer of a host that is not public only
   * the status is kept, or a token that may write could read what is behind a firewall.
   */
  isGuarded?: boolean;
}

interface WebhookDeps {
  /** They carry the egress guard. */
  agents: WebhookAgents;
  /** `runwatch/<version>`. */
  userAgent: string;
  /** Milliseconds since the epoch. */
  now: () => number;
  /** The time that receivers compare with their own clock, milliseconds since the epoch. */
  timeOfDay: () => number;
}

/**
 * Delivers by POST, signed by the Standard Webhooks specification.
 * @throws RunwatchError `invalid_webhook_secret`, `invalid_header`
 */
export function createWebhookChannel(target: WebhookTarget, deps: WebhookDeps): Channel {
  const url = new URL(target.url);
  const sign = createSigner(target.secrets);
  const kind = target.body ?? standardBody;
  const confidential = {
    ...customHeaders(target.headers),
    ...(target.auth && authorizationOf(target.auth)),
  };
  const secretTexts = [
    ...Object.values(confidential),
    ...(target.isUrlSecret === true ? secretsOf(url) : []),
  ];
  const fixed = {
    ...confidential,
    'content-type': kind.contentType,
    'user-agent': deps.userAgent,
  };
  return {
    async send(message: Message, signal?: AbortSignal, mayStart?: () => boolean) {
      const at = deps.now();
      const body = kind.render(message.body);
      const headers = { ...fixed, ...sign({ ...message, body }, deps.timeOfDay()) };
      const deadline = new Deadline(target.timeoutMs, signal);
      const request = { url, headers, body, tls: target.tls, mayStart };
      const result = await postOnce(request, deps.agents, deadline.signal).finally(() =>
        deadline.release(),
      );
      if (result.kind === 'cut' && signal?.aborted === true) throw calledOff();
      if (result.kind === 'withheld') throw tooLate();
      const now = deps.now();
      return outcomeOf(result, { target, url, at, now, confidential: secretTexts });
    },
  };
}

function secretsOf({ pathname, search }: URL): string[] {
  return [pathname + search, pathname, search];
}

/**
 * A connection from the pool may have been closed by the receiver at the very moment of its use. That
 * says nothing about the receiver, so the request goes out once more, on another connection and
 * within the same deadline; should it have arrived after all, its id is the same.
 */
async function postOnce(
  request: PostRequest,
  agents: WebhookAgents,
  cut: AbortSignal,
): Promise<PostResult> {
  const result = await post(request, agents, cut);
  const stale =
    result.kind === 'broken' &&
    result.reusedSocket &&
    ['ECONNRESET', 'EPIPE'].includes(errorCode(result.error));
  return stale ? post(request, agents, cut) : result;
}

interface Circumstances {
  target: WebhookTarget;
  url: URL;
  /** When the attempt began, and when it was over. */
  at: number;
  now: number;
  /** Values of headers, and parts of the URL, that may be credentials. */
  confidential: readonly string[];
}

function outcomeOf(
  result: Exclude<PostResult, { kind: 'withheld' }>,
  circumstances: Circumstances,
): AttemptOutcome {
  const { target, url, at, now, confidential } = circumstances;
  const durationMs = Math.max(0, now - at);
  const failed = (error: AttemptError): AttemptOutcome => {
    const attempt = { at, status: null, error, durationMs, response: null };
    return { kind: 'failed', attempt };
  };
  switch (result.kind) {
    case 'cut':
      return failed(timeoutError(target.timeoutMs, result.phase));
    case 'broken':
      return failed(networkError(result.error, url.hostname, result.phase));
    case 'answered': {
      const { status, headers, head, address } = result;
      const isShown = target.isGuarded !== true || isPublic(address);
      const location = isShown ? headers.location : undefined;
      const error = isSuccess(status) ? null : statusError(status, location);
      const response = isShown ? responseText(head, confidential) : null;
      const attempt = { at, status, error, durationMs, response };
      return judge(attempt, status, parseRetryAfter(headers['retry-after'], now));
    }
  }
}

function isPublic(address: string | undefined): boolean {
  const parsed = address === undefined ? null : parseAddress(address);
  return parsed !== null && specialRange(parsed) === null;
}

function isSuccess(status: number): boolean {
  return status >= 200 && status <= 299;
}

/**
 * @param retryAfterMs where the receiver is out of breath it holds for all that goes there, else for
 *   this delivery alone (RFC 9110, 10.2.3; RFC 6585, 4)
 */
function judge(attempt: Attempt, status: number, retryAfterMs: number | null): AttemptOutcome {
  if (isSuccess(status)) return { kind: 'delivered', attempt };
  if (status === 410) return { kind: 'refused', attempt };
  if (retryAfterMs === null) return { kind: 'failed', attempt };
  const kind = status === 429 || status === 503 ? 'throttled' : 'failed';
  return { kind, attempt, retryAfterMs };
}

function tooLate(): RunwatchError {
  return new RunwatchError('another process may have sent the message by now', {
    code: 'claim_too_old',
    retriable: true,
  });
}

function calledOff(): RunwatchError {
  return new RunwatchError('the attempt was called off before the receiver had answered', {
    code: 'attempt_aborted',
    retriable: true,
  });
}

/** What is wrong with a header that somebody wants sent along; null where nothing is. */
export function headerProblem(name: string, value: string): string | null {
  const key = name.toLowerCase();
  if (isReservedHeader(key)) return `the header ${key} is reserved`;
  try {
    validateHeaderName(name);
  } catch (error) {
    return messageOf(error);
  }
  try {
    validateHeaderValue(name, value);
    return null;
  } catch {
    // Node's message is not passed on: whoever set the value may have meant it to be secret.
    return `the header ${key} has a value with characters that headers cannot hold`;
  }
}

/**
 * Headers in lower case, so that none can come twice in two spellings.
 * @throws RunwatchError `invalid_header`
 */
export function customHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => {
      const problem = headerProblem(name, value);
      if (problem !== null) throw new RunwatchError(problem, { code: 'invalid_header' });
      return [name.toLowerCase(), value];
    }),
  );
}

/** How a webhook proves itself to its receiver, besides the signature; one of the two is given. */
interface WebhookAuth {
  bearer?: string | undefined;
  basic?: { username: string; password: string } | undefined;
}

/** The header of a proof; basic as UTF-8 (RFC 7617), bearer as it is (RFC 6750). */
function authorizationOf({ bearer, basic }: WebhookAuth): Record<string, string> {
  if (bearer !== undefined) return { authorization: `Bearer ${bearer}` };
  if (basic === undefined) return {};
  const pair = Buffer.from(`${basic.username}:${basic.password}`).toString('base64');
  return { authorization: `Basic ${pair}` };
}
