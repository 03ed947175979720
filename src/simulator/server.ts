import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { answerControl, isControlPath } from './control-api.ts';
import { FaultTable, type Fault, type FaultInput } from './fault.ts';
import { closeServer, listenOnLoopback, send, type LoopbackHost } from './http-io.ts';
import { Ledger } from './ledger.ts';
import { misbehave } from './misbehave.ts';
import { answerCall, parseCall, problem, type Call } from './noxus-api.ts';
import { streamEvents, type StreamBook } from './run-events.ts';
import { RunRegistry } from './run-registry.ts';
import type { ScriptInput } from './script-schema.ts';
import type { RunScript } from './script.ts';
import { addRun, type Simulation } from './simulation.ts';

const DEFAULT_API_KEY = 'noxus-simulator-key';

interface SimulatorOptions {
  /** Default 0: any free port. */
  port?: number;
  host?: LoopbackHost;
  /** What clients have to send as `X-API-Key`. */
  apiKey?: string;
  /** The clock that scripts play by and that the ledger notes. */
  now?: () => number;
  /** How many times as fast as written scripts play; default 1. Ages and stalls stay as they are. */
  speed?: number;
}

/** A fake Noxus. Times are milliseconds since the epoch. */
export interface Simulator {
  /** The base URL, without a slash at its end. */
  readonly url: string;
  readonly apiKey: string;
  /** The book of all requests to the Noxus API. */
  readonly requests: Ledger;
  /** The book of all streams of events; opening one is a request as well. */
  readonly streams: Readonly<StreamBook>;
  /** Adds a scripted run, which plays from now on. @throws RunwatchError `run_exists` */
  add(script: ScriptInput): RunScript;
  /** From now on the run is 404. @returns false when it is so already */
  delete(id: string): boolean;
  /** Takes a run over by hand, at once. @throws RunwatchError `run_not_found` */
  setStatus(id: string, status: string, progress?: number): void;
  /** Spoils the requests that match. */
  fault(rule: FaultInput): void;
  clearFaults(): void;
  /** Stops it, and ends every connection. */
  close(): Promise<void>;
}

/**
 * Starts a fake Noxus on the loopback interface.
 * @throws RunwatchError `port_in_use`, `cannot_listen`
 */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const now = options.now ?? Date.now;
  const apiKey = options.apiKey ?? DEFAULT_API_KEY;
  const runs = new RunRegistry({ now, speed: options.speed ?? 1, newId: randomUUID });
  const faults = new FaultTable();
  const ledger = new Ledger();
  const streams = { opened: 0, open: 0, maxOpen: 0 };
  const simulation = { apiKey, now, runs, faults, ledger, streams };
  const server = createServer((request, response) => {
    handle(simulation, request, response);
  });
  const { port = 0, host = '127.0.0.1' } = options;
  return {
    url: await listenOnLoopback(server, { port, host }),
    apiKey,
    requests: ledger,
    streams,
    add: (script) => addRun(simulation, script),
    delete: (id) => runs.delete(id),
    setStatus: (id, status, progress) => {
      runs.setStatus(id, { status, progress });
    },
    fault: (rule) => {
      faults.add(rule);
    },
    clearFaults: () => {
      faults.clear();
    },
    close: () => closeServer(server),
  };
}

function handle(simulation: Simulation, request: IncomingMessage, response: ServerResponse): void {
  const target = request.url ?? '/';
  if (isControlPath(target)) {
    void serveControl(simulation, request, response);
    return;
  }
  serveNoxus(simulation, request, response);
}

async function serveControl(
  simulation: Simulation,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  send(response, await answerControl(simulation, request));
}

/** Answers a call of the Noxus API. Synchronous unless a fault says otherwise: benchmarks use it. */
function serveNoxus(
  simulation: Simulation,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const { ledger, now } = simulation;
  const call = parseCall(request.method ?? 'GET', request.url ?? '/');
  const runId = call.kind === 'get_run' ? call.runId : null;
  const leave = ledger.enter(runId, now(), call.kind === 'list_runs');
  // A client has its answer as soon as it is written, and may then ask again: it is in flight no more.
  const settle = () => {
    if (response.headersSent) ledger.answered(response.statusCode);
    leave();
  };
  const known = request.headers['x-api-key'] === simulation.apiKey;
  const fault = known ? takeFault(simulation, call) : null;
  if (known && call.kind === 'run_events' && isStreamedUnder(fault)) {
    void serveStream(simulation, response, { runId: call.runId, fault }).then(settle);
    return;
  }
  const shifted = fault?.kind === 'shift' ? { ...call, shift: fault.by } : call;
  const answer = () =>
    known ? answerCall(shifted, simulation.runs) : problem(401, 'Invalid API key');
  if (fault === null) {
    send(response, answer());
    settle();
    return;
  }
  void misbehave(response, { answer, runId, now }, fault).then(settle);
}

function takeFault({ faults }: Simulation, call: Call): Fault | null {
  if (call.kind === 'run_events') return faults.take(call.runId, 'stream');
  return faults.take(call.kind === 'get_run' ? call.runId : null);
}

type Drop = Extract<Fault, { kind: 'drop' }>;

/** A stream that drops is right until then. */
function isStreamedUnder(fault: Fault | null): fault is Drop | null {
  return fault === null || fault.kind === 'drop';
}

async function serveStream(
  { runs, streams }: Simulation,
  response: ServerResponse,
  { runId, fault }: { runId: string; fault: Drop | null },
): Promise<void> {
  if (runs.read(runId).kind !== 'run') {
    send(response, problem(404, 'Run not found'));
    return;
  }
  streams.opened += 1;
  streams.open += 1;
  streams.maxOpen = Math.max(streams.maxOpen, streams.open);
  await streamEvents(response, { runs, runId, dropAfterMs: fault?.after_ms ?? null });
  streams.open -= 1;
}
