import type { AttemptOutcome } from '../../core/delivery/delivery.ts';
import type { HttpAttempts, HttpResult } from '../http-attempt.ts';
import { eventsOf, type Channel } from './channel.ts';
import { noticeOf } from './notice/describe.ts';
import type { Notice, OwnerOf } from './notice/notice.ts';

/** A webhook of a place where people read, which takes one message as one POST of JSON. */
export interface SecretWebhook {
  /** Its path or query is its credential. */
  url: string;
  /** How the service names users, by the names of owners. */
  mentions: Readonly<Record<string, string>>;
  ownerOf?: OwnerOf;
  timeoutMs: number;
}

/** What is particular to a service. */
interface JsonService {
  /** Makes the body of a message. */
  render: (notice: Notice, mentions: SecretWebhook['mentions']) => object;
  /** Reads the answer by the documentation of the service. */
  judge: (result: HttpResult, now: number) => AttemptOutcome;
}

/** The channel of such a webhook. */
export function createJsonChannel(
  { url: text, mentions, ownerOf, timeoutMs }: SecretWebhook,
  { render, judge }: JsonService,
  http: HttpAttempts,
): Channel {
  const url = new URL(text);
  const confidential = [url.pathname + url.search, url.pathname, url.search];
  const headers = { 'content-type': 'application/json', 'user-agent': http.userAgent };
  return {
    async send(message, signal, mayStart) {
      const body = JSON.stringify(render(noticeOf(eventsOf(message), ownerOf), mentions));
      const request = { url, headers, body, mayStart, timeoutMs, confidential };
      return judge(await http.post(request, signal), http.now());
    },
    shownHeaders: () => headers,
  };
}

/** An attempt that failed for a reason that the service names. */
export function failedAs(
  kind: 'refused' | 'rejected' | 'failed',
  { attempt }: HttpResult,
  message: string,
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
