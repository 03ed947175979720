import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { LIMITED, sourcesOf } from '../auth.ts';
import { presentAttention } from '../present.ts';
import { attentionPage, attentionQuery } from '../schemas/attention.ts';
import { COMMON_PROBLEMS, jsonAnswer } from '../schemas/common.ts';
import type { AttentionService } from '../services.ts';

const listSchema = {
  tags: ['Attention'],
  operationId: 'listAttention',
  summary: 'List what needs a person, oldest first',
  description:
    'What a user has acknowledged is left out. Deliveries count by endpoint. Nothing ends a run that is gone, or a dead delivery: these are named for a week. A token for some sources sees what is of these.',
  querystring: attentionQuery,
  response: { 200: jsonAnswer('What needs a person.', attentionPage), ...COMMON_PROBLEMS },
};

/** What needs a person. */
export const attentionRoute: FastifyPluginAsyncZod<{ attention: AttentionService }> = async (
  app,
  { attention },
) => {
  app.get('/attention', { schema: listSchema, config: LIMITED }, async ({ query, token }) => {
    const withAcknowledged = query.acknowledged === 'include';
    const sources = sourcesOf(token);
    const meant = { withAcknowledged, ...(sources !== undefined && { sources }) };
    return presentAttention(await attention.list(meant));
  });
};
