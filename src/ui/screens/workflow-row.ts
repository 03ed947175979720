import type { Workflow } from '../api/types.ts';

/** What is shown of a workflow; lengths of time are ms. */
export interface WorkflowRow {
  source: string;
  id: string;
  name: string;
  active: number;
  perDay: number | null;
  failureRate: number | null;
  p50: number | null;
  p90: number | null;
  delayP50: number | null;
  delayP95: number | null;
  requestsPerRun: number | null;
}

const HOURS: Readonly<Record<string, number>> = { '1h': 1, '24h': 24, '7d': 168, '30d': 720 };

export function rowOf(workflow: Workflow, since: string): WorkflowRow {
  const { workflow_id: id, source, name } = workflow;
  const watched = numberAt(workflow, ['watched']);
  return {
    source,
    id,
    name: name ?? id,
    active: numberAt(workflow, ['active']) ?? 0,
    perDay: watched === null ? null : perDay(watched, since),
    failureRate: numberAt(workflow, ['failure_rate']),
    p50: numberAt(workflow, ['duration', 'p50_ms'], ['duration', 'median_ms']),
    p90: numberAt(workflow, ['duration', 'p90_ms']),
    delayP50: numberAt(workflow, ['detection_delay', 'p50_ms'], ['measured', 'delay_ms']),
    delayP95: numberAt(workflow, ['detection_delay', 'p95_ms']),
    requestsPerRun: numberAt(workflow, ['requests_per_run'], ['measured', 'requests']),
  };
}

function perDay(watched: number, since: string): number {
  const runs = (watched * 24) / (HOURS[since] ?? 24);
  return runs >= 10 ? Math.round(runs) : Math.round(runs * 10) / 10;
}

/** The number at the first of some places that holds one. */
function numberAt(value: unknown, ...places: readonly (readonly string[])[]): number | null {
  for (const place of places) {
    const found = place.reduce<unknown>(
      (inner, field) =>
        typeof inner === 'object' && inner !== null
          ? (inner as Record<string, unknown>)[field]
          : undefined,
      value,
    );
    if (typeof found === 'number') return found;
  }
  return null;
}
