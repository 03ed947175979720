import type { IncomingHttpHeaders } from 'node:http';
import { parseRetryAfter } from '../core/backoff.ts';
import type { FetchOutcome } from '../core/outcome.ts';
import { rejectionMessage } from './rejection.ts';
import type { Reply } from './transport.ts';
import { toSnapshot, wireRunSchema } from './wire-run.ts';

/** What was asked, as far as the answer must be judged by it. */
export interface Question {
  runId: string;
  apiKey: string;
  /** Milliseconds since the epoch. */
  now: number;
}

/** A status that was received, with the body where it came in whole. */
interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer | null;
}

/**
 * What a reply comes to. A status other than 200 speaks for itself, so it counts even where the
 * connection broke before the end of the body.
 */
export function outcomeOf(reply: Reply, question: Question): FetchOutcome {
  if (reply.kind === 'answer') return readAnswer(reply, question);
  const { status, headers, failure } = reply;
  if (status !== null && status !== 200) {
    return readAnswer({ status, headers: headers ?? {}, body: null }, question);
  }
  const kind = failure.reason === 'too_large' ? 'invalid_response' : 'unavailable';
  return { kind, message: failure.message };
}

/** Whether the same request may well succeed a moment later. Time-outs have had their time. */
export function isWorthRetrying(reply: Reply): boolean {
  switch (reply.status) {
    case 502:
    case 504:
      return true;
    case 503:
      return reply.headers?.['retry-after'] === undefined;
    case null:
    case 200:
      return reply.kind === 'broken' && reply.failure.transient;
    default:
      return false;
  }
}

function readAnswer(answer: Answer, question: Question): FetchOutcome {
  const { status, headers, body } = answer;
  switch (status) {
    case 200:
      return body === null ? invalid('the body is missing') : readRun(body, headers, question);
    case 401:
    case 403:
      return {
        kind: 'unauthorized',
        status,
        message: `status ${status}: the API key is not accepted or lacks the right to read this run`,
      };
    case 404:
      return { kind: 'not_found' };
    case 422:
      return { kind: 'rejected', message: rejectionMessage(parseJson(body), question.apiKey) };
    case 429:
      return rateLimited(answer, question.now);
    case 503:
      return headers['retry-after'] === undefined
        ? { kind: 'unavailable', message: 'status 503' }
        : rateLimited(answer, question.now);
    default:
      return { kind: 'unavailable', message: `status ${status}${hintFor(status)}` };
  }
}

function rateLimited({ status, headers }: Answer, now: number): FetchOutcome {
  const retryAfterMs = parseRetryAfter(headers['retry-after'], now);
  const until = retryAfterMs === null ? '' : `, asks for ${Math.ceil(retryAfterMs / 1_000)} s`;
  return { kind: 'rate_limited', status, retryAfterMs, message: `status ${status}${until}` };
}

function hintFor(status: number): string {
  const isRedirect = status >= 300 && status < 400;
  return isRedirect ? ': redirects are not followed, is the base URL right?' : '';
}

/** Judges the body of a 200. Messages name places in it, never what stands there. */
function readRun(body: Buffer, headers: IncomingHttpHeaders, question: Question): FetchOutcome {
  const encoding = headers['content-encoding'] ?? 'identity';
  if (encoding !== 'identity') return invalid('the body is compressed, which was not asked for');
  const json = parseJson(body);
  if (json === undefined) return invalid(notJsonMessage(body, headers));
  const parsed = wireRunSchema.safeParse(json);
  if (!parsed.success) {
    const issues = parsed.error.issues.map(({ path, message }) =>
      path.length === 0 ? message : `${path.join('.')}: ${message}`,
    );
    return invalid(`not a run: ${issues.join('; ')}`);
  }
  if (parsed.data.id.toLowerCase() !== question.runId.toLowerCase()) {
    return invalid('id: another run than the one that was asked for');
  }
  return { kind: 'run', run: toSnapshot(parsed.data, question.now) };
}

function invalid(message: string): FetchOutcome {
  return { kind: 'invalid_response', message };
}

/** @returns undefined where the body is missing or no JSON (V8's error would quote the body) */
function parseJson(body: Buffer | null): unknown {
  try {
    return body === null ? undefined : (JSON.parse(body.toString()) as unknown);
  } catch {
    return undefined;
  }
}

function notJsonMessage(body: Buffer, headers: IncomingHttpHeaders): string {
  const text = body.toString().trim();
  if (text === '') return 'the body is empty';
  if (text.startsWith('{') && !text.endsWith('}')) {
    return `the JSON is cut off after ${body.length} bytes`;
  }
  const type = /^[\w.+-]{1,64}\/[\w.+-]{1,64}/.exec(headers['content-type'] ?? '')?.[0] ?? '';
  if (type === 'text/html' || text.startsWith('<')) return 'the body is HTML, not JSON';
  return type === '' || type.includes('json')
    ? 'the body is not valid JSON'
    : `the body is not JSON but ${type}`;
}
