import type { StreamCounts } from './run-stream.ts';
import type { FaultTable } from './fault.ts';
import type { RequestLog } from './request-log.ts';
import type { RunRegistry } from './run-registry.ts';
import type { ScriptInput, RunScript, StreamSettings } from './script.ts';
import type { WorkflowCatalog } from './workflow.ts';

/** Counts of callbacks. */
export interface CallbackCounts {
  sent: number;
  /** The number without an answer. */
  failed: number;
}

/** The state of one simulator, shared by its handlers. */
export interface Simulation {
  apiKey: string;
  now: () => number;
  runs: RunRegistry;
  faults: FaultTable;
  requestLog: RequestLog;
  streams: StreamCounts;
  callbacks: CallbackCounts;
  workflows: WorkflowCatalog;
  /** The settings of streams without settings of their own. */
  streamSettings: StreamSettings;
  /** Aborted when the simulator closes. */
  closing: AbortSignal;
}

/**
 * Adds a run and the faults of its script.
 * @throws RunwatchError `run_exists`, `too_many_runs`, `too_many_faults`
 */
export function addRun({ runs, faults }: Simulation, input: ScriptInput): RunScript {
  const script = runs.add(input);
  for (const fault of input.faults ?? []) faults.add({ ...fault, run_id: script.id });
  return script;
}

/** The default `X-API-Key`. */
export const SIMULATOR_API_KEY = 'noxus-simulator-key';
