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

/** The URL of a webhook, and how to send to it. */
export interface WebhookTarget {
  url: string;
  /** Path and query are credentials: they are redacted from stored answers. */
  isUrlSecret?: boolean;
  /** Every one signs: the current secret, and those that it replaces. */
  secrets: readonly string[];
  headers: Readonly<Record<string, string>>;
  /** One deadline for DNS, connect, TLS, headers and body, in milliseconds. */
  timeoutMs: number;
  tls?: TlsOptions;
  auth?: WebhookAuth;
  /** The form of the body; absent, the event's own JSON. */
  body?: BodyKind;
  /**
   * True for a URL that came with a watch: only the status is kept of an answer of a private host.
   * Otherwise a token with write scope could read pages behind a firewall.
   */
  isGuarded?: boolean;
}

interface WebhookDeps {
  /** With the egress guard. */
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
 * The receiver may close a kept-alive connection at the moment of its use. That is no failure of the
 * receiver, so the request is sent once more, on another connection and within the same deadline. A
 * repeat has the same id.
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
  /** Start and end of the attempt. */
  at: number;
  now: number;
  /** Header values, and parts of the URL, that may be credentials. */
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
      return failed(timeoutError(target.timeoutMs, result.step));
    case 'broken':
      return failed(networkError(result.error, url.hostname, result.step));
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
 * @param retryAfterMs after 429 and 503 it pauses the receiver, else it delays this delivery alone
 *   (RFC 9110, 10.2.3; RFC 6585, 4)
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
  return new RunwatchError('the attempt was aborted before the receiver answered', {
    code: 'attempt_aborted',
    retriable: true,
  });
}

/** What is wrong with a custom header; null for nothing. */
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
    // Node's message quotes the value, which may be a secret.
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

/** The credentials of a webhook besides its signature: one of the two. */
interface WebhookAuth {
  bearer?: string | undefined;
  basic?: { username: string; password: string } | undefined;
}

/** The header of credentials: basic as UTF-8 (RFC 7617), bearer unchanged (RFC 6750). */
function authorizationOf({ bearer, basic }: WebhookAuth): Record<string, string> {
  if (bearer !== undefined) return { authorization: `Bearer ${bearer}` };
  if (basic === undefined) return {};
  const pair = Buffer.from(`${basic.username}:${basic.password}`).toString('base64');
  return { authorization: `Basic ${pair}` };
}
