import type { Answer } from './http-io.ts';
import { problem } from './noxus-error.ts';
import { NODE_CATALOG } from './workflow-nodes.ts';

/** A call of the simulated Noxus API. Ids are as they stand in the path, decoded. */
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
      /** By how many runs the list has moved on since its first page was read. */
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

const NOT_FOUND: Call = { kind: 'fixed', answer: problem(404, 'Not Found') };
const NODES: Call = { kind: 'fixed', answer: { status: 200, body: JSON.stringify(NODE_CATALOG) } };
const API_KEY = {
  id: '51a70000-0000-4000-8000-ffffffffffff',
  name: 'simulator',
  tenant_admin: false,
  value: '***',
};
const ME: Call = { kind: 'fixed', answer: { status: 200, body: JSON.stringify(API_KEY) } };

type MakeCall = (ids: [string, string], query: URLSearchParams) => Call;

/** Paths behind `/v1/`; each `*` is an id. */
const ROUTES = new Map(
  Object.entries<Record<string, MakeCall>>({
    runs: { GET: (_, query) => ({ kind: 'list_runs', workflowId: null, query, shift: 0 }) },
    'runs/search': { POST: () => ({ kind: 'search_runs' }) },
    'runs/bulk/delete': { POST: () => ({ kind: 'bulk_delete' }) },
    'runs/*': {
      GET: ([runId]) => ({ kind: 'get_run', runId, workflowId: null }),
      DELETE: ([runId]) => ({ kind: 'delete_run', runId }),
    },
    'runs/*/events': {
      GET: ([runId], query) => ({ kind: 'run_events', runId, etag: query.get('etag') }),
    },
    'runs/*/stop': { POST: ([runId]) => ({ kind: 'stop_run', runId }) },
    'runs/*/data': { GET: ([runId]) => ({ kind: 'run_data', runId }) },
    'runs/*/io/*': { GET: ([runId, nodeId]) => ({ kind: 'node_io', runId, nodeId }) },
    workflows: { GET: (_, query) => ({ kind: 'list_workflows', query }) },
    'workflows/*': { GET: ([workflowId]) => ({ kind: 'get_workflow', workflowId }) },
    'workflows/*/runs': {
      GET: ([workflowId], query) => ({ kind: 'list_runs', workflowId, query, shift: 0 }),
      POST: ([workflowId]) => ({ kind: 'start_run', workflowId }),
    },
    'workflows/*/runs/*': {
      GET: ([workflowId, runId]) => ({ kind: 'get_run', runId, workflowId }),
    },
    'workflows/*/runs/sync': {
      POST: ([workflowId], query) => ({
        kind: 'run_sync',
        workflowId,
        outputOnly: /^(true|1|yes|on)$/i.test(query.get('output_only') ?? ''),
      }),
    },
    nodes: { GET: () => NODES },
    'admin/me': { GET: () => ME },
  }),
);

/** Reads method and path of a request; `target` is as it stands in the request line. */
export function parseCall(method: string, target: string): Call {
  const [path = '', query = ''] = target.split('?', 2);
  if (!path.startsWith('/v1/')) return NOT_FOUND;
  const parts = path.slice('/v1/'.length).split('/');
  let allowed: string | null = null;
  for (const { route, ids } of readings(parts)) {
    const methods = ROUTES.get(route);
    if (methods === undefined || ids.includes('')) continue;
    const make = methods[method];
    if (make !== undefined) {
      const [first = '', second = ''] = ids.map(decode);
      return make([first, second], new URLSearchParams(query));
    }
    allowed = Object.keys(methods).join(', ');
  }
  if (allowed === null) return NOT_FOUND;
  return { kind: 'fixed', answer: problem(405, 'Method Not Allowed', { allow: allowed }) };
}

/** How a path may be meant: as it stands, with its last part for a verb, or with an id there. */
function readings(parts: string[]): { route: string; ids: string[] }[] {
  const starred = parts.map((part, index) => (index % 2 === 1 ? '*' : part));
  const ids = parts.filter((_, index) => index % 2 === 1);
  const last = parts.at(-1) ?? '';
  return [
    { route: parts.join('/'), ids: [] },
    { route: [...starred.slice(0, -1), last].join('/'), ids: ids.slice(0, (parts.length - 1) / 2) },
    { route: starred.join('/'), ids },
  ];
}

/** Percent-decoding that leaves alone what it cannot read. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
