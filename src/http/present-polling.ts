import type { z } from 'zod';
import type { PollingPerRun, WorkflowPolling } from '../core/cadence/workflow-polling.ts';
import type { Profile } from '../core/watch/watch.ts';
import type { workflowPollingSchema } from './schemas/polling.ts';

/** What is known of a workflow as the API shows it. */
export function presentPolling(
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
