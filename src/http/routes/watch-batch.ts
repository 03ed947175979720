import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import type { InputIssue } from '../../core/errors.ts';
import { mayRead } from '../auth.ts';
import { presentRegistered } from '../present.ts';
import { summaryOf } from '../problem.ts';
import { BODY_PROBLEMS, COMMON_PROBLEMS, jsonAnswer } from '../schemas/common.ts';
import { batchRequest, batchResults, watchRequest } from '../schemas/watch.ts';
import type { WatchResult, WatchService } from '../services.ts';
import { MAX_ISSUES, parse } from '../validation.ts';
import { toWatchRequest } from '../watch-request.ts';

type BatchResult = z.output<typeof batchResults>['results'][number];

const schema = {
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
  app.post('/watches/batch', { schema }, async ({ body, scopes }) => {
    const shown = { mayRead: mayRead(scopes) };
    const parsed = body.watches.map((item) => parse(watchRequest, item));
    const good = parsed.flatMap((item) => (item.ok ? [toWatchRequest(item.value)] : []));
    const outcomes = good.length === 0 ? [] : await watches.register(good);
    const registered = outcomes.values();
    const results = parsed.map((item, index) => {
      const given: GivenItem = { index, runId: givenRunId(body.watches[index]) };
      if (!item.ok) return invalid(given, item.issues);
      return presentOutcome(given, registered.next().value, shown);
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
  shown: { mayRead: boolean },
): BatchResult {
  if (outcome === undefined) throw new Error('a registration without a result');
  if (outcome.kind === 'invalid') return invalid(item, outcome.issues);
  const status = outcome.kind === 'created' ? 201 : 200;
  return { run_id: item.runId, status, watch: presentRegistered(outcome, shown) };
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
