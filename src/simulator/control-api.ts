import { type IncomingMessage, STATUS_CODES } from 'node:http';
import { z } from 'zod';
import { RunwatchError, type InputIssue } from '../core/errors.ts';
import { faultSchema } from './fault.ts';
import { type Answer, MAX_BODY_BYTES, readBody } from './http-io.ts';
import { randomScripts, story, STORY_NAMES } from './stories.ts';
import type { Ledger } from './request-log.ts';
import {
  type ScriptInput,
  progressSchema,
  runIdSchema,
  scriptSchema,
  statusSchema,
  streamSettingsSchema,
} from './script.ts';
import { addRun, type Simulation } from './simulation.ts';
import { workflowOfStory } from './workflow.ts';

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

/** Reads and checks a body, then does what it asks for. */
async function withInput<Input>(
  request: IncomingMessage,
  schemaFor: (value: unknown) => z.ZodType<Input>,
  use: (input: Input) => Answer,
): Promise<Answer> {
  // Browsers cannot send this to another site without asking first: no page can drive a simulator.
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '')) {
    return failure(415, 'unsupported_media_type', 'expected content-type: application/json');
  }
  const body = await readBody(request);
  if (body.kind !== 'body') {
    const limit = `expected a body of at most ${MAX_BODY_BYTES} bytes`;
    return failure(413, 'body_too_large', limit);
  }
  const value = parseJson(body.bytes.toString());
  if (value === undefined) return failure(400, 'malformed_json', 'expected JSON');
  const parsed = schemaFor(value).safeParse(value);
  return parsed.success ? answerOf(() => use(parsed.data)) : invalidInput(parsed.error);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const STATUS_OF_CODE: Record<string, number> = { run_not_found: 404 };

/** Turns what the simulator refuses to do into an answer. */
function answerOf(act: () => Answer): Answer {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof RunwatchError)) throw error;
    return failure(STATUS_OF_CODE[error.code] ?? 409, error.code, error.message);
  }
}

function invalidInput(error: z.ZodError): Answer {
  const errors = error.issues.map(({ path, message }) => ({ path: path.join('.'), message }));
  return failure(422, 'invalid_input', 'the request is not as expected', errors);
}

/** Problem details (RFC 9457). */
function failure(status: number, code: string, detail: string, errors?: InputIssue[]): Answer {
  const title = STATUS_CODES[status] ?? 'Error';
  const document = { type: 'about:blank', title, status, detail, code, ...(errors && { errors }) };
  return {
    status,
    body: JSON.stringify(document),
    headers: {
      'content-type': 'application/problem+json',
      // What is left of a body that is too large will not be read.
      ...(status === 413 && { connection: 'close' }),
    },
  };
}

function json(status: number, value: unknown): Answer {
  return { status, body: JSON.stringify(value) };
}

const storyRequest = z
  .strictObject({
    story: z.enum(STORY_NAMES),
    id: runIdSchema.optional(),
    workflow_id: z.uuid().optional(),
    starts: z.enum(['at_once', 'when_read']).optional(),
  })
  .transform(({ story: name, ...rest }): ScriptInput[] => [
    { workflow_id: workflowOfStory(name), ...story(name), ...rest },
  ]);

const randomRequest = z
  .strictObject({
    random: z.strictObject({
      count: z.int().min(1).max(10_000),
      seed: z.int().min(0).max(0xffff_ffff).default(0),
      within_ms: z.int().min(10).max(86_400_000).default(30_000),
      min_pause_ms: z.int().min(1).max(86_400_000).optional(),
    }),
  })
  .transform(({ random }) => randomScripts(random));

const scriptRequest = scriptSchema.transform((script): ScriptInput[] => [script]);

/** A status that takes over a run. */
const statusRequest = z.strictObject({
  status: statusSchema,
  progress: progressSchema.optional(),
});

/** A workflow of the user's own; one with the same id is replaced. */
const workflowRequest = z.strictObject({
  id: z.uuid(),
  name: z.string().min(1).max(200),
  story: z.enum(STORY_NAMES).default('completes'),
});

const time = z.coerce.number().int().min(0);

/** Which part of the request log to return. */
const statsQuery = z.strictObject({
  run_id: runIdSchema.optional(),
  from: time.optional(),
  to: time.optional(),
});

/** Runs are asked for in three ways; choosing by key gives errors that speak of the way meant. */
function scriptsSchema(value: unknown): z.ZodType<ScriptInput[]> {
  if (typeof value !== 'object' || value === null) return scriptRequest;
  if ('story' in value) return storyRequest;
  return 'random' in value ? randomRequest : scriptRequest;
}
