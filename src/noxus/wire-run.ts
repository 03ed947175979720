import { z } from 'zod';
import { withoutControls } from '../core/controls.ts';
import { isoTime } from '../core/event/event.ts';
import { canonicalRunId, type RunSnapshot } from '../core/run/snapshot.ts';
import { readTimestamp } from './timestamp.ts';

/** Longest text that we take over from a run; ids, statuses and sources are far shorter. */
const MAX_TEXT_LENGTH = 1_024;

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
    group_id: optional,
    workflow_id: optional,
    workflow_version_id: optional,
    status: requiredText,
    progress: optional,
    created_at: optional,
    started_at: optional,
    finished_at: optional,
    source: optional,
    user_id: optional,
    conversation_id: optional,
  },
  'expected an object',
);

export type WireRun = z.output<typeof wireRunSchema>;

type Field = Exclude<keyof WireRun, 'id' | 'status'>;

/** How each field is read; null stands for what cannot be. */
const READERS = {
  workflow_id: textOrNull,
  group_id: textOrNull,
  workflow_version_id: textOrNull,
  progress: integerOrNull,
  created_at: readTimestamp,
  started_at: readTimestamp,
  finished_at: readTimestamp,
  source: textOrNull,
  user_id: textOrNull,
  conversation_id: textOrNull,
} satisfies Record<Field, (value: unknown) => string | number | null>;

const FIELDS = Object.keys(READERS) as Field[];

/** The names of all fields that are read. */
export const RUN_FIELDS: ReadonlySet<string> = new Set(['id', 'status', ...FIELDS]);

/** Fields that Noxus documents as always there and never null. */
const ALWAYS_THERE: ReadonlySet<Field> = new Set([
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
    workflow_id: textOrNull(wire.workflow_id),
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
export function unreadFields(wire: WireRun): string[] {
  return FIELDS.filter((field) => {
    const value = wire[field];
    return value === undefined || value === null
      ? ALWAYS_THERE.has(field)
      : READERS[field](value) === null;
  });
}

function textOrNull(value: unknown): string | null {
  if (typeof value !== 'string' || value.length > MAX_TEXT_LENGTH) return null;
  const text = withoutControls(value);
  return text === '' ? null : text;
}

/** A fraction is cut off; adding zero turns the negative zero that this may give into zero. */
function integerOrNull(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? Math.trunc(value) + 0 : null;
}
