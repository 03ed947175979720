import type { StreamBook } from './event-stream.ts';
import type { FaultTable } from './fault.ts';
import type { Ledger } from './request-log.ts';
import type { RunRegistry } from './run-registry.ts';
import type { ScriptInput, RunScript, StreamSettings } from './script.ts';
import type { WorkflowCatalog } from './workflow.ts';

/** What is known of the calls of callbacks. */
export interface CallbackBook {
  sent: number;
  /** How many of those got no answer. */
  failed: number;
}

/** What the handlers of one simulator share. */
export interface Simulation {
  apiKey: string;
  now: () => number;
  runs: RunRegistry;
  faults: FaultTable;
  ledger: Ledger;
  streams: StreamBook;
  callbacks: CallbackBook;
  workflows: WorkflowCatalog;
  /** How streams behave by default, where a run's script sets nothing. */
  streamSettings: StreamSettings;
  /** Aborted when the simulator closes. */
  closing: AbortSignal;
}

/**
 * Adds a run together with the faults that its script brings along.
 * @throws RunwatchError `run_exists`, `too_many_runs`, `too_many_faults`
 */
export function addRun({ runs, faults }: Simulation, input: ScriptInput): RunScript {
  const script = runs.add(input);
  for (const fault of input.faults ?? []) faults.add({ ...fault, run_id: script.id });
  return script;
}

/** What clients send as `X-API-Key`, unless a test sets another. */
export const SIMULATOR_API_KEY = 'noxus-simulator-key';
