import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import type { TokenConfig } from '../../config/schema.ts';
import type { InputIssue } from '../../core/errors.ts';
import type { Complete } from '../../core/records.ts';
import { KNOWN_STATUSES } from '../../core/run/snapshot.ts';
import type { WatchRequest } from '../../core/watch/register.ts';
import type { WatchKey } from '../../core/watch/watch.ts';
import { LIMITED, LIMITED_HEAVY, sourcesMeant, sourcesOf } from '../auth.ts';
import { MAX_ISSUES, parse } from '../errors.ts';
import { presentCountedPage } from '../present.ts';
import { InvalidRequest, refusal, summaryOf } from '../problem.ts';
import {
  BODY_PROBLEMS,
  COMMON_PROBLEMS,
  CURSOR_PROBLEMS,
  jsonAnswer,
  problemAnswer,
} from '../schemas/common.ts';
import {
  registration,
  watchPage,
  watchQuery,
  watchRequest,
  batchRequest,
  batchResults,
} from '../schemas/watch.ts';
import type { Registrant, WatchQuery, WatchService, WatchResult } from '../watches.ts';
import { presentWatch, presentReceipt } from './watch.ts';

const tags = ['Watches'];

const registerSchema = {
  tags,
  operationId: 'registerWatch',
  summary: 'Watch a run',
  description:
    'Subscriptions of a run that is already watched are merged, by endpoint name or URL; metadata and timeout are replaced. A watch has up to 50 webhooks. If the run is already settled, the new subscription is notified at once. A token that may not read gets a receipt.',
  body: watchRequest,
  response: {
    200: jsonAnswer('The run was watched already.', registration),
    201: jsonAnswer('The run is watched from now on.', registration),
    ...BODY_PROBLEMS,
    ...COMMON_PROBLEMS,
    409: problemAnswer(
      'The token has registered as many active watches as it may, or the idempotency key came with another request.',
    ),
  },
};

const listSchema = {
  tags,
  operationId: 'listWatches',
  summary: 'List watches, newest first',
  description:
    'A page may have fewer watches than asked for, and still a `next_cursor`: where hardly any of very many watches match, one answer examines a bounded number of them.',
  querystring: watchQuery,
  response: {
    200: jsonAnswer('A page of watches.', watchPage),
    ...COMMON_PROBLEMS,
    ...CURSOR_PROBLEMS,
  },
};

/** Registering and listing watches. */
export const watchesRoutes: FastifyPluginAsyncZod<{ watches: WatchService }> = async (
  app,
  { watches },
) => {
  const registerRoute = { schema: registerSchema, config: LIMITED };
  app.post('/watches', registerRoute, async (request, reply) => {
    const { body, token } = request;
    const [result] = await watches.register([toWatchRequest(body)], registrantOf(token));
    if (result === undefined) throw new Error('a registration without a result');
    if (result.kind === 'invalid') throw new InvalidRequest(result.issues);
    if (result.kind === 'too_many_watches') throw refusal(result.kind, tooManyWatches(token));
    if (result.kind === 'created') reply.code(201).header('location', pathOf(result.watch));
    return presentRegistered(result, token);
  });

  const listRoute = { schema: listSchema, config: LIMITED_HEAVY, preValidation: gatherMetadata };
  app.get('/watches', listRoute, async ({ query, token }) => {
    const known = { watches, sources: sourcesOf(token) };
    await refuseUnknownStatus(query.status ?? [], known);
    await refuseUnknownWorkflow(query.workflow_id ?? [], known);
    await refuseUnknownSource(query.source, { watches, token });
    const page = await watches.list(insideOf(query, token));
    return presentCountedPage(page, presentWatch);
  });
};

/** A query in the words of the inside, all of it. */
function insideOf(
  query: z.output<typeof watchQuery>,
  token: TokenConfig | null,
): Complete<WatchQuery> {
  const { state, status, source, workflow_id: workflowId, metadata, ...others } = query;
  const { since, until, order, limit, cursor, ...rest } = others;
  rest satisfies Record<string, never>;
  const { sources } = sourcesMeant(token, source);
  return { state, status, sources, workflowId, metadata, since, until, order, limit, cursor };
}

interface Known {
  watches: WatchService;
  /** Those that the token is limited to: what others have is not known to it. */
  sources: readonly string[] | undefined;
}

/** A slip would match nothing, and pass for a list with nothing in it. */
async function refuseUnknownStatus(
  statuses: readonly string[],
  { watches, sources }: Known,
): Promise<void> {
  for (const status of statuses) {
    const isKnown = (KNOWN_STATUSES as readonly string[]).includes(status);
    if (isKnown || (await watches.hasStatus(status, sources))) continue;
    const message = `no run has this status; expected any of ${KNOWN_STATUSES.join(', ')}`;
    throw new InvalidRequest([{ path: 'query.status', message }]);
  }
}

async function refuseUnknownWorkflow(
  workflowIds: readonly string[],
  { watches, sources }: Known,
): Promise<void> {
  for (const [at, workflowId] of workflowIds.entries()) {
    if (await watches.hasWorkflow(workflowId, sources)) continue;
    const known = sources === undefined ? await watches.someWorkflows() : [];
    const hint = known.length === 0 ? '' : `; known are ${known.join(', ')}`;
    const message = `no run of this workflow is watched${hint}`;
    throw new InvalidRequest([{ path: `query.workflow_id.${at}`, message }]);
  }
}

