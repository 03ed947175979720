import { workflowName, type WorkflowKey } from '../core/cadence/phase.ts';
import { withNamedRuns, withNames, type Namer } from '../core/event/naming.ts';
import type { LinksOf } from '../core/run/links.ts';
import type { NodeNames } from './node-names.ts';

/**
 * The names of workflows and nodes as this process knows them now, for messages and pages: the text of an
 * event has those that were known when it was made, and programs get it unchanged.
 */
export class KnownNames {
  private readonly namer: Namer;

  /** @param sources the names of the sources that are configured */
  constructor(
    private readonly linksOf: LinksOf,
    private readonly nodeNames: NodeNames,
    sources: readonly string[],
  ) {
    this.namer = {
      onlySource: sources.length === 1 ? (sources[0] ?? null) : null,
      workflow: (workflow, said) => this.nameOf(workflow) ?? said,
      nodes: (workflow, said) => nodeNames.named(said, workflow),
    };
  }

  /** The name of a workflow; null where none is known. */
  nameOf({ source, workflowId }: WorkflowKey): string | null {
    const run = { id: '', workflow_id: workflowId, group_id: null };
    return this.linksOf({ source, runId: '', run }).workflowName;
  }

  /** Events with the names of now. Throws what the store throws. */
  async named<Event extends { data: object }>(events: readonly Event[]): Promise<Event[]> {
    await this.loadNodes(events);
    return events.map((event) => withNames(event, this.namer));
  }

  /** An alert as users see it, with the names of now. */
  namedAlert<Alert extends Parameters<typeof withNamedRuns>[0]>(alert: Alert): Alert {
    return withNamedRuns(alert, this.namer);
  }

  /** Learns the names of nodes that any process has read, where an event lacks some. */
  private async loadNodes(events: readonly { data: object }[]): Promise<void> {
    const { nodeNames } = this;
    const lacking = new Map<string, WorkflowKey>();
    const noting: Namer = {
      ...SAID,
      nodes(workflow, said) {
        if (nodeNames.lacks(said, workflow)) lacking.set(workflowName(workflow), workflow);
        return said;
      },
    };
    for (const event of events) withNames(event, noting);
    await Promise.all([...lacking.values()].map((workflow) => nodeNames.load(workflow)));
  }
}

/** Leaves all names as they are. */
const SAID: Namer = {
  onlySource: null,
  workflow: (_, said) => said,
  nodes: (_, said) => said,
};
