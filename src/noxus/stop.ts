import { z } from 'zod';
import { withoutControls } from '../core/control-characters.ts';
import { stopOutcomeOf, type StopOutcome } from '../core/source/stop.ts';
import type { SourceAnswer } from '../core/source/throttle.ts';
import { readJson } from '../fetch/body.ts';
import type { ReadContext, SourceRequest } from '../fetch/request.ts';
import type { Reply } from '../fetch/transport.ts';
import { requestNote, troubleOfStatus } from './errors.ts';
import { saidIn } from './not-found.ts';
import { RunBody } from './run.ts';

/** What is read of the answer: the run as it is after the stop, in whatever form. */
const FIELDS: ReadonlySet<string> = new Set(['id', 'status']);

const answerSchema = z
  .object({ id: z.unknown().optional(), status: z.unknown().optional() })
  // FastAPI answers `null` where a call returns nothing.
  .catch({});

/** Longest status that is taken over. */
const MAX_STATUS_LENGTH = 64;

/** Stops one run: `POST /v1/runs/{run_id}/stop`. */
export function stopRequest(runId: string): SourceRequest<StopOutcome> {
  return {
    kind: 'stop',
    method: 'POST',
    path: `v1/runs/${encodeURIComponent(runId)}/stop`,
    mayRepeat: false,
    openAnswer() {
      const body = new RunBody(FIELDS);
      return {
        // Whatever the success, its body is a run, which may be too large to be held.
        take: (piece, status) => body.take(piece, isSuccess(status) ? 200 : status),
        read: (reply, context) => outcomeOf(reply, body, { runId, ...context }),
      };
    },
  };
}

interface Question extends ReadContext {
  runId: string;
}

function outcomeOf(reply: Reply, body: RunBody, question: Question): StopOutcome {
  const status = reply.status ?? 0;
  if (status === 0 || (isSuccess(status) && reply.kind === 'broken')) {
    const message = reply.kind === 'broken' ? reply.failure.message : 'there is no answer';
    return { kind: 'unanswered', message };
  }
  if (isSuccess(status)) return accepted(reply, body, question);
  // What a gateway says that passed the request on, or may have.
  if (status === 502 || status === 504) {
    return { kind: 'unanswered', message: `status ${status}${requestNote(reply.headers ?? {})}` };
  }
  const word = saidIn(body.other(), question.redact);
  if (status === 409) return { kind: 'ended', message: sentence('status 409', word) };
  return refused(status, reply, { word, now: question.now });
}

/** Any JSON will do, and nothing at all: the status says that it was taken. A page of a proxy says nothing. */
function accepted(reply: Reply, body: RunBody, { runId }: Question): StopOutcome {
  if (body.bytes === 0) return stopOutcomeOf(null);
  const content = { text: body.run(), bytes: body.bytes };
  const read = readJson(content, reply.headers ?? {}, answerSchema, 'a run');
  if (read.kind === 'invalid_response') return { kind: 'unanswered', message: read.message };
  const { id, status: shown } = read.value;
  if (typeof id === 'string' && id.toLowerCase() !== runId.toLowerCase()) {
    return { kind: 'unanswered', message: 'the answer is about another run' };
  }
  return stopOutcomeOf(statusIn(shown));
}

function statusIn(value: unknown): string | null {
  if (typeof value !== 'string' || value.length > MAX_STATUS_LENGTH) return null;
  return withoutControls(value) || null;
}

function refused(
  status: number,
  { headers }: Reply,
  { word, now }: { word: string | null; now: number },
): StopOutcome {
  const trouble = troubleOfStatus({ status, headers: headers ?? {} }, now);
  const isOfSource = trouble.kind === 'unauthorized' || trouble.kind === 'rate_limited';
  const says: SourceAnswer | null = isOfSource ? trouble : null;
  const own =
    status === 403 ? 'status 403: the API key lacks the right to stop runs' : trouble.message;
  return { kind: 'refused', status, message: sentence(own, word), says };
}

function sentence(own: string, word: string | null): string {
  return word === null ? own : `${own}, in its words: ${word}`;
}

function isSuccess(status: number): boolean {
  return status >= 200 && status < 300;
}
