import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { isTerminalStatus } from '../core/run/snapshot.ts';
import { streamEvents } from './run-stream.ts';
import type { Fault } from './fault.ts';
import { sendFaulty } from './faulty-answer.ts';
import { readBody, send } from './http-io.ts';
import { answerCall, startRun, type Call } from './noxus-answer.ts';
import { problem, BODY_NOT_JSON, invalid, notUuid } from './noxus-error.ts';
import type { Simulation } from './simulation.ts';
import { NODE_CATALOG } from './workflow.ts';

/** How long `runs/sync` waits for the end of a run, ms; the same as in the SDK. */
const SYNC_MS = 120_000;

interface Served {
  call: Call;
  response: ServerResponse;
  body: unknown;
  fault: Fault | null;
}

/** Answers a call of the Noxus API; a call without a body synchronously, for the benchmarks. */
export function serveNoxus(
  simulation: Simulation,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const { requestLog, now } = simulation;
  const call = parseCall(request.method ?? 'GET', request.url ?? '/');
  const endRequest = requestLog.start(
    call.kind === 'get_run' ? call.runId : null,
    now(),
    call.kind === 'list_runs',
  );
  // A client may send its next request as soon as the answer is written, so this one has ended.
  const settle = () => {
    if (response.headersSent) requestLog.answered(response.statusCode);
    endRequest();
  };
  if (call.kind === 'stop_run') requestLog.stopRequested();
  response.setHeader('x-request-id', randomUUID());
  if (request.headers['x-api-key'] !== simulation.apiKey) {
    send(response, problem(401, 'Invalid API key'));
    settle();
    return;
  }
  const fault = takeFault(simulation, call);
  const serve = (body: unknown) => {
    const work = serveCall(simulation, { call, response, body, fault });
    if (work === null) settle();
    else void work.then(settle);
  };
  if (!takesBody(call)) {
    serve(undefined);
    return;
  }
  void readJson(request, response).then((body) => {
    if (body === REFUSED) settle();
    else serve(body);
    return undefined;
  });
}

function takesBody({ kind }: Call): boolean {
  return ['start_run', 'run_sync', 'search_runs', 'bulk_delete'].includes(kind);
}

/** The active fault for this call; null for none. */
function takeFault({ faults }: Simulation, call: Call): Fault | null {
  if (call.kind === 'run_events') return faults.take(call.runId, 'stream');
  if (call.kind === 'get_run') return faults.take(call.runId, 'run');
  if (call.kind === 'stop_run') return faults.take(call.runId, 'stop');
  return faults.take(null, call.kind === 'list_runs' ? 'list' : 'other');
}

/** @returns null if the answer was sent at once */
function serveCall(simulation: Simulation, served: Served): Promise<void> | null {
  const { call, response, body, fault } = served;
  if (call.kind === 'run_events' && isStreamedUnder(fault)) {
    return serveStream(simulation, response, { ...call, fault });
  }
  if (call.kind === 'run_sync' && fault === null) return serveSync(simulation, { ...served, call });
  const shifted =
    fault?.kind === 'shift' && call.kind === 'list_runs' ? { ...call, shift: fault.by } : call;
  const lagMs = fault?.kind === 'lag' ? fault.ms : 0;
  const answer = () => answerCall(simulation, { call: shifted, body, lagMs });
  if (fault === null) {
    send(response, answer());
    return null;
  }
  return sendFaulty(response, { answer, runId: answeredRun(call), at: simulation.now() }, fault);
}

/** The run that the answer to a call shows; null where it shows none, or several. */
function answeredRun(call: Call): string | null {
  return call.kind === 'get_run' || call.kind === 'stop_run' ? call.runId : null;
}

type StreamFault = Extract<Fault, { kind: 'drop' | 'claim' }>;

/** True for faults of a stream that otherwise works: a late drop, or a false status. */
function isStreamedUnder(fault: Fault | null): fault is StreamFault | null {
  return fault === null || fault.kind === 'drop' || fault.kind === 'claim';
}

async function serveStream(
  { runs, streams, streamSettings }: Simulation,
  response: ServerResponse,
  { runId, etag, fault }: { runId: string; etag: string | null; fault: StreamFault | null },
): Promise<void> {
  const answer = runs.read(runId);
  const moment = runs.moment(runId);
  if (answer.kind !== 'run' || moment === null) {
    const isRejected = answer.kind === 'rejected';
    const loc = ['path', 'run_id'];
    send(response, isRejected ? invalid(notUuid(loc, runId)) : problem(404, 'Run not found'));
    return;
  }
  streams.opened += 1;
  if (etag !== null) streams.resumed += 1;
  streams.open += 1;
  streams.maxOpen = Math.max(streams.maxOpen, streams.open);
  await streamEvents(response, {
    runs,
    runId,
    settings: { ...streamSettings, ...moment.script.stream },
    etag,
    dropAfterMs: fault?.kind === 'drop' ? fault.after_ms : null,
    claimed: fault?.kind === 'claim' ? fault.status : null,
  });
  streams.open -= 1;
}

type SyncCall = Extract<Call, { kind: 'run_sync' }>;

async function serveSync(
  simulation: Simulation,
  { call, response, body }: Served & { call: SyncCall },
): Promise<void> {
  const { answer, runId } = startRun(simulation, call.workflowId, body);
  if (runId === null) {
    send(response, answer);
    return;
  }
  const left = new AbortController();
  response.once('close', () => left.abort());
  const signal = AbortSignal.any([simulation.closing, left.signal, AbortSignal.timeout(SYNC_MS)]);
  await simulation.runs.until(runId, isTerminalStatus, { signal });
  const text = simulation.runs.fullText(runId);
  send(response, { status: 200, body: call.outputOnly ? outputOf(text) : text });
}

function outputOf(runText: string): string {
  const { output } = JSON.parse(runText) as { output: object | null };
  return JSON.stringify(output ?? {});
}

/** A body that was refused; its answer is sent. */
const REFUSED = Symbol('refused');

async function readJson(request: IncomingMessage, response: ServerResponse): Promise<unknown> {
  const body = await readBody(request);
  if (body.kind !== 'body') {
    send(response, problem(413, 'Request body too large', { connection: 'close' }));
    return REFUSED;
  }
  if (body.bytes.length === 0) return undefined;
  try {
    return JSON.parse(body.bytes.toString()) as unknown;
  } catch {
    send(response, invalid(BODY_NOT_JSON));
    return REFUSED;
  }
}

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

/** Parses method and path of a request; `target` is the one of the request line. */
function parseCall(method: string, target: string): Call {
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

/** The readings of a path: literally, with a verb as its last part, or with an id there. */
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

/** Percent-decodes; malformed text remains as it is. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
