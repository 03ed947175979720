import type { IncomingHttpHeaders } from 'node:http';
import type { FetchOutcome } from '../core/outcome.ts';
import { invalid, parseJson, readJson, troubleOfFailure, troubleOfStatus } from './judge.ts';
import { rejectionMessage } from './rejection.ts';
import type { Reply } from './reply.ts';
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
  return status === null || status === 200
    ? troubleOfFailure(failure)
    : readAnswer({ status, headers: headers ?? {}, body: null }, question);
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
    case 404:
      return { kind: 'not_found' };
    case 422: {
      const complaint = body === null ? undefined : parseJson(body.toString());
      return { kind: 'rejected', message: rejectionMessage(complaint, question.apiKey) };
    }
    default:
      return troubleOfStatus(answer, question.now);
  }
}

function readRun(body: Buffer, headers: IncomingHttpHeaders, question: Question): FetchOutcome {
  const content = { text: body.toString(), bytes: body.length };
  const read = readJson(content, headers, wireRunSchema, 'a run');
  if (read.kind === 'invalid_response') return read;
  if (read.value.id.toLowerCase() !== question.runId.toLowerCase()) {
    return invalid('id: another run than the one that was asked for');
  }
  return { kind: 'run', run: toSnapshot(read.value, question.now) };
}
