import { namedNodes, type RunNodes } from '../core/run/nodes.ts';
import type { Source } from './source.ts';

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

/**
 * The names of nodes, from the definitions of workflows. A definition is read once, only for a workflow
 * with streams that say where runs stand, and with what the rate limit leaves; else ids stand alone.
 */
export class NodeNames {
  /** By workflow, what was read first; a workflow is not read again before a time. */
  private readonly known = new Map<string, { names: ReadonlyMap<string, string>; until: number }>();
  private readonly wanted = new Set<string>();
  private restsUntil = 0;

  constructor(private readonly source: Source) {}

  /** Where a run stands, with the names of its nodes; those that are not known are wanted. */
  named(nodes: RunNodes, workflowId: string | null): RunNodes {
    if (workflowId === null || !this.source.traits.names) return nodes;
    const { names = new Map<string, string>(), until = 0 } = this.known.get(workflowId) ?? {};
    const isLacking = [...nodes.failed, ...nodes.running].some((id) => !names.has(id));
    const mayRead = until <= this.source.process.now() && this.wanted.size < MOST_WANTED;
    if (isLacking && mayRead) this.wanted.add(workflowId);
    return names.size === 0 ? nodes : namedNodes(nodes, names);
  }

  /** Reads at most one definition, where one is wanted and nothing is in the way. */
  async tend(): Promise<void> {
    const [workflowId] = this.wanted;
    const { process, name } = this.source;
    if (workflowId === undefined || process.now() < this.restsUntil) return;
    const stored = this.known.has(workflowId)
      ? null
      : await process.stores.nodeNames.get(name, workflowId);
    if (stored === null) await this.read(workflowId);
    else this.learn(workflowId, stored, 0);
  }

  private async read(workflowId: string): Promise<void> {
    const { process, name, limiter, reader } = this.source;
    const { now } = process;
    if ((await limiter.usedShare()) > SPARE) return;
    const permit = await limiter.claim();
    if (permit === null) return;
    const outcome = await reader.readDefinition(workflowId).finally(() => permit.settle());
    this.restsUntil = now() + READ_EVERY_MS;
    if (outcome.kind === 'definition') {
      this.learn(workflowId, outcome.names, now() + AGAIN_MS);
      return process.stores.nodeNames.put(name, workflowId, outcome.names);
    }
    const { names = new Map<string, string>() } = this.known.get(workflowId) ?? {};
    this.learn(workflowId, names, now() + AGAIN_MS);
    const isThisOne = outcome.kind === 'not_offered' && outcome.status === 404;
    if (!isThisOne) this.restsUntil = now() + REST_MS;
  }

  /** @param until when the definition may be read again */
  private learn(workflowId: string, names: ReadonlyMap<string, string>, until: number): void {
    this.wanted.delete(workflowId);
    this.known.delete(workflowId);
    this.known.set(workflowId, { names, until });
    if (this.known.size <= MOST_WORKFLOWS) return;
    for (const oldest of this.known.keys()) return void this.known.delete(oldest);
  }
}
