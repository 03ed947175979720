import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { Complete } from '../../core/records.ts';
import { canonicalRunId } from '../../core/run/snapshot.ts';
import type { LookupRequest, LookupStore } from '../../redis/stores/lookup-store.ts';
import { LIMITED_HEAVY, sourcesMeant, sourcesOf } from '../auth.ts';
import { COMMON_PROBLEMS, jsonAnswer } from '../schemas/common.ts';
import { lookupAnswer, lookupQuery } from '../schemas/lookup.ts';

const schema = {
  tags: ['Watches'],
  operationId: 'lookup',
  summary: 'Find ids by how they begin',
  description:
    'For people who type a part of an id. Runs are found among all watches, also by the last part of an id with slashes; events and deliveries among the newest 5,000.',
  querystring: lookupQuery,
  response: {
    200: jsonAnswer('What was found; perhaps nothing.', lookupAnswer),
    ...COMMON_PROBLEMS,
  },
};

/** Finding ids by their beginnings. */
export const lookupRoutes: FastifyPluginAsyncZod<{ lookup: LookupStore }> = async (
  app,
  { lookup },
) => {
  app.get('/lookup', { schema, config: LIMITED_HEAVY }, async ({ query, token }) => {
    const { kind, prefix, limit, ...rest } = query;
    rest satisfies Record<string, never>;
    // Ids of events and deliveries do not say which source they belong to.
    if (sourcesOf(token) !== undefined && kind !== 'run') return { data: [], more: false };
    const meant: Complete<LookupRequest> = {
      kind,
      prefix: canonicalPrefix(kind, prefix),
      limit,
      sources: sourcesMeant(token).sources,
    };
    const { found, more } = await lookup.find(meant);
    return { data: found, more };
  });
};

/** UUIDs are kept in lower case, and so are their beginnings. */
function canonicalPrefix(kind: LookupRequest['kind'], prefix: string): string {
  if (kind !== 'run') return prefix;
  return /^[0-9a-f]{8}(-[0-9a-f-]*)?$/i.test(prefix)
    ? prefix.toLowerCase()
    : canonicalRunId(prefix);
}
