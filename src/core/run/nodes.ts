import { valueOf } from '../records.ts';

/** Most ids of nodes that are kept of one kind. */
const MOST_IDS = 20;

/** Ids of nodes that a text lists. */
const LISTED = 3;

/** Where a run stands in its workflow: how many nodes are done and left, and which run or failed. */
export interface RunNodes {
  executed: number;
  remaining: number;
  /** Ids, at most 20. */
  running: string[];
  failed: string[];
  /** Names of these nodes by their ids, as far as they are known. */
  names?: Record<string, string>;
}

/** Where a run stands, with the ids of nodes bounded. */
export function boundedNodes(nodes: RunNodes): RunNodes {
  const { running, failed } = nodes;
  return { ...nodes, running: running.slice(0, MOST_IDS), failed: failed.slice(0, MOST_IDS) };
}

/** Ids of nodes that have no name, neither said nor among those that are known. */
export function unnamedNodes(
  { failed, running, names: said }: SaidNodes,
  names: ReadonlyMap<string, string>,
): string[] {
  return [...failed, ...running].filter((id) => !names.has(id) && valueOf(said, id) === undefined);
}

/** Where a run stands, with the names of its nodes that are known. */
export function namedNodes<Nodes extends SaidNodes>(
  nodes: Nodes,
  names: ReadonlyMap<string, string>,
): Nodes {
  const found = [...nodes.failed, ...nodes.running].flatMap((id) => {
    const name = names.get(id) ?? valueOf(nodes.names, id);
    return name === undefined ? [] : [[id, name] as const];
  });
  return found.length === 0 ? nodes : { ...nodes, names: Object.fromEntries(found) };
}

/** The nodes of a run, as events carry them. */
export interface SaidNodes {
  executed: number;
  remaining: number;
  running: readonly string[];
  failed: readonly string[];
  names?: Readonly<Record<string, string>> | null | undefined;
}

/**
 * The nodes of a run where it failed, or else where it stands: `Extract invoice, Send mail and 2 more`.
 * @param plain makes a name fit for one line
 * @returns null where none is known
 */
export function placeText(
  { failed, running, names }: SaidNodes,
  plain: (name: string) => string,
): string | null {
  const ids = failed.length > 0 ? failed : running;
  if (ids.length === 0) return null;
  const some = ids.slice(0, LISTED).map((id) => plain(valueOf(names, id) ?? id));
  return some.join(', ') + (ids.length > LISTED ? ` and ${ids.length - LISTED} more` : '');
}

/**
 * `Failed at Extract invoice, 7 of 12 nodes done`.
 * @param plain makes a name fit for one line
 * @returns null where nothing is known
 */
export function nodesText(nodes: SaidNodes, plain: (name: string) => string): string | null {
  const { executed, remaining, failed } = nodes;
  const total = executed + remaining;
  const place = placeText(nodes, plain);
  const where = [
    place === null ? '' : `${failed.length > 0 ? 'Failed at' : 'At'} ${place}`,
    total === 0 ? '' : `${executed} of ${total} nodes done`,
  ];
  return where.filter((part) => part !== '').join(', ') || null;
}
