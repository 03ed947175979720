import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { LIMITED, sourcesMeant } from '../auth.ts';
import { isoTime } from '../../core/event/event.ts';
import { failureRate, quantile } from '../../core/watch/run-figures.ts';
import { COMMON_PROBLEMS, jsonAnswer } from '../schemas/common.ts';
import { workflowList, workflowQuery } from '../schemas/workflow.ts';
import type { WorkflowService, WorkflowView } from '../services.ts';

const listSchema = {
  tags: ['Watches'],
  operationId: 'listWorkflows',
  summary: 'List workflows: how their runs go',
  description:
    'Those with the most runs first. Counts are of whole spans: of 5 minutes for the last hours, of hours for two days, else of days.',
  querystring: workflowQuery,
  response: { 200: jsonAnswer('The workflows.', workflowList), ...COMMON_PROBLEMS },
};

/** How the runs of each workflow go. */
export const workflowRoutes: FastifyPluginAsyncZod<{ workflows: WorkflowService }> = async (
  app,
  { workflows },
) => {
  app.get('/workflows', { schema: listSchema, config: LIMITED }, async ({ query, token }) => {
    const { source, ...since } = query;
    const found = await workflows.list({ ...since, ...sourcesMeant(token, source) });
    const data = found.workflows.map(presentWorkflow);
    return {
      since: isoTime(found.since),
      data: data.toSorted((one, other) => other.watched - one.watched),
    };
  });
};

function presentWorkflow({ source, workflowId, name, figures, active }: WorkflowView) {
  const activeNow = total(active);
  const { ended, durations, delays, requests, polled } = figures;
  const [p50, p90] = [quantile(durations, 0.5), quantile(durations, 0.9)];
  const [delayP50, delayP95] = [quantile(delays, 0.5), quantile(delays, 0.95)];
  return {
    workflow_id: workflowId,
    source,
    name,
    watched: total(ended) + activeNow,
    active: activeNow,
    by_status: { ...ended, ...active },
    failure_rate: failureRate(ended),
    duration: p50 === null || p90 === null ? null : { p50_ms: p50, p90_ms: p90 },
    detection_delay:
      delayP50 === null || delayP95 === null ? null : { p50_ms: delayP50, p95_ms: delayP95 },
    requests_per_run: polled === 0 ? null : Math.round((requests / polled) * 100) / 100,
  };
}

function total(counts: Record<string, number>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}
