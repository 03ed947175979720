import { workflowName, type WorkflowKey } from '../core/cadence/phase.ts';
import { withNamedRuns, withNames, type Namer } from '../core/event/naming.ts';
import type { LinksOf } from '../core/run/links.ts';
import type { NodeNames } from './node-names.ts';
import type { WorkflowNames } from './workflow-names.ts';

/** Names are not asked for between two turns of a source within this time, ms. */
const HURRY_EVERY_MS = 1_000;

/** What has names, of all that a process has. */
interface Naming {
  readonly config: { readonly sources: Readonly<Record<string, unknown>> };
  readonly linksOf: LinksOf;
  readonly workflowNames: WorkflowNames;
  readonly nodeNames: NodeNames;
  readonly now: () => number;
}

/** The workflows of which an event lacks the name, or names of nodes. */
interface Lacking {
  workflows: WorkflowKey[];
  nodes: WorkflowKey[];
}

/**
 * The names of workflows and nodes as this process knows them now, for messages and pages: the text of an
 * event has those that were known when it was made, and programs get it unchanged.
 */
export class KnownNames {
  private readonly namer: Namer;
  /** What reads the names of a source at once, and when it last did. */
  private readonly readers = new Map<string, { read: () => void; at: number }>();

  constructor(private readonly process: Naming) {
    const [first = null, ...others] = Object.keys(process.config.sources);
    this.namer = {
      onlySource: others.length === 0 ? first : null,
      workflow: (workflow, said) => this.nameOf(workflow) ?? said,
      nodes: (workflow, said) => process.nodeNames.named(said, workflow),
    };
  }

  /** The name of a workflow; null where none is known. */
  nameOf({ source, workflowId }: WorkflowKey): string | null {
    const run = { id: '', workflow_id: workflowId, group_id: null };
    return this.process.linksOf({ source, runId: '', run }).workflowName;
  }

  /** Events with the names of now. Throws what the store throws. */
  async named<Event extends { data: object }>(events: readonly Event[]): Promise<Event[]> {
    const lacking = new Map(
      events
        .flatMap((event) => this.lackingIn(event).nodes)
        .map((workflow) => [workflowName(workflow), workflow]),
    );
    await Promise.all([...lacking.values()].map((one) => this.process.nodeNames.load(one)));
    return events.map((event) => withNames(event, this.namer));
  }

  /** An alert as users see it, with the names of now. */
  namedAlert<Alert extends Parameters<typeof withNamedRuns>[0]>(alert: Alert): Alert {
    return withNamedRuns(alert, this.namer);
  }

  /** Has names read at once by what reads those of a source, where a message waits for one. */
  readBy(source: string, read: () => void): void {
    this.readers.set(source, { read, at: -Infinity });
  }

  /**
   * Whether an event lacks a name that may be known within so many ms. It is looked up where another process
   * may have read it, and read at once. Throws what the store throws.
   */
  async isExpected(event: { data: object }, withinMs: number): Promise<boolean> {
    const { workflowNames, nodeNames } = this.process;
    const expectedOf = ({ workflows, nodes }: Lacking) => ({
      workflows: workflows.filter((one) => workflowNames.isExpected(one)),
      nodes: nodes.filter((one) => nodeNames.isExpected(one, withinMs)),
    });
    const { workflows, nodes } = expectedOf(this.lackingIn(event, true));
    const sources = new Set([...workflows, ...nodes].map(({ source }) => source));
    if (sources.size === 0) return false;
    for (const source of sources) this.hurry(source);
    await Promise.all([
      ...[...sources].map((source) => workflowNames.lookUp(source)),
      ...nodes.map((one) => nodeNames.load(one)),
    ]);
    const left = expectedOf(this.lackingIn(event, true));
    return left.workflows.length + left.nodes.length > 0;
  }

  private hurry(source: string): void {
    const reader = this.readers.get(source);
    const now = this.process.now();
    if (reader === undefined || now - reader.at < HURRY_EVERY_MS) return;
    reader.at = now;
    reader.read();
  }

  /** @param areWanted whether names that are lacking are to be read */
  private lackingIn(event: { data: object }, areWanted = false): Lacking {
    const { nodeNames } = this.process;
    const lacking: Lacking = { workflows: [], nodes: [] };
    const noting: Namer = {
      ...this.namer,
      workflow: (workflow, said) => {
        const name = areWanted ? (said ?? this.nameOf(workflow)) : said;
        if (name === null) lacking.workflows.push(workflow);
        return name;
      },
      nodes(workflow, said) {
        if (areWanted) nodeNames.want(said, workflow);
        if (nodeNames.lacks(said, workflow)) lacking.nodes.push(workflow);
        return said;
      },
    };
    withNames(event, noting);
    return lacking;
  }
}
