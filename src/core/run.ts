/** The statuses that Noxus documents (`RunStatus` of its OpenAPI document). */
export const KNOWN_STATUSES = [
  'queued',
  'running',
  'failed',
  'completed',
  'stopped',
  'awaiting_human_feedback',
] as const;

type KnownStatus = (typeof KNOWN_STATUSES)[number];
type TerminalStatus = 'completed' | 'failed' | 'stopped';

/**
 * What we keep of a run, in the shape users see: every field here is published in events and API
 * answers, and nothing else of the run exists behind the Noxus client. Times are ISO 8601 UTC with
 * milliseconds.
 */
export interface RunSnapshot {
  id: string;
  workflow_id: string;
  group_id: string;
  workflow_version_id: string | null;
  /** One of {@link KNOWN_STATUSES}, or whatever else Noxus said. */
  status: string;
  /** An integer; by Noxus's schema unbounded, normally 0–100. */
  progress: number;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  source: string | null;
  user_id: string | null;
  conversation_id: string | null;
  observed_at: string;
}

export function isKnownStatus(status: string): status is KnownStatus {
  return (KNOWN_STATUSES as readonly string[]).includes(status);
}

/** Terminal runs never change again: polling them is pointless. */
export function isTerminalStatus(status: string): status is TerminalStatus {
  return status === 'completed' || status === 'failed' || status === 'stopped';
}
