import { z } from 'zod';
import { isoTime } from '../core/event.ts';
import type { RunSnapshot } from '../core/run.ts';
import { readTimestamp } from './timestamp.ts';

/** Longest text that we take over from a run; ids, statuses and sources are far shorter. */
const MAX_TEXT_LENGTH = 1_024;

const requiredText = z
  .string('expected a string')
  .min(1, 'expected a string that is not empty')
  .max(MAX_TEXT_LENGTH, `expected at most ${MAX_TEXT_LENGTH} characters`);

const requiredTimestamp = z.unknown().transform((value, context) => {
  const time = readTimestamp(value);
  if (time !== null) return time;
  context.addIssue({ code: 'custom', message: 'expected an ISO 8601 date and time' });
  return z.NEVER;
});

/** Whatever stands here, or nothing: {@link toSnapshot} makes the best of it. */
const optional = z.unknown().optional();

/**
 * What we read of `RunNoIO` in the OpenAPI document of Noxus (`GET /v1/runs/{run_id}`): the required
 * fields must be there, everything else may be null, absent or of another type. Every other field,
 * first of all `input`, `definitions`, `node_ids`, `meta` and `api_key_id`, is private and dropped.
 */
export const wireRunSchema = z.object(
  {
    id: requiredText,
    group_id: requiredText,
    workflow_id: requiredText,
    workflow_version_id: optional,
    status: requiredText,
    progress: optional,
    created_at: requiredTimestamp,
    started_at: optional,
    finished_at: optional,
    source: optional,
    user_id: optional,
    conversation_id: optional,
  },
  'expected an object',
);

export type WireRun = z.output<typeof wireRunSchema>;

/**
 * Published form of a run: optional fields that are unreadable become null, progress 0.
 * @param observedAt when Noxus gave the answer, milliseconds since the epoch
 */
export function toSnapshot(wire: WireRun, observedAt: number): RunSnapshot {
  return {
    id: wire.id,
    workflow_id: wire.workflow_id,
    group_id: wire.group_id,
    workflow_version_id: textOrNull(wire.workflow_version_id),
    status: wire.status,
    progress: integerOrZero(wire.progress),
    created_at: wire.created_at,
    started_at: readTimestamp(wire.started_at),
    finished_at: readTimestamp(wire.finished_at),
    source: textOrNull(wire.source),
    user_id: textOrNull(wire.user_id),
    conversation_id: textOrNull(wire.conversation_id),
    observed_at: isoTime(observedAt),
  };
}

function textOrNull(value: unknown): string | null {
  return typeof value === 'string' && value.length <= MAX_TEXT_LENGTH ? value : null;
}

/** A fraction is cut off; adding zero turns the negative zero that this may give into zero. */
function integerOrZero(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? Math.trunc(value) + 0 : 0;
}
