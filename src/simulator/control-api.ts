import type { IncomingMessage } from 'node:http';
import { answerOf, failure, invalidInput, json, withInput } from './control-answer.ts';
import { scriptsSchema, statsQuery, statusRequest, workflowRequest } from './control-input.ts';
import { faultSchema } from './fault.ts';
import type { Answer } from './http-io.ts';
import type { Ledger } from './ledger.ts';
import type { ScriptInput } from './script-schema.ts';
import { addRun, type Simulation } from './simulation.ts';
import { streamSettingsSchema } from './stream-settings.ts';

const PREFIX = '/_sim/';

const DONE: Answer = { status: 204, body: '' };

/** How many runs `GET /_sim/stats` lists; the rest is counted. */
const MAX_LISTED_RUNS = 1_000;

/** True for requests that are meant for the simulator, not for the Noxus that it simulates. */
export function isControlPath(target: string): boolean {
  return target.startsWith(PREFIX);
}

/** Drives a simulator from another process. JSON in, JSON or problem details out. */
export async function answerControl(
  simulation: Simulation,
  request: IncomingMessage,
): Promise<Answer> {
  const [path = '', query = ''] = (request.url ?? '').slice(PREFIX.length).split('?', 2);
  const place = path.replace(/\/[^/]+$/, '/:id');
  switch (`${request.method} ${place}`) {
    case 'POST runs':
      return withInput(request, scriptsSchema, (scripts) => addRuns(simulation, scripts));
    case 'POST runs/:id':
      return setStatus(simulation, request, path.slice('runs/'.length));
    case 'POST faults':
      return addFault(simulation, request);
    case 'DELETE faults':
      simulation.faults.clear();
      return DONE;
    case 'POST streams':
      return setStreams(simulation, request);
    case 'POST workflows':
      return addWorkflow(simulation, request);
    case 'GET stats':
      return stats(simulation, query);
    case 'DELETE stats':
      simulation.ledger.reset();
      return DONE;
    default:
      return failure(404, 'not_found', `there is no ${request.method} ${PREFIX}${path}`);
  }
}

async function setStatus({ runs }: Simulation, request: IncomingMessage, id: string) {
  return withInput(
    request,
    () => statusRequest,
    (change) => {
      runs.setStatus(id, change);
      return json(200, { id, ...change });
    },
  );
}

async function addFault({ faults }: Simulation, request: IncomingMessage) {
  return withInput(
    request,
    () => faultSchema,
    (fault) => {
      faults.add(fault);
      return json(201, { fault, active: faults.size });
    },
  );
}

async function setStreams(simulation: Simulation, request: IncomingMessage) {
  return withInput(
    request,
    () => streamSettingsSchema,
    (settings) => {
      simulation.streamSettings = { ...simulation.streamSettings, ...settings };
      return json(200, simulation.streamSettings);
    },
  );
}

async function addWorkflow({ workflows }: Simulation, request: IncomingMessage) {
  return withInput(
    request,
    () => workflowRequest,
    (workflow) => {
      workflows.add(workflow);
      return json(201, workflow);
    },
  );
}

function addRuns(simulation: Simulation, scripts: ScriptInput[]): Answer {
  const runs = scripts.map((script) => {
    const { id, workflow_id, created_at } = addRun(simulation, script);
    return { id, workflow_id, created_at };
  });
  return json(201, { runs });
}

function stats({ ledger, runs, faults, streams, callbacks }: Simulation, query: string): Answer {
  const parsed = statsQuery.safeParse(Object.fromEntries(new URLSearchParams(query)));
  if (!parsed.success) return invalidInput(parsed.error);
  const { run_id: runId, from, to } = parsed.data;
  const listed = runId === undefined ? ledger.runIds.slice(0, MAX_LISTED_RUNS) : [runId];
  return answerOf(() =>
    json(200, {
      runs_in_all: runs.size,
      faults: faults.size,
      streams: { opened: streams.opened, open: streams.open, max_open: streams.maxOpen },
      callbacks,
      total: ledger.total,
      lists: ledger.lists,
      statuses: ledger.statuses,
      in_flight: ledger.inFlight,
      max_in_flight: ledger.maxInFlight,
      max_in_flight_per_run: ledger.maxInFlightPerRun,
      ...((from !== undefined || to !== undefined) && {
        between: ledger.requestsBetween(from ?? 0, to ?? Infinity),
      }),
      runs: Object.fromEntries(listed.map((id) => [id, runStats(ledger, id)])),
    }),
  );
}

function runStats(ledger: Ledger, id: string) {
  const { count, inFlight, maxInFlight, times } = ledger.run(id);
  return { count, in_flight: inFlight, max_in_flight: maxInFlight, last_at: times.at(-1) ?? null };
}
