import { z } from 'zod';
import { isTerminalStatus, isUuid } from '../core/run/snapshot.ts';
import type { Answer } from './http-io.ts';
import {
  integerOf,
  invalid,
  notUuid,
  problem,
  type Complaint,
  BODY_MISSING,
  complaintsOf,
} from './noxus-error.ts';
import type { RunRegistry } from './run-registry.ts';
import { type Simulation, addRun } from './simulation.ts';
import { story, type StoryName } from './stories.ts';
import type { PublicRun } from './wire-run.ts';
import { nodeStates, wireWorkflow, STARTABLE_STORIES, type Workflow } from './workflow.ts';

/** A call of the simulated Noxus API. Ids are decoded. */
export type Call =
  /** `workflowId` is null for `GET /v1/runs/{run_id}`, which answers without output. */
  | { kind: 'get_run'; runId: string; workflowId: string | null }
  | { kind: 'run_events'; runId: string; etag: string | null }
  | { kind: 'stop_run' | 'run_data'; runId: string }
  | { kind: 'delete_run'; runId: string }
  | { kind: 'node_io'; runId: string; nodeId: string }
  | {
      kind: 'list_runs';
      workflowId: string | null;
      query: URLSearchParams;
      /** How many runs were created since the first page was read. */
      shift: number;
    }
  | { kind: 'start_run'; workflowId: string }
  /** Starts a run and answers once it is over. */
  | { kind: 'run_sync'; workflowId: string; outputOnly: boolean }
  | { kind: 'search_runs' | 'bulk_delete' }
  | { kind: 'list_workflows'; query: URLSearchParams }
  | { kind: 'get_workflow'; workflowId: string }
  /** A call with a constant answer. */
  | { kind: 'fixed'; answer: Answer };

const callbackUrlSchema = z
  .url({ protocol: /^https?$/, error: 'expected an http:// or https:// URL' })
  .max(2_048);

/** Body of `POST /v1/workflows/{workflow_id}/runs`; other fields are ignored. */
const startSchema = z.object({
  input: z.record(z.string(), z.unknown()),
  node_ids: z.array(z.string()).nullish(),
  single_node_id: z.string().nullish(),
  group_id: z.uuid().nullish(),
  workflow_version_id: z.uuid().nullish(),
  callback_url: callbackUrlSchema.nullish(),
});

type StartRequest = z.output<typeof startSchema>;

/** The story of a new run: that of its workflow, unless the input names one. */
function storyOf({ input }: StartRequest, workflow: Workflow): StoryName | Complaint {
  const named = input['story'];
  if (named === undefined) return workflow.story;
  const known = STARTABLE_STORIES.find((name) => name === named);
  if (known !== undefined) return known;
  const names = STARTABLE_STORIES.map((name) => `'${name}'`);
  const expected = `${names.slice(0, -1).join(', ')} or ${names.at(-1) ?? ''}`;
  return {
    type: 'enum',
    loc: ['body', 'input', 'story'],
    msg: `Input should be ${expected}`,
    input: named,
    ctx: { expected },
  };
}

/** Body of `POST /v1/runs/search`. */
const searchSchema = z.object({
  query: z.string(),
  limit: z.int().min(1).max(100).default(10),
  offset: z.int().min(0).default(0),
  exact: z.boolean().default(true),
  search_in: z.array(z.enum(['input', 'output', 'other', 'run_id'])).nullish(),
});

type SearchRequest = z.output<typeof searchSchema>;

/** Body of `POST /v1/runs/bulk/delete`. */
const bulkDeleteSchema = z.object({
  run_ids: z.array(z.string()).max(10_000).nullish(),
  filters: z
    .object({
      to_date: z.iso.datetime({ offset: true }).nullish(),
      workflow_id: z.uuid().nullish(),
    })
    .nullish(),
  expected_count: z.int().nullish(),
  dry_run: z.boolean().default(false),
});

type BulkDeleteRequest = z.output<typeof bulkDeleteSchema>;

/** A call with its body. */
export interface Asked {
  call: Call;
  /** The value of a JSON body; undefined without one. */
  body: unknown;
  /** The age of the runs to answer with, ms, as from a replica that lags. */
  lagMs: number;
}

/** The answer of Noxus, in the words of FastAPI. */
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
  // Lists carry the large private fields too, as those of Noxus may.
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

/** The result of a start; `runId` is null if it was refused. */
interface Start {
  answer: Answer;
  runId: string | null;
}

/** `POST /v1/workflows/{workflow_id}/runs`: answers with the new run. */
export function startRun(simulation: Simulation, workflowId: string, body: unknown): Start {
  const { runs, workflows } = simulation;
  if (!isUuid(workflowId)) return refused(invalid(notUuid(['path', 'workflow_id'], workflowId)));
  if (body === undefined) return refused(invalid(BODY_MISSING));
  const parsed = startSchema.safeParse(body);
  if (!parsed.success) return refused(invalid(...complaintsOf(parsed.error, body)));
  const workflow = workflows.find(workflowId);
  if (workflow === null) return refused(problem(404, 'Workflow not found'));
  const name = storyOf(parsed.data, workflow);
  if (typeof name !== 'string') return refused(invalid(name));
  const { input, workflow_version_id, single_node_id, callback_url: callbackUrl } = parsed.data;
  if (!runs.hasRoomFor(input)) return refused(problem(507, 'The simulator holds too many runs'));
  const { id } = addRun(simulation, {
    ...story(name),
    workflow_id: workflow.id,
    workflow_version_id: workflow_version_id ?? null,
    single_node_id: single_node_id ?? null,
    input,
  });
  if (typeof callbackUrl === 'string') void callBack(simulation, id, callbackUrl);
  return { answer: { status: 200, body: runs.fullText(id) }, runId: id };
}

