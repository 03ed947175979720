import type { Statistics } from './hazard.ts';

/** Names one workflow of one source. */
export interface WorkflowKey {
  source: string;
  workflowId: string;
}

/** Everything learned of a workflow. */
export interface WorkflowStatistics extends WorkflowKey {
  /** Grows with every sample. */
  version: number;
  /** Dwell times of the workflow's states; under null, of all states together. */
  states: Map<string | null, Statistics>;
  /** How long whole runs last, from creation to end; null before one was watched. */
  durations: Statistics | null;
  /** How well ends of runs were seen; null before the first. */
  polled: Polled | null;
}

/** Sums over the runs watched to their end, decayed: about the latest 200 count. */
export interface Polled {
  runs: number;
  requests: number;
  /** From the end by Noxus's time to its detection, s. */
  delayS: number;
}

/** The internal name of a workflow. The name of a source holds no slash. */
export function workflowName({ source, workflowId }: WorkflowKey): string {
  return `${source}/${workflowId}`;
}

/** The reverse of {@link workflowName}. */
export function parseWorkflowName(name: string): WorkflowKey {
  const slash = name.indexOf('/');
  return { source: name.slice(0, slash), workflowId: name.slice(slash + 1) };
}
