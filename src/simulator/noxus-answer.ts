import type { Answer } from './http-io.ts';
import type { Call } from './noxus-call.ts';
import { integerOf, invalid, notUuid, problem, type Complaint } from './noxus-error.ts';
import { bulkDelete, deleteRun } from './run-deletion.ts';
import { searchRuns } from './run-search.ts';
import { startRun } from './run-start.ts';
import type { Simulation } from './simulation.ts';
import { wireWorkflow } from './workflow-catalog.ts';
import { nodeStates } from './workflow-nodes.ts';
import type { PublicRun } from './wire-run.ts';

/** A call with its body, where it has one. */
export interface Asked {
  call: Call;
  /** The value of a JSON body; undefined without one. */
  body: unknown;
  /** How old what is read of runs may be, ms: replicas lag. */
  lagMs: number;
}

/** What Noxus answers, as its server framework words it. */
export function answerCall(simulation: Simulation, asked: Asked): Answer {
  const { call, body } = asked;
  if (isOfOneRun(call)) return answerOfRun(simulation, { ...asked, call });
  switch (call.kind) {
    case 'list_runs':
      return listRuns(simulation, { ...asked, call });
    case 'start_run':
    case 'run_sync':
      return startRun(simulation, call.workflowId, body).answer;
    case 'search_runs':
      return searchRuns(simulation.runs, body);
    case 'delete_run':
      return deleteRun(simulation.runs, call.runId);
    case 'bulk_delete':
      return bulkDelete(simulation.runs, body);
    case 'list_workflows':
      return listWorkflows(simulation, call.query);
    case 'get_workflow':
      return getWorkflow(simulation, call.workflowId);
    case 'fixed':
      return call.answer;
  }
}

function ok(value: unknown): Answer {
  return { status: 200, body: JSON.stringify(value) };
}

type CallOfRun = Exclude<Extract<Call, { runId: string }>, { kind: 'delete_run' }>;

function isOfOneRun(call: Call): call is CallOfRun {
  return 'runId' in call && call.kind !== 'delete_run';
}

function answerOfRun({ runs }: Simulation, { call, lagMs }: Asked & { call: CallOfRun }): Answer {
  const answer = runs.read(call.runId, lagMs);
  if (answer.kind === 'rejected') return invalid(notUuid(['path', 'run_id'], call.runId));
  if (answer.kind === 'not_found') return problem(404, 'Run not found');
  const { run } = answer;
  switch (call.kind) {
    case 'run_events':
      return { status: 200, body: runs.wireText(run) };
    case 'get_run': {
      if (call.workflowId === null) return { status: 200, body: runs.wireText(run) };
      const isOfIt = call.workflowId.toLowerCase() === run.workflow_id.toLowerCase();
      return isOfIt ? { status: 200, body: runs.fullWireText(run) } : problem(404, 'Run not found');
    }
    case 'stop_run':
      return { status: 200, body: runs.fullWireText(runs.stop(run)) };
    case 'run_data':
      return ok({ run_id: run.id, status: run.status, ...runs.ioOf(run), nodes: nodeIo(run) });
    case 'node_io': {
      const node = nodeIo(run)[call.nodeId];
      return node === undefined ? problem(404, 'Node not found') : ok({ ...node, it: 1 });
    }
  }
}

function nodeIo(run: PublicRun): Record<string, object> {
  const io = nodeStates(run).map(({ id, name, status }) => {
    const outputs = status === 'completed' ? { output: `what ${name} made` } : null;
    return [id, { node_id: id, name, status, inputs: { input: `what ${name} got` }, outputs }];
  });
  return Object.fromEntries(io) as Record<string, object>;
}

function listRuns(
  { runs }: Simulation,
  { call, lagMs }: Asked & { call: Extract<Call, { kind: 'list_runs' }> },
): Answer {
  const wanted = pageOf(call.query);
  if ('complaints' in wanted) return invalid(...wanted.complaints);
  const { page, size } = wanted;
  const skip = Math.max(0, (page - 1) * size - (page === 1 ? 0 : call.shift));
  const { runs: items, total } = runs.list({ workflowId: call.workflowId, skip, size, lagMs });
  // Listings carry the large, private fields too, as Noxus's may.
  const texts = items.map((run) => runs.wireText(run)).join(',');
  const pages = Math.ceil(total / size);
  return {
    status: 200,
    body: `{"items":[${texts}],"total":${total},"page":${page},"size":${size},"pages":${pages}}`,
  };
}

function getWorkflow({ workflows }: Simulation, id: string): Answer {
  const workflow = workflows.find(id);
  return workflow === null ? problem(404, 'Workflow not found') : ok(wireWorkflow(workflow));
}

function listWorkflows({ workflows }: Simulation, query: URLSearchParams): Answer {
  const wanted = pageOf(query);
  if ('complaints' in wanted) return invalid(...wanted.complaints);
  const { page, size } = wanted;
  const all = (query.get('type') ?? 'flow') === 'flow' ? workflows.all : [];
  const items = all.slice((page - 1) * size, page * size).map(wireWorkflow);
  return ok({ items, total: all.length, page, size, pages: Math.ceil(all.length / size) });
}

type Page = { page: number; size: number } | { complaints: Complaint[] };

function pageOf(query: URLSearchParams): Page {
  const page = integerOf(query, {
    name: 'page',
    fallback: 1,
    min: 1,
    max: Number.MAX_SAFE_INTEGER,
  });
  const size = integerOf(query, { name: 'size', fallback: 50, min: 1, max: 100 });
  if (typeof page === 'number' && typeof size === 'number') return { page, size };
  return { complaints: [page, size].filter((one) => typeof one !== 'number') };
}
