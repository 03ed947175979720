import { RunwatchError } from '../core/errors.ts';
import { STORIES, STORY_NAMES, type StoryName } from './stories.ts';
import { GROUP_ID, PRIVATE_CANARY } from './wire-run.ts';

/** The nodes of every simulated workflow, in the order in which they run. */
const NODES = [
  { id: 'node-1', type: 'InputNode', name: 'Read document' },
  { id: 'node-2', type: 'TextGenerationNode', name: 'Extract fields' },
  { id: 'node-3', type: 'TextGenerationNode', name: 'Check amounts' },
  { id: 'node-4', type: 'TextGenerationNode', name: 'Write summary' },
  { id: 'node-5', type: 'OutputNode', name: 'Send result' },
] as const;

type NodeStatus = 'pending' | 'running' | 'completed' | 'failed';

export interface NodeState {
  id: string;
  name: string;
  status: NodeStatus;
  /** 0 to 100. */
  progress: number;
}

interface RunState {
  status: string;
  progress: number;
}

/** The state of each node; the nodes of a run work one after another. */
export function nodeStates({ status, progress }: RunState): NodeState[] {
  const share = 100 / NODES.length;
  const isOver = status === 'completed' || status === 'failed' || status === 'stopped';
  const done = status === 'completed' ? 100 : Math.min(Math.max(progress, 0), 99);
  const current = Math.floor(done / share);
  return NODES.map(({ id, name }, index) => {
    if (index < current) return { id, name, status: 'completed', progress: 100 };
    if (index > current || status === 'queued') return { id, name, status: 'pending', progress: 0 };
    const own = Math.trunc(((done - index * share) / share) * 100);
    if (status === 'failed') return { id, name, status: 'failed', progress: own };
    return { id, name, status: isOver ? 'pending' : 'running', progress: own };
  });
}

/** `progress_details` of a run. */
export function progressDetails(state: RunState): Record<string, unknown> {
  const nodes = nodeStates(state);
  const having = (...statuses: NodeStatus[]) =>
    nodes.filter(({ status }) => statuses.includes(status)).map(({ id }) => id);
  return {
    executed_nodes: having('completed'),
    remaining_nodes: having('pending', 'running'),
    running_nodes: having('running'),
    failed_nodes: having('failed'),
    skipped_nodes: [],
    error_handler_nodes: [],
    per_node_progress: Object.fromEntries(nodes.map(({ id, progress }) => [id, progress])),
    subflow_executions: {},
    per_edge_progress: {},
    run_logs: [PRIVATE_CANARY],
  };
}

const point = (index: number, connector: string) => ({
  node_id: NODES[index]?.id,
  connector_name: connector,
});

/** `definition` of a workflow. */
const DEFINITION = {
  flow_version: 'v1',
  nodes: NODES.map(({ id, type, name }, index) => ({
    id,
    type,
    name,
    display: { position: { x: (index + 1) * 350, y: 0 } },
  })),
  edges: NODES.slice(1).map((_, index) => ({
    id: `edge-${index + 1}`,
    from_id: point(index, 'output'),
    to_id: point(index + 1, 'input'),
  })),
};

const connector = (name: string) => ({ name, type: 'connector', data_type: 'str' });

const nodeType = (type: string, title: string, ends: { inputs: object[]; outputs: object[] }) => ({
  type,
  title,
  description: title,
  category: 'Simulated',
  integrations: [],
  ...ends,
  config: {},
  is_available: true,
  visible: true,
  config_endpoint: null,
});

/** The answer of `GET /v1/nodes`: the types of {@link DEFINITION}'s nodes. */
export const NODE_CATALOG = [
  nodeType('InputNode', 'Input', { inputs: [], outputs: [connector('output')] }),
  nodeType('TextGenerationNode', 'Text generation', {
    inputs: [connector('input')],
    outputs: [connector('output')],
  }),
  nodeType('OutputNode', 'Output', { inputs: [connector('input')], outputs: [] }),
];

/** The default workflow; its runs complete unless their input names a story. */
export const DEFAULT_WORKFLOW_ID = '0b9e6f74-25c1-4d0e-8a5b-7c3f1d2e9a60';

const MAX_WORKFLOWS = 10_000;

const CREATED_AT = '2026-01-01T00:00:00.000Z';

/** Stories that need an age or an id, and thus cannot be started by a client. */
const NOT_STARTABLE: ReadonlySet<StoryName> = new Set(['already_finished', 'rejected']);

/** The stories that `POST …/runs` can start. */
export const STARTABLE_STORIES = STORY_NAMES.filter((name) => !NOT_STARTABLE.has(name));

export interface Workflow {
  id: string;
  name: string;
  /** The story of its runs. */
  story: StoryName;
}

/** The workflows of a simulator: one for each story, and added ones. */
export class WorkflowCatalog {
  readonly #workflows = new Map<string, Workflow>();

  constructor() {
    this.#put({ id: DEFAULT_WORKFLOW_ID, name: 'anything', story: 'completes' });
    for (const story of STARTABLE_STORIES) {
      this.#put({ id: workflowOfStory(story), name: story, story });
    }
  }

  get all(): Workflow[] {
    return [...this.#workflows.values()];
  }

  find(id: string): Workflow | null {
    return this.#workflows.get(id.toLowerCase()) ?? null;
  }

  /**
   * Adds a workflow, or replaces the one with its id.
   * @throws RunwatchError `too_many_workflows`
   */
  add(workflow: Workflow): void {
    if (this.#workflows.size >= MAX_WORKFLOWS) {
      throw new RunwatchError(`at most ${MAX_WORKFLOWS} workflows`, { code: 'too_many_workflows' });
    }
    this.#put({ ...workflow, id: workflow.id.toLowerCase() });
  }

  #put(workflow: Workflow): void {
    this.#workflows.set(workflow.id, workflow);
  }
}

/** The id of the workflow of this story; the same in every simulator. */
export function workflowOfStory(story: StoryName): string {
  if (NOT_STARTABLE.has(story)) return DEFAULT_WORKFLOW_ID;
  const place = STORY_NAMES.indexOf(story) + 1;
  return `51a70000-0000-4000-8000-${place.toString(16).padStart(12, '0')}`;
}

/** A workflow as Noxus sends it. */
export function wireWorkflow({ id, name, story }: Workflow): object {
  return {
    id,
    group_id: GROUP_ID,
    name,
    description: `A run of it ${STORIES[story].summary}.`,
    type: 'flow',
    flow_version: DEFINITION.flow_version,
    created_at: CREATED_AT,
    updated_at: CREATED_AT,
    definition: DEFINITION,
  };
}
