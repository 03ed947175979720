import { z } from 'zod';
import {
  count,
  milliseconds,
  source,
  time,
  when,
  cursor,
  limit,
  pageOf,
  profile,
  workflowId,
} from './common.ts';

export const workflowParams = z.strictObject({ source, workflow_id: workflowId });

const workflow = z
  .object({
    workflow_id: z.string(),
    source: z.string(),
    name: z.string().nullable(),
    watched: count.meta({ description: 'Runs whose watch has ended since then, and active ones.' }),
    active: count.meta({ description: 'Active watches now.' }),
    by_status: z
      .record(z.string(), count)
      .meta({ description: 'The same by the status of the run; a watch may end without one.' }),
    failure_rate: z
      .number()
      .nullable()
      .meta({ description: 'Of runs that completed, failed or were stopped; 0 to 1.' }),
    duration: z
      .object({ p50_ms: milliseconds, p90_ms: milliseconds })
      .nullable()
      .meta({ description: 'From the start of a run to its end, to within a tenth.' }),
    detection_delay: z
      .object({ p50_ms: milliseconds, p95_ms: milliseconds })
      .nullable()
      .meta({ description: 'From the end of a run to its event, to within a tenth.' }),
    requests_per_run: z
      .number()
      .nullable()
      .meta({ description: 'Single reads of a run that was watched to its end, on average.' }),
  })
  .meta({ id: 'Workflow', description: 'How the runs of a workflow go.' });

export const workflowQuery = z.strictObject({
  since: when
    .meta({ description: 'From when on; 24h unless given, at most 31 days ago.' })
    .exactOptional(),
  source: source.exactOptional(),
});

export const workflowList = z
  .object({
    since: time.meta({
      description: 'From when on, to the precision with which runs are counted.',
    }),
    data: z.array(workflow),
  })
  .meta({ id: 'WorkflowList' });

const perRun = z.object({
  requests: z.number().meta({
    description: 'Requests to the source for one run alone; those for lists of runs come beside.',
  }),
  delay_ms: milliseconds.meta({ description: 'From the end of a run to our seeing it.' }),
});

export const workflowPollingSchema = z
  .object({
    source: z.string(),
    workflow_id: z.string(),
    runs: count.meta({ description: 'Runs that were watched to their end.' }),
    states: count.meta({ description: 'States whose length something is known of.' }),
    duration: z
      .object({ median_ms: milliseconds, p90_ms: milliseconds })
      .nullable()
      .meta({ description: 'From creation to end, of recent runs; null until five have ended.' }),
    measured: perRun.nullable().meta({ description: 'The mean of recent runs.' }),
    expected: perRun.extend({ profile }).nullable().meta({
      description:
        'What the configured limits and profile come to for a run of its own that lasts so long, up to its first wait for a human. Progress and lists of runs are left out; they make the real figures better.',
    }),
  })
  .meta({
    id: 'WorkflowPolling',
    description: 'How long runs of a workflow take, and how well they are polled.',
  });

export const pollingQuery = z.strictObject({
  workflow_id: workflowId.exactOptional(),
  source: source.meta({ description: 'The name of a source; absent means all.' }).exactOptional(),
  limit,
  cursor: cursor.exactOptional(),
});

export const pollingPage = pageOf(workflowPollingSchema, 'WorkflowPollingPage');