/**
 * A source that is configured no more may still have watches. To a limited token every other source is
 * refused alike, so that it learns of none whether it exists.
 */
export async function refuseUnknownSource(
  source: string | undefined,
  { watches, token }: { watches: WatchService; token: TokenConfig | null },
): Promise<void> {
  sourcesMeant(token, source);
  if (source === undefined || (await watches.hasSource(source))) return;
  const sources = sourcesOf(token) ?? watches.sources;
  const message = `no source is named "${source}"; expected one of: ${sources.join(', ')}`;
  throw new InvalidRequest([{ path: 'query.source', message }]);
}

/** A query names each entry of metadata by a field of its own, `metadata.<key>`. */
async function gatherMetadata(request: { query: unknown }): Promise<void> {
  const fields = Object.entries(request.query as Record<string, unknown>);
  const others = fields.filter(([name]) => !name.startsWith(METADATA));
  if (others.length === fields.length) return;
  const entries = fields
    .filter(([name]) => name.startsWith(METADATA))
    .map(([name, value]) => [name.slice(METADATA.length), value]);
  request.query = { ...Object.fromEntries(others), metadata: Object.fromEntries(entries) };
}

const METADATA = 'metadata.';

function pathOf({ runId, source }: WatchKey): string {
  return `/v1/watches/${runId}?source=${encodeURIComponent(source)}`;
}

/** A checked body in the words of the inside. */
export function toWatchRequest(body: z.output<typeof watchRequest>): WatchRequest {
  const { run_id: runId, timeout: timeoutMs, max_delay: maxDelayMs, ...same } = body;
  return {
    ...same,
    runId,
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...(maxDelayMs !== undefined && { maxDelayMs }),
  };
}

function registrantOf(token: TokenConfig | null): Registrant {
  return {
    token: token?.name ?? null,
    mostWatches: token?.max_watches ?? null,
    ...sourcesMeant(token),
  };
}

function tooManyWatches(token: TokenConfig | null): string {
  return `the token "${token?.name}" has registered ${token?.max_watches} active watches, the most that it may (max_watches): end some, or wait until they end`;
}

type BatchResult = z.output<typeof batchResults>['results'][number];

const batchSchema = {
  tags: ['Watches'],
  operationId: 'registerWatches',
  summary: 'Watch many runs',
  description: 'One result for each watch, in order; a bad one spoils no other.',
  body: batchRequest,
  response: {
    200: jsonAnswer('What became of each watch.', batchResults),
    ...BODY_PROBLEMS,
    ...COMMON_PROBLEMS,
  },
};

/** Registering many watches at once. */
export const watchBatchRoute: FastifyPluginAsyncZod<{ watches: WatchService }> = async (
  app,
  { watches },
) => {
  const batchRoute = { schema: batchSchema, config: LIMITED };
  app.post('/watches/batch', batchRoute, async ({ body, token }) => {
    const parsed = body.watches.map((item) => parse(watchRequest, item));
    const good = parsed.flatMap((item) => (item.ok ? [toWatchRequest(item.value)] : []));
    const outcomes = good.length === 0 ? [] : await watches.register(good, registrantOf(token));
    const registered = outcomes.values();
    const results = parsed.map((item, index) => {
      const given: GivenItem = { index, runId: givenRunId(body.watches[index]) };
      if (!item.ok) return invalid(given, item.issues);
      return presentOutcome(given, registered.next().value, token);
    });
    return { results: limitProblems(results) };
  });
};

/** One answer lists a limited number of problems; the others are still said in a sentence each. */
function limitProblems(results: BatchResult[]): BatchResult[] {
  let left = MAX_ISSUES;
  return results.map((result) => {
    if (result.error === undefined) return result;
    const errors = result.error.errors.slice(0, left);
    left -= errors.length;
    return { ...result, error: { ...result.error, errors } };
  });
}

interface GivenItem {
  index: number;
  /** As it was given; null where that is no string. */
  runId: string | null;
}

function presentOutcome(
  item: GivenItem,
  outcome: WatchResult | undefined,
  token: TokenConfig | null,
): BatchResult {
  if (outcome === undefined) throw new Error('a registration without a result');
  if (outcome.kind === 'invalid') return invalid(item, outcome.issues);
  if (outcome.kind === 'too_many_watches') {
    const detail = tooManyWatches(token);
    return { run_id: item.runId, status: 409, error: { code: outcome.kind, detail, errors: [] } };
  }
  const status = outcome.kind === 'created' ? 201 : 200;
  return { run_id: item.runId, status, watch: presentRegistered(outcome, token) };
}

function invalid({ index, runId }: GivenItem, issues: InputIssue[]): BatchResult {
  const errors = issues.map(({ path, message }) => ({
    path: path === '' ? `watches.${index}` : `watches.${index}.${path}`,
    message,
  }));
  const detail = summaryOf(errors);
  return { run_id: runId, status: 422, error: { code: 'invalid_request', detail, errors } };
}

function givenRunId(item: unknown): string | null {
  const { run_id: runId } = (item ?? {}) as { run_id?: unknown };
  return typeof runId === 'string' ? runId : null;
}

type Registered = Extract<WatchResult, { watch: unknown }>;

/** A watch as its registration is answered with; what others gave is left out where the token may not read. */
function presentRegistered(
  { watch, webhookSecret }: Registered,
  token: TokenConfig | null,
): z.output<typeof registration> {
  return {
    ...presentReceipt(watch, token),
    ...(webhookSecret !== null && { webhook_secret: webhookSecret }),
  };
}
