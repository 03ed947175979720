import type { Statistics } from './hazard.ts';

/** Names one workflow of one source. */
export interface WorkflowKey {
  source: string;
  workflowId: string;
}

/** Everything that was learned of a workflow. */
export interface WorkflowStatistics extends WorkflowKey {
  /** Grows with everything that is learned. */
  version: number;
  /** How long the workflow's states last; by null, those of all of them together. */
  states: Map<string | null, Statistics>;
  /** How long whole runs last, from their creation to their end; null before one was watched. */
  durations: Statistics | null;
  /** How well ends of runs were seen; null before one was. */
  polled: Polled | null;
}

/** Sums over the runs whose ends were seen, decayed: the latest 200 or so count. */
export interface Polled {
  runs: number;
  requests: number;
  /** From ends by the account of Noxus to our seeing them, s. */
  delayS: number;
}

/** The name of a workflow inside. A source holds no slash. */
export function workflowName({ source, workflowId }: WorkflowKey): string {
  return `${source}/${workflowId}`;
}

/** The reverse of {@link workflowName}. */
export function parseWorkflowName(name: string): WorkflowKey {
  const slash = name.indexOf('/');
  return { source: name.slice(0, slash), workflowId: name.slice(slash + 1) };
}
