import { z } from 'zod';
import {
  boundedText,
  count,
  cursor,
  limit,
  milliseconds,
  pageOf,
  profile,
  source,
} from './common.ts';

const perRun = z.object({
  requests: z.number().meta({
    description: 'Requests to Noxus for one run alone; those for lists of runs come beside.',
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
  workflow_id: boundedText(128).exactOptional(),
  source: source.meta({ description: 'The name of a source; absent means all.' }).exactOptional(),
  limit,
  cursor: cursor.exactOptional(),
});

export const pollingPage = pageOf(workflowPollingSchema, 'WorkflowPollingPage');
