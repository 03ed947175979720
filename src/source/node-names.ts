import { workflowName, type WorkflowKey } from '../core/cadence/phase.ts';
import type { DefinitionOutcome } from '../core/feed/workflow.ts';
import { namedNodes, unnamedNodes, type SaidNodes } from '../core/run/nodes.ts';
import type { Permit } from '../core/source/rate-limit.ts';
import type { NodeNameStore } from '../redis/stores/name-store.ts';

/** The most workflows with names in memory, and the most of a source that wait for theirs. */
const MOST_WORKFLOWS = 200;
const MOST_WANTED = 200;

/** The least time between two definitions that are read, ms. */
const READ_EVERY_MS = 2_000;

/** A workflow that could not be read, or that lacked a node, is read again after this time, ms. */
const AGAIN_MS = 3_600_000;

/** After an answer that is none, no definition is read for this time, ms. */
const REST_MS = 600_000;

/** The store is not asked again for the names of a workflow within this time, ms. */
const LOAD_EVERY_MS = 1_000;

/** While more of the rate limit than this is used, names wait. */
const SPARE = 0.5;

/** How the definitions of a source are read. */
export interface DefinitionReader {
  readDefinition(workflowId: string): Promise<DefinitionOutcome>;
  /** A permit for one definition, without waiting; null while there is none. */
  claimPermit(): Promise<Permit | null>;
  /** How much of the rate limit is used, 0 to 1. */
  usedShare(): Promise<number>;
}

/** The definitions of one source that are to be read. */
interface Wanted {
  workflowIds: Set<string>;
  restsUntil: number;
}

interface KnownWorkflow {
  names: ReadonlyMap<string, string>;
  /** It is not read again before this time; 0 where this process has not read it. */
  until: number;
  /** When this process last asked the store for it. */
  loadedAt: number;
}

const UNKNOWN: KnownWorkflow = { names: new Map(), until: 0, loadedAt: -Infinity };

/**
 * The names of nodes, from the definitions of workflows. A definition is read once, only for a workflow
 * with streams that say where runs stand, and with what the rate limit leaves; else ids stand alone.
 */
export class NodeNames {
  /** By workflow, what was read first. */
  private readonly known = new Map<string, KnownWorkflow>();
  private readonly wanted = new Map<string, Wanted>();

  constructor(
    private readonly store: Pick<NodeNameStore, 'get' | 'put'>,
    private readonly now: () => number,
  ) {}

  /** Where a run stands, with the names of its nodes that are known. */
  named<Nodes extends SaidNodes>(nodes: Nodes, workflow: WorkflowKey): Nodes {
    const { names } = this.knownOf(workflow);
    return names.size === 0 ? nodes : namedNodes(nodes, names);
  }

  /** Whether nodes have no name, neither here nor there. */
  lacks(nodes: SaidNodes, workflow: WorkflowKey): boolean {
    return unnamedNodes(nodes, this.knownOf(workflow).names).length > 0;
  }

  /** Has the definition of a workflow read, where that may name nodes without a name. */
  want(nodes: SaidNodes, workflow: WorkflowKey): void {
    if (!this.lacks(nodes, workflow) || this.knownOf(workflow).until > this.now()) return;
    const { workflowIds } = this.wantedOf(workflow.source);
    if (workflowIds.size < MOST_WANTED) workflowIds.add(workflow.workflowId);
  }

  /** Whether nodes without a name may have one within so many ms. */
  isExpected(workflow: WorkflowKey, withinMs: number): boolean {
    const { workflowIds, restsUntil } = this.wantedOf(workflow.source);
    return workflowIds.has(workflow.workflowId) && restsUntil <= this.now() + withinMs;
  }

  /** Learns what any process has read of a workflow. */
  async load(workflow: WorkflowKey): Promise<void> {
    const { names, until, loadedAt } = this.knownOf(workflow);
    const now = this.now();
    if (now - loadedAt < LOAD_EVERY_MS) return;
    this.keep(workflow, { names, until, loadedAt: now });
    const stored = await this.store.get(workflow.source, workflow.workflowId);
    if (stored !== null) this.learn(workflow, { names: stored, until });
  }

  /** Reads at most one definition of a source, where one is wanted and nothing is in the way. */
  async tend(source: string, reader: DefinitionReader): Promise<void> {
    const { workflowIds, restsUntil } = this.wantedOf(source);
    const [workflowId] = workflowIds;
    if (workflowId === undefined || this.now() < restsUntil) return;
    const workflow = { source, workflowId };
    const { names, until } = this.knownOf(workflow);
    const isNew = names.size === 0 && until === 0;
    const stored = isNew ? await this.store.get(source, workflowId) : null;
    if (stored === null) await this.read(workflow, reader);
    else this.learn(workflow, { names: stored, until });
  }

  private async read(workflow: WorkflowKey, reader: DefinitionReader): Promise<void> {
    const { source, workflowId } = workflow;
    if ((await reader.usedShare()) > SPARE) return;
    const permit = await reader.claimPermit();
    if (permit === null) return;
    const outcome = await reader.readDefinition(workflowId).finally(() => permit.settle());
    const wanted = this.wantedOf(source);
    const until = this.now() + AGAIN_MS;
    wanted.restsUntil = this.now() + READ_EVERY_MS;
    if (outcome.kind === 'definition') {
      this.learn(workflow, { names: outcome.names, until });
      return this.store.put(source, workflowId, outcome.names);
    }
    this.learn(workflow, { names: this.knownOf(workflow).names, until });
    const isThisOne = outcome.kind === 'not_offered' && outcome.status === 404;
    if (!isThisOne) wanted.restsUntil = this.now() + REST_MS;
  }

  private learn(workflow: WorkflowKey, learned: Omit<KnownWorkflow, 'loadedAt'>): void {
    this.wantedOf(workflow.source).workflowIds.delete(workflow.workflowId);
    this.keep(workflow, { ...learned, loadedAt: this.knownOf(workflow).loadedAt });
  }

  private keep(workflow: WorkflowKey, known: KnownWorkflow): void {
    const name = workflowName(workflow);
    this.known.delete(name);
    this.known.set(name, known);
    if (this.known.size <= MOST_WORKFLOWS) return;
    for (const oldest of this.known.keys()) return void this.known.delete(oldest);
  }

  private knownOf(workflow: WorkflowKey): KnownWorkflow {
    return this.known.get(workflowName(workflow)) ?? UNKNOWN;
  }

  private wantedOf(source: string): Wanted {
    const wanted = this.wanted.get(source) ?? { workflowIds: new Set(), restsUntil: 0 };
    this.wanted.set(source, wanted);
    return wanted;
  }
}
