import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { LIMITED, sourcesMeant } from '../auth.ts';
import { presentPage, presentPolling } from '../present.ts';
import { InvalidRequest, refusal } from '../problem.ts';
import { COMMON_PROBLEMS, CURSOR_PROBLEMS, jsonAnswer, problemAnswer } from '../schemas/common.ts';
import { pollingPage, pollingQuery } from '../schemas/polling.ts';
import type { PollingService } from '../services.ts';

const listSchema = {
  tags: ['Polling'],
  operationId: 'listPolling',
  summary: 'List workflows: how long their runs take, and how well they are polled',
  description:
    'The workflow that became known last comes first. By `workflow_id`, there is one for each source that has it.',
  querystring: pollingQuery,
  response: {
    200: jsonAnswer('A page of workflows.', pollingPage),
    ...COMMON_PROBLEMS,
    ...CURSOR_PROBLEMS,
    404: problemAnswer('Nothing is known of this workflow.'),
  },
};

/** Reading what was learned of workflows. */
export const pollingRoutes: FastifyPluginAsyncZod<{ polling: PollingService }> = async (
  app,
  { polling },
) => {
  app.get('/polling', { schema: listSchema, config: LIMITED }, async ({ query, token }) => {
    const { workflow_id: workflowId, source, ...same } = query;
    const meant = sourcesMeant(token, source);
    if (workflowId === undefined && (meant.sources?.length ?? 1) > 1) {
      throw new InvalidRequest([{ path: 'query.source', message: 'name one of your sources' }]);
    }
    const page = await polling.list({
      ...same,
      ...meant,
      ...(workflowId !== undefined && { workflowId }),
    });
    if (workflowId !== undefined && page.items.length === 0) {
      throw refusal('workflow_not_found', unknownWorkflow(workflowId, query.source));
    }
    return presentPage(page, (workflow) => presentPolling(workflow, polling.profile));
  });
};

function unknownWorkflow(workflowId: string, source: string | undefined): string {
  const where = source === undefined ? '' : ` of source ${source}`;
  return `nothing is known of workflow ${workflowId}${where}: no run of it was watched to its end yet; GET /v1/watches?workflow_id= lists its watches, GET /v1/polling the workflows that are known`;
}
