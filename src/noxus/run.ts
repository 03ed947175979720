import { z } from 'zod';
import { withoutControls } from '../core/control-characters.ts';
import { isoTime } from '../core/event/event.ts';
import { workflowIdFrom } from '../core/run/id.ts';
import {
  canonicalRunId,
  type PollResult,
  type ReadFieldName,
  type RunSnapshot,
} from '../core/run/snapshot.ts';
import { readTimestamp } from '../core/run/timestamp.ts';
import { invalid, OtherBody, readJson } from '../fetch/body.ts';
import { troubleOfFailure } from '../fetch/failure.ts';
import type { ReadContext, SourceRequest } from '../fetch/request.ts';
import { RunSkimmer } from '../fetch/skim.ts';
import type { Reply } from '../fetch/transport.ts';
import { troubleOfStatus } from './errors.ts';
import { readNotFound, readUnprocessable } from './not-found.ts';

/** Longest text that we take over from a run; ids, statuses and sources are far shorter. */
export const MAX_TEXT_LENGTH = 1_024;

const requiredText = z
  .string('expected a string')
  .max(MAX_TEXT_LENGTH, `expected at most ${MAX_TEXT_LENGTH} characters`)
  .transform((text) => withoutControls(text))
  .refine((text) => text !== '', 'expected a string that is not empty');

/** Whatever stands here, or nothing: {@link toSnapshot} makes the best of it. */
const optional = z.unknown().optional();

/**
 * What we read of `RunNoIO` in the OpenAPI document of Noxus (`GET /v1/runs/{run_id}`). Only `id` and
 * `status` must be there: a field that is dropped or renamed some day must not blind all watches.
 * Every other field, first of all `input`, `definitions`, `node_ids`, `meta` and `api_key_id`, is
 * private and dropped.
 */
export const wireRunSchema = z.object(
  {
    id: requiredText,
    workflow_id: optional,
    group_id: optional,
    workflow_version_id: optional,
    status: requiredText,
    progress: optional,
    created_at: optional,
    started_at: optional,
    finished_at: optional,
    source: optional,
    user_id: optional,
    conversation_id: optional,
  } satisfies Record<ReadFieldName, z.ZodType>,
  'expected an object',
);

export type WireRun = z.output<typeof wireRunSchema>;

const FIELDS = Object.keys(wireRunSchema.shape) as ReadFieldName[];

/** The names of all fields that are read. */
export const READ_FIELDS: ReadonlySet<string> = new Set(FIELDS);

/** Fields that Noxus documents as always there and never null. */
const ALWAYS_THERE: ReadonlySet<keyof WireRun> = new Set([
  'workflow_id',
  'group_id',
  'progress',
  'created_at',
]);

/**
 * Published form of a run: fields that are missing or unreadable become null.
 * @param observedAt when Noxus gave the answer, milliseconds since the epoch
 */
export function toSnapshot(wire: WireRun, observedAt: number): RunSnapshot {
  return {
    id: canonicalRunId(wire.id),
    workflow_id: workflowOrNull(wire.workflow_id),
    group_id: textOrNull(wire.group_id),
    workflow_version_id: textOrNull(wire.workflow_version_id),
    status: wire.status,
    progress: integerOrNull(wire.progress),
    created_at: readTimestamp(wire.created_at),
    started_at: readTimestamp(wire.started_at),
    finished_at: readTimestamp(wire.finished_at),
    source: textOrNull(wire.source),
    user_id: textOrNull(wire.user_id),
    conversation_id: textOrNull(wire.conversation_id),
    observed_at: isoTime(observedAt),
  };
}

/** The fields of a run that are not what Noxus documents, so that its snapshot has null for them. */
export function unreadFields(wire: WireRun, run: RunSnapshot): string[] {
  return FIELDS.filter((field) => {
    const isThere = wire[field] !== undefined && wire[field] !== null;
    return run[field] === null && (isThere || ALWAYS_THERE.has(field));
  });
}

function textOrNull(value: unknown): string | null {
  if (typeof value !== 'string' || value.length > MAX_TEXT_LENGTH) return null;
  const text = withoutControls(value);
  return text === '' ? null : text;
}

function workflowOrNull(value: unknown): string | null {
  const text = textOrNull(value);
  return text === null ? null : workflowIdFrom(text);
}

/** A fraction is cut off; adding zero turns the negative zero that this may give into zero. */
function integerOrNull(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? Math.trunc(value) + 0 : null;
}

/**
 * Largest answer that is read of a run, 256 MiB: runs bring their input and definitions along. This
 * bounds the traffic; memory is bounded by what is kept.
 */
const MAX_RUN_BYTES = 268_435_456;

/** How much is kept of a run, 64 KiB. */
const MAX_KEPT_BYTES = 65_536;

/** Takes in the body of the answer to a read of a run while it comes. */
export class RunBody {
  readonly #skimmer: RunSkimmer;
  readonly #other = new OtherBody();
  #bytes = 0;

  /** @param fields the fields of a run that are kept */
  constructor(fields: ReadonlySet<string>) {
    this.#skimmer = new RunSkimmer({ fieldDepth: 1, fields, maxKeptBytes: MAX_KEPT_BYTES });
  }

  /** @returns false when no more is wanted */
  readonly take = (piece: Buffer, status: number): boolean => {
    this.#bytes += piece.length;
    if (status !== 200) return this.#other.take(piece);
    this.#skimmer.push(piece);
    return !this.isTooLarge;
  };

  /** How much came in, decompressed. */
  get bytes(): number {
    return this.#bytes;
  }

  /** True where a run was cut off because it, or what is to be kept of it, is too large. */
  get isTooLarge(): boolean {
    return this.#bytes > MAX_RUN_BYTES || this.#skimmer.isFull;
  }

  /** What was kept of a run. */
  run(): string {
    return this.#skimmer.text();
  }

  /** The beginning of what came with another status than 200. */
  other(): string {
    return this.#other.text();
  }
}

/** Reads one run: `GET /v1/runs/{run_id}`. */
export function runRequest(runId: string): SourceRequest<PollResult> {
  return {
    kind: 'run',
    method: 'GET',
    path: `v1/runs/${encodeURIComponent(runId)}`,
    mayRepeat: true,
    openAnswer() {
      const body = new RunBody(READ_FIELDS);
      const read = (reply: Reply, context: ReadContext) =>
        outcomeOf(reply, body, { runId, ...context });
      return { take: body.take, read };
    },
  };
}

/** What was asked, as far as the answer must be judged by it. */
export interface Question extends ReadContext {
  runId: string;
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
      return readNotFound(body.other());
    case 422:
      return readUnprocessable(body.other(), question.redact);
    default:
      return troubleOfStatus({ status, headers: headers ?? {} }, question.now);
  }
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
  const run = toSnapshot(read.value, question.now);
  question.onUnread(unreadFields(read.value, run));
  return { kind: 'run', run };
}
