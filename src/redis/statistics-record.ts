import { BINS, type Statistics } from '../core/hazard.ts';
import type { WorkflowKey, WorkflowStatistics } from '../core/workflow-statistics.ts';

/*
 * What was learned of a workflow is a hash: `number` in the order of workflows, `version`, `states`,
 * how many of them there are, and a table for each state and for all together. The script
 * `lua/learn.ts` writes it.
 */

const BYTES = 8;
const STATE = 'state ';
const ALL = 'all';

/** The field that holds the table of a state, or by null that of all states together. */
export function tableField(state: string | null): string {
  return state === null ? ALL : `${STATE}${state}`;
}

/** @param reply fields and values in turn, as Redis gives a hash; null where there is none */
export function readStatistics(key: WorkflowKey, reply: Buffer[]): WorkflowStatistics | null {
  if (reply.length === 0) return null;
  const states = new Map<string | null, Statistics>();
  let version = 0;
  for (let at = 0; at + 1 < reply.length; at += 2) {
    const field = reply[at]?.toString() ?? '';
    const value = reply[at + 1] ?? Buffer.alloc(0);
    if (field === 'version') version = Number(value.toString());
    else if (field === ALL) states.set(null, readTable(value));
    else if (field.startsWith(STATE)) states.set(field.slice(STATE.length), readTable(value));
  }
  return { ...key, version, states };
}

/** Stays, endings by bin, seconds at risk by bin: doubles, the lowest byte first. */
function readTable(packed: Buffer): Statistics {
  const numbers = Array.from({ length: 1 + 2 * BINS }, (_, at) => packed.readDoubleLE(at * BYTES));
  return {
    runs: numbers[0] ?? 0,
    endings: numbers.slice(1, 1 + BINS),
    secondsAtRisk: numbers.slice(1 + BINS),
  };
}
