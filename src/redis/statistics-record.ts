import { BINS, type Statistics } from '../core/hazard.ts';
import type { Polled, WorkflowKey, WorkflowStatistics } from '../core/workflow-statistics.ts';

/*
 * What was learned of a workflow is a hash: `version`, `tables`, how many there are of states, `polled`,
 * and a table for each state, for all together and for whole runs. The script `lua/learn.ts` writes it.
 */

const BYTES = 8;
const STATE = 'state ';
const ALL = 'all';

/** The field that holds the table of how long whole runs last. */
export const DURATIONS = 'durations';

/** The field that holds the table of a state, or by null that of all states together. */
export function tableField(state: string | null): string {
  return state === null ? ALL : `${STATE}${state}`;
}

/** Whether a table is one of those that are counted and limited. */
export function isStateField(field: string): boolean {
  return field.startsWith(STATE);
}

/** @param reply fields and values in turn, as Redis gives a hash; null where there is none */
export function readStatistics(key: WorkflowKey, reply: Buffer[]): WorkflowStatistics | null {
  if (reply.length === 0) return null;
  const fields = new Map<string, Buffer>();
  for (let at = 0; at + 1 < reply.length; at += 2) {
    fields.set(String(reply[at]), reply[at + 1] ?? Buffer.alloc(0));
  }
  const table = (field: string) => {
    const packed = fields.get(field);
    return packed === undefined ? null : readTable(packed);
  };
  const all = table(ALL);
  const states = [...fields].flatMap(([field, packed]) =>
    isStateField(field) ? [[field.slice(STATE.length), readTable(packed)] as const] : [],
  );
  return {
    ...key,
    version: Number(String(fields.get('version'))),
    states: new Map<string | null, Statistics>(all === null ? states : [[null, all], ...states]),
    durations: table(DURATIONS),
    polled: readPolled(fields.get('polled')),
  };
}

/** Stays, endings by bin, seconds at risk by bin. */
function readTable(packed: Buffer): Statistics {
  const [runs = 0, ...bins] = readDoubles(packed);
  return { runs, endings: bins.slice(0, BINS), secondsAtRisk: bins.slice(BINS) };
}

function readPolled(packed: Buffer | undefined): Polled | null {
  if (packed === undefined) return null;
  const [runs = 0, requests = 0, delayS = 0] = readDoubles(packed);
  return { runs, requests, delayS };
}

/** Doubles as scripts pack them, the lowest byte first. */
function readDoubles(packed: Buffer): number[] {
  return Array.from({ length: packed.length / BYTES }, (_, at) => packed.readDoubleLE(at * BYTES));
}
