import { z } from 'zod';
import type { Answer } from './http-io.ts';
import type { RunRegistry } from './run-registry.ts';

/** A call of the simulated Noxus API. */
export type Call =
  | { kind: 'get_run' | 'delete_run' | 'run_events'; runId: string }
  | {
      kind: 'list_runs';
      workflowId: string | null;
      query: string;
      /** By how many runs the list has moved on since its first page was read. */
      shift: number;
    }
  | { kind: 'unknown_path' }
  | { kind: 'unknown_method' };

const pageQuery = z.object({
  page: z.coerce.number().int().min(1).default(1),
  size: z.coerce.number().int().min(1).max(100).default(50),
});

/** Reads method and path of a request; `target` is as it stands in the request line. */
export function parseCall(method: string, target: string): Call {
  const [path = '', query = ''] = target.split('?', 2);
  const [, version, collection, id, rest, more] = path.split('/');
  if (version !== 'v1' || more !== undefined) return { kind: 'unknown_path' };
  if (collection === 'runs' && id !== undefined && isOfOneRun(rest)) {
    return runCall(method, decode(id), rest === 'events');
  }
  const isList = collection === 'runs' ? id === undefined : isWorkflowRuns(collection, rest);
  if (!isList) return { kind: 'unknown_path' };
  if (method !== 'GET') return { kind: 'unknown_method' };
  return { kind: 'list_runs', workflowId: id === undefined ? null : decode(id), query, shift: 0 };
}

function isOfOneRun(rest: string | undefined): boolean {
  return rest === undefined || rest === 'events';
}

function isWorkflowRuns(collection: string | undefined, rest: string | undefined): boolean {
  return collection === 'workflows' && rest === 'runs';
}

function runCall(method: string, runId: string, ofEvents: boolean): Call {
  if (runId === '') return { kind: 'unknown_path' };
  if (ofEvents)
    return method === 'GET' ? { kind: 'run_events', runId } : { kind: 'unknown_method' };
  if (method === 'GET') return { kind: 'get_run', runId };
  if (method === 'DELETE') return { kind: 'delete_run', runId };
  return { kind: 'unknown_method' };
}

/** Percent-decoding that leaves alone what it cannot read. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** What Noxus answers, as its server framework words it. */
export function answerCall(call: Call, runs: RunRegistry): Answer {
  switch (call.kind) {
    case 'get_run':
    case 'run_events':
      return getRun(call.runId, runs);
    case 'delete_run':
      return runs.delete(call.runId) ? { status: 204, body: '' } : problem(404, 'Run not found');
    case 'list_runs':
      return listRuns(call, runs);
    case 'unknown_path':
      return problem(404, 'Not Found');
    case 'unknown_method':
      return problem(405, 'Method Not Allowed');
  }
}

export function problem(status: number, detail: string): Answer {
  return { status, body: JSON.stringify({ detail }) };
}

function getRun(runId: string, runs: RunRegistry): Answer {
  const answer = runs.read(runId);
  switch (answer.kind) {
    case 'run':
      return { status: 200, body: runs.wireText(answer.run) };
    case 'not_found':
      return problem(404, 'Run not found');
    case 'rejected':
      return invalid(['path', 'run_id'], 'Input should be a valid UUID', 'uuid_parsing');
  }
}

function listRuns(call: Extract<Call, { kind: 'list_runs' }>, runs: RunRegistry): Answer {
  const query = pageQuery.safeParse(Object.fromEntries(new URLSearchParams(call.query)));
  if (!query.success) {
    const [issue] = query.error.issues;
    const field = String(issue?.path[0] ?? 'page');
    return invalid(['query', field], issue?.message ?? 'invalid', 'value_error');
  }
  const { page, size } = query.data;
  const skip = Math.max(0, (page - 1) * size - (page === 1 ? 0 : call.shift));
  const { runs: items, total } = runs.list({ workflowId: call.workflowId, skip, size });
  // Listings carry the large, private fields too, as Noxus's may.
  const texts = items.map((run) => runs.wireText(run)).join(',');
  const pages = Math.ceil(total / size);
  return {
    status: 200,
    body: `{"items":[${texts}],"total":${total},"page":${page},"size":${size},"pages":${pages}}`,
  };
}

/** `HTTPValidationError` of Noxus's OpenAPI document. */
function invalid(loc: string[], msg: string, type: string): Answer {
  return { status: 422, body: JSON.stringify({ detail: [{ loc, msg, type }] }) };
}
