import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { answerControl, isControlPath } from './control-api.ts';
import { SIMULATOR_API_KEY, addRun, type CallbackCounts, type Simulation } from './simulation.ts';
import { FaultTable, type FaultInput } from './fault.ts';
import { closeServer, listenOnLoopback, send, type LoopbackHost } from './http-io.ts';
import { RequestLog } from './request-log.ts';
import type { StreamCounts } from './run-stream.ts';
import { RunRegistry } from './run-registry.ts';
import {
  type ScriptInput,
  type RunScript,
  DEFAULT_STREAM_SETTINGS,
  type StreamSettingsInput,
} from './script.ts';
import { serveNoxus } from './noxus-api.ts';
import { WorkflowCatalog } from './workflow.ts';

interface SimulatorOptions {
  /** Default 0: any free port. */
  port?: number;
  host?: LoopbackHost;
  /** The `X-API-Key` that clients must send. */
  apiKey?: string;
  /** The clock of scripts and of the request log. */
  now?: () => number;
  /** The speed of scripts; default 1. Ages and stalls are not scaled. */
  speed?: number;
}

/** A fake Noxus. Times are milliseconds since the epoch. */
export interface Simulator {
  /** The base URL, without a slash at its end. */
  readonly url: string;
  readonly apiKey: string;
  /** The log of all requests to the Noxus API. */
  readonly requests: RequestLog;
  /** Counts of event streams; opening one is a request as well. */
  readonly streams: Readonly<StreamCounts>;
  /** Counts of callbacks. */
  readonly callbacks: Readonly<CallbackCounts>;
  /** Adds a scripted run and starts it. @throws RunwatchError `run_exists` */
  add(script: ScriptInput): RunScript;
  /** Takes another API key, and refuses the one before it. */
  useApiKey(apiKey: string): void;
  /** Makes reads of the run answer 404. @returns false if they do already */
  delete(id: string): boolean;
  /** Sets the status of a run, which ends its script. @throws RunwatchError `run_not_found` */
  setStatus(id: string, status: string, progress?: number): void;
  /** Changes the settings of event streams; absent settings do not change. */
  setStreams(settings: StreamSettingsInput): void;
  /** Adds a fault for matching requests. */
  fault(rule: FaultInput): void;
  clearFaults(): void;
  /** Stops it and closes every connection. */
  close(): Promise<void>;
}

/**
 * Starts a fake Noxus on the loopback interface.
 * @throws RunwatchError `port_in_use`, `cannot_listen`
 */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const now = options.now ?? Date.now;
  const apiKey = options.apiKey ?? SIMULATOR_API_KEY;
  const runs = new RunRegistry(now, options.speed ?? 1, randomUUID);
  const faults = new FaultTable();
  const requestLog = new RequestLog();
  const closing = new AbortController();
  const simulation: Simulation = {
    apiKey,
    now,
    runs,
    faults,
    requestLog,
    streams: { opened: 0, resumed: 0, open: 0, maxOpen: 0 },
    callbacks: { sent: 0, failed: 0 },
    workflows: new WorkflowCatalog(),
    streamSettings: DEFAULT_STREAM_SETTINGS,
    closing: closing.signal,
  };
  const server = createServer((request, response) => {
    handle(simulation, request, response);
  });
  const { port = 0, host = '127.0.0.1' } = options;
  return {
    url: await listenOnLoopback(server, { port, host }),
    get apiKey() {
      return simulation.apiKey;
    },
    useApiKey: (next) => void (simulation.apiKey = next),
    requests: requestLog,
    streams: simulation.streams,
    callbacks: simulation.callbacks,
    add: (script) => addRun(simulation, script),
    delete: (id) => runs.delete(id),
    setStatus: (id, status, progress) => {
      runs.setStatus(id, { status, progress });
    },
    setStreams: (settings) => {
      simulation.streamSettings = { ...simulation.streamSettings, ...settings };
    },
    fault: (rule) => {
      faults.add(rule);
    },
    clearFaults: () => {
      faults.clear();
    },
    close: () => {
      closing.abort();
      return closeServer(server);
    },
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
