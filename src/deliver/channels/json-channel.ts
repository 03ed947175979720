import type { AttemptOutcome } from '../../core/delivery/delivery.ts';
import { attemptPost, type HttpDeps, type HttpResult } from '../http-attempt.ts';
import { eventsOf, type Channel } from './channel.ts';
import { noticeOf } from './notice/describe.ts';
import type { Notice } from './notice/notice.ts';

/** A service that takes one message as one POST of JSON. */
interface JsonService {
  url: URL;
  timeoutMs: number;
  /** True where the path of the URL is what lets a sender in. */
  isUrlSecret: boolean;
  /** Makes the body of a message. */
  render: (notice: Notice) => object;
  /** Reads the answer by the documentation of the service. */
  judge: (result: HttpResult, now: number) => AttemptOutcome;
}

/** The channel of a service that takes messages as JSON. */
export function createJsonChannel(service: JsonService, deps: HttpDeps): Channel {
  const { url, timeoutMs, isUrlSecret, render, judge } = service;
  const confidential = isUrlSecret ? [url.pathname + url.search, url.pathname, url.search] : [];
  const headers = { 'content-type': 'application/json', 'user-agent': deps.userAgent };
  return {
    async send(message, signal, mayStart) {
      const body = JSON.stringify(render(noticeOf(eventsOf(message))));
      const request = { url, headers, body, mayStart, timeoutMs, confidential };
      return judge(await attemptPost(request, deps, signal), deps.now());
    },
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
