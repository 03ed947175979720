import { PRIVATE_CANARY } from './wire-run.ts';

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

/** Where each node stands: the progress of a run is that of its nodes, one after another. */
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
export const DEFINITION = {
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

/** What `GET /v1/nodes` answers: the types of {@link DEFINITION}'s nodes. */
export const NODE_CATALOG = [
  nodeType('InputNode', 'Input', { inputs: [], outputs: [connector('output')] }),
  nodeType('TextGenerationNode', 'Text generation', {
    inputs: [connector('input')],
    outputs: [connector('output')],
  }),
  nodeType('OutputNode', 'Output', { inputs: [connector('input')], outputs: [] }),
];
