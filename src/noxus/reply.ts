import type { IncomingHttpHeaders } from 'node:http';
import { RequestError } from 'got';
import { formatDuration } from '../core/duration.ts';
import { RunwatchError } from '../core/errors.ts';
import { networkFailure, timedOutPhase, type Failure, type Progress } from './failure.ts';

/** A reply before whose end the connection broke; null stands for what had not come by then. */
interface BrokenReply {
  kind: 'broken';
  status: number | null;
  headers: IncomingHttpHeaders | null;
  failure: Failure;
}

/**
 * What came back of one request, whose body was handed on while it came in: an answer, or the part of
 * one before it broke off.
 */
export type Reply =
  | {
      kind: 'answer';
      status: number;
      headers: IncomingHttpHeaders;
      /** True where not all of the body was taken. */
      isCut: boolean;
    }
  | BrokenReply;

/** Where a request went, and the milliseconds that its call might take in all. */
export interface Sent {
  base: URL;
  timeoutMs: number;
}

/** The reply of a request that failed, by the error that it ended with. */
export function brokenReply(error: unknown, sent: Sent): BrokenReply {
  if (!isNetworkError(error)) throw error;
  const response = error instanceof RequestError ? error.response : undefined;
  const { statusCode = null, headers = null } = response ?? {};
  const failure = networkFailure({ code: error.code, response }, sent.base);
  return { kind: 'broken', status: statusCode, headers, failure };
}

/**
 * From Node 24 on, a failed handshake arrives as Node's own error and not as one of got, so the class
 * of what was thrown says nothing.
 */
function isNetworkError(error: unknown): error is { code: string } {
  const hasCode = typeof error === 'object' && error !== null && 'code' in error;
  return hasCode && typeof error.code === 'string' && !(error instanceof RunwatchError);
}

/** The failure of a request that was given up because its time was over. */
export function timedOut(progress: Progress | undefined, { base, timeoutMs }: Sent): Failure {
  const phase = timedOutPhase(progress, base);
  const message = `timed out after ${formatDuration(timeoutMs)} ${phase}`;
  return { message, transient: false };
}
