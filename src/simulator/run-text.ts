import type { RunScript } from './script.ts';
import { DEFAULT_PRIVATE_BYTES, PRIVATE_CANARY, privatePart, type PublicRun } from './wire-run.ts';
import { progressDetails } from './workflow-nodes.ts';

/** The private fields of nearly all runs, made once. */
const USUAL_TAIL = tailOf(DEFAULT_PRIVATE_BYTES, null);

/** A run as the JSON text of `RunNoIO`. */
export function runText(run: PublicRun, script: RunScript | undefined): string {
  return `${JSON.stringify(run).slice(0, -1)},${tail(script)}`;
}

/** A run as the JSON text that the SDK reads a run by: with its output and progress details. */
export function fullRunText(run: PublicRun, script: RunScript | undefined): string {
  const details = { output: outputOf(run, script), progress_details: progressDetails(run) };
  const own = JSON.stringify({ ...run, ...details });
  return `${own.slice(0, -1)},${tail(script)}`;
}

/** What went into a run and what came out of it; null where nothing did. */
export function runIo(run: PublicRun, script: RunScript | undefined) {
  const { input } = privatePart(0, script?.input ?? null);
  return { input, output: outputOf(run, script) };
}

function outputOf(run: PublicRun, script: RunScript | undefined): Record<string, unknown> | null {
  if (run.status !== 'completed') return null;
  const input = script?.input ?? null;
  return input === null ? { result: PRIVATE_CANARY } : { result: 'simulated', input };
}

function tail(script: RunScript | undefined): string {
  const bytes = script?.private_bytes ?? DEFAULT_PRIVATE_BYTES;
  const input = script?.input ?? null;
  return input === null && bytes === DEFAULT_PRIVATE_BYTES ? USUAL_TAIL : tailOf(bytes, input);
}

/** The private fields as JSON text that goes on where a run's public fields ended. */
function tailOf(bytes: number, input: Record<string, unknown> | null): string {
  return JSON.stringify(privatePart(bytes, input)).slice(1);
}
