/** The statuses that Noxus documents (`RunStatus` of its OpenAPI document). */
export const KNOWN_STATUSES = [
  'queued',
  'running',
  'failed',
  'completed',
  'stopped',
  'awaiting_human_feedback',
] as const;

type TerminalStatus = 'completed' | 'failed' | 'stopped';

/**
 * What we keep of a run, in the shape users see: every field here is published in events and API
 * answers, and nothing else of the run exists behind the Noxus client. Only id and status are sure;
 * any other field is null where Noxus does not give it. Times are ISO 8601 UTC with milliseconds.
 */
export interface RunSnapshot {
  /** As the watch has it, see {@link canonicalRunId}. */
  id: string;
  workflow_id: string | null;
  group_id: string | null;
  workflow_version_id: string | null;
  /** One of {@link KNOWN_STATUSES}, or whatever else Noxus said. */
  status: string;
  /** An integer; by Noxus's schema unbounded, normally 0–100. */
  progress: number | null;
  created_at: string | null;
  started_at: string | null;
  finished_at: string | null;
  source: string | null;
  user_id: string | null;
  conversation_id: string | null;
  observed_at: string;
}

/** What {@link statusLabel} gives. */
export const STATUS_LABELS = [...KNOWN_STATUSES, 'unseen', 'unknown'] as const;

export function isKnownStatus(status: string): boolean {
  return (KNOWN_STATUSES as readonly string[]).includes(status) || isAwaiting(status);
}

/** A status as a metric's label: of those that Noxus does not document there may be any number. */
export function statusLabel(run: Pick<RunSnapshot, 'status'> | null): string {
  if (run === null) return 'unseen';
  return (KNOWN_STATUSES as readonly string[]).includes(run.status) ? run.status : 'unknown';
}

/**
 * True where the run waits for something from outside: for a human, or as Noxus's SDK once had it,
 * for an event (`awaiting_event`).
 */
export function isAwaiting(status: string): boolean {
  return status.startsWith('awaiting_');
}

/** Terminal runs never change again: polling them is pointless. */
export function isTerminalStatus(status: string): status is TerminalStatus {
  return status === 'completed' || status === 'failed' || status === 'stopped';
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** The one form of a run id: a UUID is the same in any case, so it is kept in lower case. */
export function canonicalRunId(runId: string): string {
  return UUID.test(runId) ? runId.toLowerCase() : runId;
}

/**
 * Progress as it is shown: within 0 and 100, and a dash where Noxus gives none.
 * @param unit what follows the number
 */
export function percentText(progress: number | null | undefined, unit = '%'): string {
  if (progress === null || progress === undefined) return '–';
  return `${Math.min(Math.max(progress, 0), 100)}${unit}`;
}
