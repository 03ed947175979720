import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { isTerminalStatus } from '../core/run/snapshot.ts';
import type { Fault } from './fault.ts';
import { readBody, send } from './http-io.ts';
import { misbehave } from './misbehave.ts';
import { answerCall } from './noxus-answer.ts';
import { parseCall, type Call } from './noxus-call.ts';
import { BODY_NOT_JSON, invalid, notUuid, problem } from './noxus-error.ts';
import { streamEvents } from './run-events.ts';
import { startRun } from './run-start.ts';
import type { Simulation } from './simulation.ts';

/** How long `runs/sync` waits for the end of a run, ms: as long as the SDK does. */
const SYNC_MS = 120_000;

interface Served {
  call: Call;
  response: ServerResponse;
  body: unknown;
  fault: Fault | null;
}

/** Answers a call of the Noxus API. Synchronous where there is no body: benchmarks use it. */
export function serveNoxus(
  simulation: Simulation,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const { ledger, now } = simulation;
  const call = parseCall(request.method ?? 'GET', request.url ?? '/');
  const leave = ledger.enter(
    call.kind === 'get_run' ? call.runId : null,
    now(),
    call.kind === 'list_runs',
  );
  // A client has its answer as soon as it is written, and may then ask again: it is in flight no more.
  const settle = () => {
    if (response.headersSent) ledger.answered(response.statusCode);
    leave();
  };
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

/** Which of the faults in force spoils this call. */
function takeFault({ faults }: Simulation, call: Call): Fault | null {
  if (call.kind === 'run_events') return faults.take(call.runId, 'stream');
  if (call.kind === 'get_run') return faults.take(call.runId, 'run');
  return faults.take(null, call.kind === 'list_runs' ? 'list' : 'other');
}

/** @returns null where the answer was sent at once */
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
  const runId = call.kind === 'get_run' ? call.runId : null;
  return misbehave(response, { answer, runId, now: simulation.now }, fault);
}

type StreamFault = Extract<Fault, { kind: 'drop' | 'claim' }>;

/** A stream that drops is right until then, and one that lies is a stream all the same. */
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

/** Stands for a body that was refused, with its answer sent. */
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
