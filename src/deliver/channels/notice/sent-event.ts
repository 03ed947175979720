import type { SaidNodes } from '../../../core/run/nodes.ts';
import type { RunSnapshot } from '../../../core/run/snapshot.ts';

/**
 * The fields of an event that bodies and messages read. Events of runs have most of them; `data` of
 * alerts and of system events has other shapes.
 */
export interface SentEvent {
  id: string;
  type: string;
  timestamp: string;
  data: SentData;
}

/** How the runs of a batch went. */
export interface SentBatch {
  batch: string;
  batch_id: string;
  reason?: string;
  total: number;
  max_failed: number | null;
  by_status: Readonly<Record<string, number>>;
  failed_runs: readonly SentFailedRun[];
  duration_ms: number;
  /** Its page of the dashboard. */
  batch_url: string | null;
}

/** One of the first runs of a batch that failed. */
interface SentFailedRun {
  run_id: string;
  workflow_name: string | null;
  status: string;
  run_url: string | null;
  watch_url: string | null;
}

interface SentData extends Partial<SentBatch> {
  run_id?: string;
  run?: SentRun | null;
  nodes?: SaidNodes | null;
  workflow_name?: string | null;
  run_url?: string | null;
  watch_url?: string | null;
  detected_at?: string;
  watch?: { source: string; metadata: Record<string, string> };
  error?: { code: string; message: string } | null;
  reminder?: number;
  waited_ms?: number;
  lasted_ms?: number;
  alert?: SentAlert;
  /** An alert that is sent again, since it still fires. */
  repeat?: boolean;
  escalation?: { step: number; after: string } | null;
  digest?: SentDigest | null;
  /** A message that shows what real ones look like. */
  test?: boolean;
  /** The endpoint that a system event is about. */
  endpoint?: string;
  /** The source that a system event is about. */
  source?: string;
  /** The workflow that a system event is about. */
  workflow_id?: string;
  /** How many runs a system event is about, and the first of them. */
  count?: number;
  runs?: readonly SentWaitingRun[];
  help?: string;
}

/** A run that a system event names. */
interface SentWaitingRun {
  run_id: string;
  workflow_name?: string | null;
  run_url?: string | null;
  watch_url?: string | null;
}

export type SentRun = Pick<
  RunSnapshot,
  'workflow_id' | 'status' | 'progress' | 'started_at' | 'finished_at' | 'observed_at' | 'attempt'
>;

export interface SentAlert {
  id: string;
  rule: string;
  labels: Record<string, string>;
  state: string;
  severity: string;
  owner?: string | null;
  count: number;
  /** Distinct runs; 500 stands for 500 or more. */
  runs_total?: number;
  runs: readonly SentAlertRun[];
  started_at: string;
  updated_at?: string | null;
  resolved_at?: string | null;
  resolved_by?: { by: string; comment?: string | null } | null;
  acknowledged?: { by: string; comment?: string | null } | null;
  annotations?: Readonly<Record<string, string>>;
  /** Its page of the dashboard. */
  url?: string | null;
}

/** A summary of what was held back, or of a rule with a schedule. */
export interface SentDigest {
  since: string;
  until: string;
  reason: string;
  alerts?: readonly SentDigestAlert[];
  by_type?: Record<string, number>;
}

interface SentDigestAlert {
  labels: Record<string, string>;
  state: string;
  count: number;
  /** The name of its workflow. */
  name?: string | null;
}

interface SentAlertRun {
  run_id: string;
  workflow_id?: string | null;
  name?: string | null;
  url?: string | null;
  status?: string | null;
  at?: string | null;
}

/** Reads the text of an event that this project wrote. */
export function parseEvent(eventText: string): SentEvent {
  return JSON.parse(eventText) as SentEvent;
}
