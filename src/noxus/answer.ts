import type { PollResult } from '../core/run/snapshot.ts';
import { invalid, parseJson, readJson, troubleOfFailure, troubleOfStatus } from './judge.ts';
import { readRejection } from './rejection.ts';
import type { Reply } from './reply.ts';
import type { RunBody } from './run-body.ts';
import { toSnapshot, unreadFields, wireRunSchema } from './wire-run.ts';

/** What was asked, as far as the answer must be judged by it. */
export interface Question {
  runId: string;
  apiKey: string;
  /** Milliseconds since the epoch. */
  now: number;
  /** Told of the fields that an answer lacks, or has in a form that cannot be read. */
  onUnread: (fields: string[]) => void;
}

/**
 * What a reply comes to. A status other than 200 speaks for itself, so it counts even where the
 * connection broke before the end of the body.
 */
export function outcomeOf(reply: Reply, body: RunBody, question: Question): PollResult {
  const { headers } = reply;
  const status = reply.status ?? 0;
  if (reply.kind === 'broken' && (status === 0 || status === 200)) {
    return troubleOfFailure(reply.failure);
  }
  switch (status) {
    case 200:
      return readRun(body, reply, question);
    case 404:
      return readNotFound(body);
    case 422:
      return readUnprocessable(body, question);
    default:
      return troubleOfStatus({ status, headers: headers ?? {} }, question.now);
  }
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

/** Noxus says in JSON that it has no such run (`detail`); what a proxy says is no word on the run. */
function readNotFound(body: RunBody): PollResult {
  const said = parseJson(body.other());
  return typeof said === 'object' && said !== null && 'detail' in said
    ? { kind: 'not_found' }
    : { kind: 'unavailable', message: "status 404 without Noxus's own words: a proxy's answer?" };
}

/** Only a complaint about the run id is about the run; any other is about how it was asked for. */
function readUnprocessable(body: RunBody, { apiKey }: Question): PollResult {
  const { message, isOfRunId } = readRejection(parseJson(body.other()), apiKey);
  return isOfRunId
    ? { kind: 'rejected', message }
    : { kind: 'unavailable', message: `status 422, not about the run id: ${message}` };
}

function readRun(body: RunBody, reply: Reply, question: Question): PollResult {
  const content = { text: body.run(), bytes: body.bytes };
  if (body.isTooLarge && content.text.startsWith('{')) {
    return invalid(`the answer is too large: given up after ${body.bytes} bytes`);
  }
  const read = readJson(content, reply.headers ?? {}, wireRunSchema, 'a run');
  if (read.kind === 'invalid_response') return read;
  if (read.value.id.toLowerCase() !== question.runId.toLowerCase()) {
    return invalid('id: another run than the one that was asked for');
  }
  question.onUnread(unreadFields(read.value));
  return { kind: 'run', run: toSnapshot(read.value, question.now) };
}
