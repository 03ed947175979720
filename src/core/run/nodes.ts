/** Most ids of nodes that are kept of one kind. */
const MOST_IDS = 20;

/** Where a run stands in its workflow: how many nodes are done and left, and which run or failed. */
export interface RunNodes {
  executed: number;
  remaining: number;
  /** Ids, at most 20. */
  running: string[];
  failed: string[];
}

/** Where a run stands, with the ids of nodes bounded. */
export function boundedNodes(nodes: RunNodes): RunNodes {
  const { running, failed } = nodes;
  return { ...nodes, running: running.slice(0, MOST_IDS), failed: failed.slice(0, MOST_IDS) };
}
