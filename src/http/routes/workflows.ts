import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import { sum } from '../../core/arrays.ts';
import type { WorkflowPolling, PollingPerRun } from '../../core/cadence/workflow-polling.ts';
import { isoTime } from '../../core/event/event.ts';
import type { Complete } from '../../core/records.ts';
import { failureRate, quantile } from '../../core/watch/run-figures.ts';
import type { Profile } from '../../core/watch/watch.ts';
import { LIMITED_HEAVY, sourcesMeant } from '../auth.ts';
import { presentPage } from '../present.ts';
import { InvalidRequest, refusal } from '../problem.ts';
import { COMMON_PROBLEMS, jsonAnswer, CURSOR_PROBLEMS, problemAnswer } from '../schemas/common.ts';
import type { WatchService } from '../watches.ts';
import type {
  PollingQuery,
  PollingService,
  WorkflowQuery,
  WorkflowService,
  WorkflowView,
} from '../workflows.ts';
import {
  workflowList,
  workflowQuery,
  pollingPage,
  pollingQuery,
  type workflowPollingSchema,
} from '../schemas/workflow.ts';
import { refuseUnknownSource } from './watches.ts';

const listSchema = {
  tags: ['Watches'],
  operationId: 'listWorkflows',
  summary: 'List workflows: how their runs go',
  description:
    'Those with the most runs first. Counts are of whole spans: of 5 minutes for the last hours, of hours for two days, else of days.',
  querystring: workflowQuery,
  response: { 200: jsonAnswer('The workflows.', workflowList), ...COMMON_PROBLEMS },
};

const pollingSchema = {
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

interface WorkflowOptions {
  watches: WatchService;
  workflows: WorkflowService;
  polling: PollingService;
}

/** How the runs of each workflow go, and how well they are polled. */
export const workflowRoutes: FastifyPluginAsyncZod<WorkflowOptions> = async (
  app,
  { workflows, polling, watches },
) => {
  const refuseSource = (source: string | undefined, token: FastifyRequest['token']) =>
    refuseUnknownSource(source, { watches, token });

  app.get('/workflows', { schema: listSchema, config: LIMITED_HEAVY }, async ({ query, token }) => {
    const { source, since, ...rest } = query;
    rest satisfies Record<string, never>;
    const asked: Complete<WorkflowQuery> = { since, sources: sourcesMeant(token, source).sources };
    const found = await workflows.list(asked);
    const data = found.workflows.map(presentWorkflow);
    if (data.length === 0) await refuseSource(source, token);
    return {
      since: isoTime(found.since),
      data: data.toSorted((one, other) => other.watched - one.watched),
    };
  });

  app.get(
    '/polling',
    { schema: pollingSchema, config: LIMITED_HEAVY },
    async ({ query, token }) => {
      const { workflow_id: workflowId, source, limit, cursor, ...rest } = query;
      rest satisfies Record<string, never>;
      const { sources } = sourcesMeant(token, source);
      if (workflowId === undefined && (sources?.length ?? 1) > 1) {
        throw new InvalidRequest([{ path: 'query.source', message: 'name one of your sources' }]);
      }
      const asked: Complete<PollingQuery> = { workflowId, sources, limit, cursor };
      const page = await polling.list(asked);
      if (page.items.length === 0) await refuseSource(source, token);
      if (workflowId !== undefined && page.items.length === 0) {
        throw refusal('workflow_not_found', unknownWorkflow(workflowId, query.source));
      }
      return presentPage(page, (workflow) => presentPolling(workflow, polling.profile));
    },
  );
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
  return sum(Object.values(counts));
}

function unknownWorkflow(workflowId: string, source: string | undefined): string {
  const where = source === undefined ? '' : ` of source ${source}`;
  return `nothing is known of workflow ${workflowId}${where}: no run of it was watched to its end yet; GET /v1/watches?workflow_id= lists its watches, GET /v1/polling the workflows that are known`;
}

/** What is known of a workflow as the API shows it. */
function presentPolling(
  { source, workflowId, runs, states, duration, measured, expected }: WorkflowPolling,
  profile: Profile,
): z.output<typeof workflowPollingSchema> {
  return {
    source,
    workflow_id: workflowId,
    runs,
    states,
    duration: duration && {
      median_ms: milliseconds(duration.median),
      p90_ms: milliseconds(duration.p90),
    },
    measured: measured && presentPerRun(measured),
    expected: expected && { ...presentPerRun(expected), profile },
  };
}

function presentPerRun({ requests, delayS }: PollingPerRun) {
  return { requests: Math.round(requests * 100) / 100, delay_ms: milliseconds(delayS) };
}

function milliseconds(seconds: number): number {
  return Math.round(seconds * 1_000);
}
