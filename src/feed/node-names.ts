import type { DefinitionOutcome } from '../core/feed/workflow.ts';
import { namedNodes, type RunNodes } from '../core/run/nodes.ts';

/** The most workflows with names in memory, and the most that wait for theirs. */
const MOST_WORKFLOWS = 200;
const MOST_WANTED = 200;

/** The least time between two definitions that are read, ms. */
const READ_EVERY_MS = 2_000;

/** A workflow that could not be read, or that lacked a node, is read again after this time, ms. */
const AGAIN_MS = 3_600_000;

/** After an answer that is none, no definition is read for this time, ms. */
const REST_MS = 600_000;

/** While more of the rate limit than this is used, names wait. */
const SPARE = 0.5;

interface NodeNamesDependencies {
  source: string;
  store: {
    get(source: string, workflowId: string): Promise<Map<string, string> | null>;
    put(source: string, workflowId: string, names: Map<string, string>): Promise<void>;
  };
  readDefinition: (workflowId: string) => Promise<DefinitionOutcome>;
  /** The share of the rate limit that is used now. */
  usedShare: () => Promise<number>;
  claimPermit: () => Promise<{ settle(): void } | null>;
  now: () => number;
}

/**
 * The names of nodes, from the definitions of workflows. A definition is read once, only for a workflow
 * with streams that say where runs stand, and with what the rate limit leaves; else ids stand alone.
 */
export class NodeNames {
  /** By workflow, the least recently used first. */
  private readonly names = new Map<string, ReadonlyMap<string, string>>();
  private readonly wanted = new Set<string>();
  /** Until when a workflow is not read again. */
  private readonly notBefore = new Map<string, number>();
  private restsUntil = 0;

  constructor(private readonly deps: NodeNamesDependencies) {}

  /** Where a run stands, with the names of its nodes; those that are not known are wanted. */
  named(nodes: RunNodes, workflowId: string | null): RunNodes {
    if (workflowId === null) return nodes;
    const ids = [...nodes.failed, ...nodes.running];
    const known = this.names.get(workflowId);
    if (ids.some((id) => known?.get(id) === undefined)) this.want(workflowId);
    if (known === undefined) return nodes;
    this.hold(workflowId, known);
    return namedNodes(nodes, known);
  }

  /** Reads at most one definition, where one is wanted and nothing is in the way. */
  async tend(): Promise<void> {
    const [workflowId] = this.wanted;
    const { now, store, source } = this.deps;
    if (workflowId === undefined || now() < this.restsUntil) return;
    const stored = this.names.has(workflowId) ? null : await store.get(source, workflowId);
    if (stored === null) return this.read(workflowId);
    this.wanted.delete(workflowId);
    this.hold(workflowId, stored);
  }

  private want(workflowId: string): void {
    if ((this.notBefore.get(workflowId) ?? 0) > this.deps.now()) return;
    if (this.wanted.size < MOST_WANTED) this.wanted.add(workflowId);
  }

  private async read(workflowId: string): Promise<void> {
    const { now, store, source, usedShare, claimPermit, readDefinition } = this.deps;
    if ((await usedShare()) > SPARE) return;
    const permit = await claimPermit();
    if (permit === null) return;
    this.restsUntil = now() + READ_EVERY_MS;
    const outcome = await readDefinition(workflowId).finally(() => permit.settle());
    this.wanted.delete(workflowId);
    this.postpone(workflowId);
    if (outcome.kind === 'definition') {
      this.hold(workflowId, outcome.names);
      await store.put(source, workflowId, outcome.names);
    } else if (outcome.kind !== 'not_offered' || outcome.status !== 404) {
      this.restsUntil = now() + REST_MS;
    }
  }

  private postpone(workflowId: string): void {
    this.notBefore.delete(workflowId);
    this.notBefore.set(workflowId, this.deps.now() + AGAIN_MS);
    trim(this.notBefore);
  }

  private hold(workflowId: string, names: ReadonlyMap<string, string>): void {
    this.names.delete(workflowId);
    this.names.set(workflowId, names);
    trim(this.names);
  }
}

/** Forgets the oldest entry of a map that has too many. */
function trim(map: Map<string, unknown>): void {
  if (map.size <= MOST_WORKFLOWS) return;
  for (const oldest of map.keys()) return void map.delete(oldest);
}
