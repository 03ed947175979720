import { parseRetryAfter } from '../../core/backoff.ts';
import type { AttemptOutcome } from '../../core/delivery/delivery.ts';
import { outcomeByStatus, type HttpAttempts, type HttpResult } from '../http-attempt.ts';
import { eventsOf, MASKED, type Channel } from './channel.ts';
import { noticeOf } from './notice/describe.ts';
import type { Notice, Wording } from './notice/notice.ts';
import type { SentEvent } from './notice/sent-event.ts';

/** A service that takes messages as POSTs of JSON: how it is reached, and what its answers say. */
export interface HttpService {
  url: URL;
  /** The token by which it knows us, redacted too; absent where its URL or a message is the credential. */
  bearer?: string;
  /** Absent, `application/json`. */
  contentType?: string;
  /** Other texts that are redacted from stored answers. */
  confidential: readonly string[];
  timeoutMs: number;
  /** How much of an answer is read, bytes; absent, as much as is stored. */
  headBytes?: number;
  /**
   * What the service documents of a 4xx that is not 429; null where it says nothing, and the status
   * decides.
   */
  verdictOn: (result: HttpResult, status: number) => Verdict | null;
  /** How long the body of a 429 asks to wait, ms; null where it does not say. */
  pauseMs?: (result: HttpResult) => number | null;
}

/** What an answer says of a message: the endpoint is gone, the message is refused, or it may be sent again. */
export interface Verdict {
  kind: 'refused' | 'rejected' | 'failed';
  message: string;
}

/** One request to a service. */
interface Send {
  body: object;
  signal: AbortSignal | undefined;
  mayStart: (() => boolean) | undefined;
}

/** A channel that sends each message by one request. */
export function createHttpChannel(
  service: HttpService & { bodyOf: (events: [SentEvent, ...SentEvent[]]) => object },
  http: HttpAttempts,
): Channel {
  return {
    async send(message, signal, mayStart) {
      const body = service.bodyOf(eventsOf(message));
      return (await sendJson(service, { body, signal, mayStart }, http)).outcome;
    },
    shownHeaders: () => shownHeadersOf(service, http),
  };
}

/** The headers of each request to a service, with its token masked. */
export function shownHeadersOf(
  service: Omit<HttpService, 'url'>,
  http: HttpAttempts,
): Record<string, string> {
  const { bearer } = service;
  return headersOf({ ...service, ...(bearer !== undefined && { bearer: MASKED }) }, http);
}

function headersOf(
  { bearer, contentType = 'application/json' }: Pick<HttpService, 'bearer' | 'contentType'>,
  { userAgent }: HttpAttempts,
): Record<string, string> {
  return {
    ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }),
    'content-type': contentType,
    'user-agent': userAgent,
  };
}

/** Makes one request. Throws what {@link Channel.send} throws. */
export async function sendJson(
  service: HttpService,
  { body, signal, mayStart }: Send,
  http: HttpAttempts,
): Promise<{ outcome: AttemptOutcome; result: HttpResult }> {
  const { url, bearer, timeoutMs, headBytes } = service;
  const confidential = [...service.confidential, ...(bearer === undefined ? [] : [bearer])];
  const request = {
    url,
    headers: headersOf(service, http),
    body: JSON.stringify(body),
    mayStart,
    timeoutMs,
    confidential,
    ...(headBytes !== undefined && { headBytes }),
  };
  const result = await http.post(request, signal);
  return { outcome: outcomeOf(result, service, http.now()), result };
}

function outcomeOf(result: HttpResult, service: HttpService, now: number): AttemptOutcome {
  const { answer } = result;
  const status = answer?.status ?? 0;
  if (status === 429) {
    const byHeader = parseRetryAfter(answer?.headers['retry-after'], now);
    const asked = [byHeader, service.pauseMs?.(result) ?? null].filter((ms) => ms !== null);
    return throttledBy(result, asked.length === 0 ? PAUSE_MS : Math.max(...asked));
  }
  const verdict = status >= 400 && status <= 499 ? service.verdictOn(result, status) : null;
  return verdict === null ? outcomeByStatus(result, now) : judgedAs(verdict, result);
}

/** Where a service names no time, its limit is usually over by then, ms. */
const PAUSE_MS = 30_000;

/** An attempt after which the service wants no request for a while, ms. */
export function throttledBy(
  { attempt }: Pick<HttpResult, 'attempt'>,
  retryAfterMs = PAUSE_MS,
): AttemptOutcome {
  return { kind: 'throttled', attempt, retryAfterMs };
}

/** An attempt that failed for a reason that the service names. */
export function judgedAs(
  { kind, message }: Verdict,
  { attempt }: Pick<HttpResult, 'attempt'>,
): AttemptOutcome {
  return { kind, attempt: { ...attempt, error: { code: 'status', message } } };
}

/** The JSON of an answer without what it repeats of credentials; null where it holds none. */
export function answeredJson({ attempt }: HttpResult): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(attempt.response ?? '');
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

/** A webhook of a place where people read. */
export interface SecretWebhook {
  /** Its path or query is its credential. */
  url: string;
  /** How the service names users, by the names of owners. */
  mentions: Readonly<Record<string, string>>;
  wording?: Wording;
  timeoutMs: number;
}

/** What reaches such a webhook, and its body for a message. */
export function secretWebhook(
  { url: text, mentions, wording, timeoutMs }: SecretWebhook,
  render: (notice: Notice, mentions: SecretWebhook['mentions']) => object,
) {
  const url = new URL(text);
  return {
    url,
    timeoutMs,
    confidential: [url.pathname + url.search, url.pathname, url.search],
    bodyOf: (events: [SentEvent, ...SentEvent[]]) => render(noticeOf(events, wording), mentions),
  };
}
