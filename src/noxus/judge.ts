import type { IncomingHttpHeaders } from 'node:http';
import type { z } from 'zod';
import { parseRetryAfter } from '../core/backoff.ts';
import type { FetchTrouble } from '../core/run/snapshot.ts';
import type { Failure } from './failure.ts';

/** How many complaints are named: a run can have a few, a list of a hundred runs too many. */
const MAX_ISSUES = 10;

type Invalid = Extract<FetchTrouble, { kind: 'invalid_response' }>;

/** Status and headers of an answer. */
interface AnswerHead {
  status: number;
  headers: IncomingHttpHeaders;
}

/** The body of a 200. */
interface Body {
  text: string;
  /** How much of it came over the wire. */
  bytes: number;
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

/** What it comes to that there is no whole answer. */
export function troubleOfFailure({ message }: Failure): FetchTrouble {
  return { kind: 'unavailable', message };
}

export function invalid(message: string): Invalid {
  return { kind: 'invalid_response', message };
}

/**
 * Judges the body of a 200. Messages name places in it, never what stands there.
 * @param what the name of what is expected, such as `a run`
 */
export function readJson<Output>(
  body: Body,
  headers: IncomingHttpHeaders,
  schema: z.ZodType<Output>,
  what: string,
): { kind: 'value'; value: Output } | Invalid {
  const encoding = headers['content-encoding'] ?? 'identity';
  if (encoding !== 'identity') return invalid('the body is encoded in a way that is not known');
  const json = parseJson(body.text);
  if (json === undefined) return invalid(notJsonMessage(body, headers));
  const parsed = schema.safeParse(json);
  if (parsed.success) return { kind: 'value', value: parsed.data };
  const issues = parsed.error.issues
    .slice(0, MAX_ISSUES)
    .map(({ path, message }) => (path.length === 0 ? message : `${path.join('.')}: ${message}`));
  return invalid(`not ${what}: ${issues.join('; ')}`);
}

/** @returns undefined for what is no JSON (V8's error would quote the text) */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function rateLimited({ status, headers }: AnswerHead, now: number): FetchTrouble {
  const retryAfterMs = parseRetryAfter(headers['retry-after'], now);
  const until = retryAfterMs === null ? '' : `, asks for ${Math.ceil(retryAfterMs / 1_000)} s`;
  return { kind: 'rate_limited', retryAfterMs, message: `status ${status}${until}` };
}

function hintFor(status: number): string {
  const isRedirect = status >= 300 && status < 400;
  return isRedirect ? ': redirects are not followed, is the base URL right?' : '';
}

function notJsonMessage(body: Body, headers: IncomingHttpHeaders): string {
  const text = body.text.trim();
  if (text === '') return 'the body is empty';
  if (text.startsWith('{') && !text.endsWith('}')) {
    return `the JSON is cut off after ${body.bytes} bytes`;
  }
  const type = /^[\w.+-]{1,64}\/[\w.+-]{1,64}/.exec(headers['content-type'] ?? '')?.[0] ?? '';
  if (type === 'text/html' || text.startsWith('<')) return 'the body is HTML, not JSON';
  return type === '' || type.includes('json')
    ? 'the body is not valid JSON'
    : `the body is not JSON but ${type}`;
}
