import { type IncomingMessage, STATUS_CODES } from 'node:http';
import { z } from 'zod';
import { RunwatchError, type InputIssue } from '../core/errors.ts';
import { faultSchema } from './fault.ts';
import { type Answer, MAX_BODY_BYTES, readBody } from './http-io.ts';
import { randomScripts, story, STORY_NAMES } from './stories.ts';
import type { RequestLog } from './request-log.ts';
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

/** The most runs that `GET /_sim/stats` lists; the others are only counted. */
const MAX_LISTED_RUNS = 1_000;

/** True for requests to the simulator itself, not to the simulated Noxus. */
export function isControlPath(target: string): boolean {
  return target.startsWith(PREFIX);
}

/** Controls a simulator from another process. Answers are JSON or problem details. */
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
      simulation.requestLog.reset();
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

function stats(
  { requestLog, runs, faults, streams, callbacks }: Simulation,
  query: string,
): Answer {
  const parsed = statsQuery.safeParse(Object.fromEntries(new URLSearchParams(query)));
  if (!parsed.success) return invalidInput(parsed.error);
  const { run_id: runId, from, to } = parsed.data;
  const listed = runId === undefined ? requestLog.runIds.slice(0, MAX_LISTED_RUNS) : [runId];
  return answerOf(() =>
    json(200, {
      runs_in_all: runs.size,
      faults: faults.size,
      streams: { opened: streams.opened, open: streams.open, max_open: streams.maxOpen },
      callbacks,
      total: requestLog.total,
      lists: requestLog.lists,
      stops: requestLog.stops,
      statuses: requestLog.statuses,
      in_flight: requestLog.inFlight,
      max_in_flight: requestLog.maxInFlight,
      max_in_flight_per_run: requestLog.maxInFlightPerRun,
      ...((from !== undefined || to !== undefined) && {
        between: requestLog.requestsBetween(from ?? 0, to ?? Infinity),
      }),
      runs: Object.fromEntries(listed.map((id) => [id, runStats(requestLog, id)])),
    }),
  );
}

function runStats(requestLog: RequestLog, id: string) {
  const { count, inFlight, maxInFlight, times } = requestLog.run(id);
  return { count, in_flight: inFlight, max_in_flight: maxInFlight, last_at: times.at(-1) ?? null };
}

/** Validates a body and passes it on. @returns the answer, or problem details */
async function withInput<Input>(
  request: IncomingMessage,
  schemaFor: (value: unknown) => z.ZodType<Input>,
  use: (input: Input) => Answer,
): Promise<Answer> {
  // A browser sends this type to another site only after a preflight, so no page can get here.
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

/** Turns an error of the simulator into problem details. */
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
      // The rest of a body that is too large is not read.
      ...(status === 413 && { connection: 'close' }),
    },
  };
}

/** With a line feed, for users of curl. */
function json(status: number, value: unknown): Answer {
  return { status, body: `${JSON.stringify(value)}\n` };
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

/** Sets the status of a run by hand. */
const statusRequest = z.strictObject({
  status: statusSchema,
  progress: progressSchema.optional(),
});

/** Adds a workflow, or replaces the one with its id. */
const workflowRequest = z.strictObject({
  id: z.uuid(),
  name: z.string().min(1).max(200),
  story: z.enum(STORY_NAMES).default('completes'),
});

const time = z.coerce.number().int().min(0);

/** The part of the request log to return. */
const statsQuery = z.strictObject({
  run_id: runIdSchema.optional(),
  from: time.optional(),
  to: time.optional(),
});

/** The schema for one of three forms of a request for runs, chosen by key for clear errors. */
function scriptsSchema(value: unknown): z.ZodType<ScriptInput[]> {
  if (typeof value !== 'object' || value === null) return scriptRequest;
  if ('story' in value) return storyRequest;
  return 'random' in value ? randomRequest : scriptRequest;
}