function refused(answer: Answer): Start {
  return { answer, runId: null };
}

/** How long a receiver may take, ms. */
const TIMEOUT_MS = 10_000;

/**
 * Posts a run to its `callback_url` once it is completed, failed or stopped. As in Noxus, the call is
 * not signed, and not repeated after a failure.
 */
async function callBack(simulation: Simulation, runId: string, url: string): Promise<void> {
  const { runs, callbacks, closing } = simulation;
  const isOver = await runs.until(runId, isTerminalStatus, { signal: closing });
  if (!isOver) return;
  callbacks.sent += 1;
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: runs.fullText(runId),
      redirect: 'manual',
      signal: AbortSignal.any([closing, AbortSignal.timeout(TIMEOUT_MS)]),
    });
    await response.body?.cancel();
  } catch {
    callbacks.failed += 1;
  }
}

/** `DELETE /v1/runs/{run_id}`: a run in flight is not deleted, but listed in `errors`. */
function deleteRun(runs: RunRegistry, runId: string): Answer {
  const answer = runs.read(runId);
  switch (answer.kind) {
    case 'not_found':
      return problem(404, 'Run not found');
    case 'rejected':
      return invalid(notUuid(['path', 'run_id'], runId));
    case 'run':
      return outcome(deleteAll(runs, [answer.run]));
  }
}

/** `POST /v1/runs/bulk/delete`: by ids, or all ended runs created before `to_date`. */
function bulkDelete(runs: RunRegistry, body: unknown): Answer {
  if (body === undefined) return invalid(BODY_MISSING);
  const parsed = bulkDeleteSchema.safeParse(body);
  if (!parsed.success) return invalid(...complaintsOf(parsed.error, body));
  const { run_ids: ids, filters, expected_count: expected, dry_run: dryRun } = parsed.data;
  if (!isGiven(ids) && !isGiven(filters)) {
    return problem(400, 'run_ids or filters must be given');
  }
  const { found, errors } = select(runs, parsed.data);
  const ended = found.filter(({ status }) => isTerminalStatus(status)).length;
  if (typeof expected === 'number' && expected !== ended) {
    return problem(409, `expected ${expected} runs, but ${ended} match`);
  }
  if (dryRun) return outcome({ matched: ended, succeeded: 0, errors: {} });
  const { matched, succeeded, errors: inFlight } = deleteAll(runs, found);
  return outcome({ matched, succeeded, errors: { ...errors, ...inFlight } });
}

/** FastAPI treats null as an absent field. */
function isGiven<Value>(value: Value | null | undefined): value is Value {
  return value !== null && value !== undefined;
}

interface Selection {
  found: PublicRun[];
  errors: Record<string, string>;
}

function select(runs: RunRegistry, { run_ids: ids, filters }: BulkDeleteRequest): Selection {
  if (isGiven(ids)) {
    const found: PublicRun[] = [];
    const errors: Record<string, string> = {};
    for (const id of new Set(ids)) {
      const answer = runs.read(id);
      if (answer.kind === 'run') found.push(answer.run);
      else errors[id] = 'Run not found';
    }
    return { found, errors };
  }
  const until = filters?.to_date;
  const before = isGiven(until) ? Date.parse(until) : Infinity;
  const found = runs
    .all(filters?.workflow_id ?? null)
    .filter((run) => isTerminalStatus(run.status) && Date.parse(run.created_at) < before);
  return { found, errors: {} };
}

interface Deletion {
  matched: number;
  succeeded: number;
  /** Why a run was not deleted, by its id. */
  errors: Record<string, string>;
}

function deleteAll(runs: RunRegistry, found: PublicRun[]): Deletion {
  const errors: Record<string, string> = {};
  let succeeded = 0;
  for (const { id, status } of found) {
    if (isTerminalStatus(status) && runs.delete(id)) succeeded += 1;
    else errors[id] = `Run is still in flight (${status})`;
  }
  return { matched: succeeded, succeeded, errors };
}

function outcome({ matched, succeeded, errors }: Deletion): Answer {
  const failed = Object.keys(errors).length;
  return { status: 200, body: JSON.stringify({ matched, succeeded, failed, errors }) };
}

/** `POST /v1/runs/search`: the runs that contain a text, newest first. */
function searchRuns(runs: RunRegistry, body: unknown): Answer {
  if (body === undefined) return invalid(BODY_MISSING);
  const parsed = searchSchema.safeParse(body);
  if (!parsed.success) return invalid(...complaintsOf(parsed.error, body));
  const { limit, offset } = parsed.data;
  const found = runs.all(null).filter((run) => occursIn(runs, run, parsed.data));
  const texts = found.slice(offset, offset + limit).map((run) => runs.fullWireText(run));
  return { status: 200, body: `{"items":[${texts.join(',')}],"total":${found.length}}` };
}

function occursIn(runs: RunRegistry, run: PublicRun, request: SearchRequest): boolean {
  const { query, exact, search_in: places } = request;
  const { input, output } = runs.ioOf(run);
  const parts = { run_id: run.id, input, output, other: run };
  const texts = (places ?? (['run_id', 'input', 'output'] as const)).map((place) =>
    JSON.stringify(parts[place]).toLowerCase(),
  );
  const words = exact ? [query] : query.split(/\s+/);
  return texts.some((text) => words.every((word) => text.includes(word.toLowerCase())));
}
