import type { IncomingHttpHeaders } from 'node:http';
import { parseRetryAfter } from '../core/backoff.ts';
import type { FetchTrouble } from '../core/run/snapshot.ts';
import { pauseMessage } from '../core/source/throttle.ts';

/** Status and headers of an answer. */
interface AnswerHead {
  status: number;
  headers: IncomingHttpHeaders;
}

/** What a status comes to that says nothing of what was asked for. */
export function troubleOfStatus(answer: AnswerHead, now: number): FetchTrouble {
  const trouble = judgeStatus(answer, now);
  return { ...trouble, message: `${trouble.message}${requestNote(answer.headers)}` };
}

/**
 * Names an answer as Noxus's operators find it, where Noxus does: ` (request id …)`, else nothing.
 * Source: the headers that Noxus's SDK reads.
 */
export function requestNote(headers: IncomingHttpHeaders): string {
  const given = [headers['x-request-id'], headers['x-noxus-request-id']].flat();
  const id = given.find((text) => text !== undefined && /^[\w.:/+=-]{1,128}$/.test(text));
  return id === undefined ? '' : ` (request id ${id})`;
}

function judgeStatus(answer: AnswerHead, now: number): FetchTrouble {
  const { status, headers } = answer;
  switch (status) {
    case 401:
      return { kind: 'unauthorized', message: 'status 401: the API key is not accepted' };
    case 403:
      return { kind: 'forbidden', message: 'status 403: the API key lacks the right to read this' };
    case 429:
      return rateLimited(answer, now);
    case 503:
      return headers['retry-after'] === undefined
        ? { kind: 'unavailable', message: 'status 503' }
        : rateLimited(answer, now);
    default:
      return { kind: 'unavailable', message: `status ${status}${hintFor(status)}` };
  }
}

function rateLimited({ status, headers }: AnswerHead, now: number): FetchTrouble {
  const retryAfterMs = parseRetryAfter(headers['retry-after'], now);
  return { kind: 'rate_limited', retryAfterMs, message: pauseMessage(status, retryAfterMs) };
}

function hintFor(status: number): string {
  const isRedirect = status >= 300 && status < 400;
  return isRedirect ? ': redirects are not followed, is the base URL right?' : '';
}
