import { queryFields, type Query } from '../../client/query.ts';
import { released } from '../app/press.ts';
import { href } from '../app/router.ts';
import { doubtSession, session, sessionHeader } from './session.ts';

/** Why a call failed, in words for users. */
export class ApiError extends Error {
  /** The HTTP status; 0 where nothing answered. */
  readonly status: number;
  readonly code: string;

  constructor(message: string, { status, code }: { status: number; code: string }) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

interface Call {
  query?: Query;
  body?: unknown;
  signal?: AbortSignal | undefined;
  /** A status that is an answer too, although it is none of success. */
  alsoAnswer?: number;
}

/** Requests that take longer are given up, ms. */
const TIMEOUT_MS = 30_000;

/** How often a call is sent again that the server asked to wait; each has waited there for a while. */
const THROTTLED_REPEATS = 3;

/** Longest pause that is made because of such an answer, s. */
const MAX_RETRY_AFTER_S = 5;

/** Calls the API and returns its parsed answer. Throws {@link ApiError}. */
export async function request<Answer>(
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  { query = {}, body, signal, alsoAnswer }: Call = {},
): Promise<Answer> {
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  const fields = queryFields(query).filter(([, text]) => text !== '');
  const search = fields.length === 0 ? '' : `?${new URLSearchParams(fields)}`;
  const response = await sendPatiently(`${href(path)}${search}`, {
    method,
    headers: {
      ...sessionHeader(),
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    signal: signal === undefined ? limit : AbortSignal.any([signal, limit]),
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  await released();
  signal?.throwIfAborted();
  if (response.ok || response.status === alsoAnswer)
    return (text === '' ? undefined : JSON.parse(text)) as Answer;
  const problem = problemOf(response.status, text);
  if (isOver(problem)) doubtSession();
  throw problem;
}

/** Sends again what the server refused for now. */
async function sendPatiently(url: string, init: RequestInit) {
  for (let left = THROTTLED_REPEATS; ; left -= 1) {
    const response = await send(url, init);
    const seconds = Number(response.headers.get('retry-after') ?? Infinity);
    const isThrottled = response.status === 429 && seconds <= MAX_RETRY_AFTER_S;
    if (!isThrottled || left === 0) return response;
    await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
  }
}

export async function send(url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, { cache: 'no-store', ...init });
  } catch (error) {
    if (init.signal?.aborted === true && (init.signal.reason as Error).name === 'AbortError') {
      throw error;
    }
    await released();
    throw new ApiError('The daemon does not answer.', { status: 0, code: 'unreachable' });
  }
}

/** True where the daemon takes the session no more. */
export function isOver({ status, code }: ApiError): boolean {
  const isUnproved = code === 'origin_not_allowed' && session.peek().state === 'signed_in';
  return status === 401 || isUnproved;
}

export function problemOf(status: number, text: string): ApiError {
  const problem = parse(text);
  const { detail = `The server answers ${status}.`, code = 'unknown' } = problem ?? {};
  return new ApiError(sentence(detail), { status, code });
}

function parse(text: string): { detail?: string; code?: string } | null {
  try {
    return JSON.parse(text) as { detail?: string; code?: string };
  } catch {
    return null;
  }
}

function sentence(text: string): string {
  const start = `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
  return /[.!?]$/.test(start) ? start : `${start}.`;
}

/** What went wrong, for a user. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
