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

const optionalText = z
  .unknown()
  .optional()
  .transform((value) =>
    typeof value === 'string' && value.length <= MAX_TEXT_LENGTH ? value : null,
  );

const optionalTimestamp = z.unknown().optional().transform(readTimestamp);

/** Adding zero turns the negative zero of a truncated fraction into zero. */
const progress = z
  .unknown()
  .optional()
  .transform((value) => (Number.isFinite(value) ? Math.trunc(Number(value)) + 0 : 0));

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
    workflow_version_id: optionalText,
    status: requiredText,
    progress,
    created_at: requiredTimestamp,
    started_at: optionalTimestamp,
    finished_at: optionalTimestamp,
    source: optionalText,
    user_id: optionalText,
    conversation_id: optionalText,
  },
  'expected an object',
);

export type WireRun = z.output<typeof wireRunSchema>;

/** @param observedAt when Noxus gave the answer, milliseconds since the epoch */
export function toSnapshot(wire: WireRun, observedAt: number): RunSnapshot {
  return {
    id: wire.id,
    workflow_id: wire.workflow_id,
    group_id: wire.group_id,
    workflow_version_id: wire.workflow_version_id,
    status: wire.status,
    progress: wire.progress,
    created_at: wire.created_at,
    started_at: wire.started_at,
    finished_at: wire.finished_at,
    source: wire.source,
    user_id: wire.user_id,
    conversation_id: wire.conversation_id,
    observed_at: isoTime(observedAt),
  };
}
