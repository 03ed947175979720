import { setImmediate } from 'node:timers/promises';
import type { Config } from '../config/schema.ts';
import type { PollingDefaults } from '../core/cadence/cadence.ts';
import type { WorkflowKey, WorkflowStatistics } from '../core/cadence/phase.ts';
import { workflowPolling, type WorkflowPolling } from '../core/cadence/workflow-polling.ts';
import type { PollingQuery, PollingService } from '../http/services.ts';
import type { StatisticsStore } from '../redis/stores/statistics-store.ts';

interface PollingServiceDependencies {
  config: Pick<Config, 'sources' | 'polling'>;
  statistics: StatisticsStore;
}

/** The duration statistics of workflows, from the store that all processes write. */
export function createPollingService(deps: PollingServiceDependencies): PollingService {
  const { profile, min_interval: minIntervalMs, max_interval: maxIntervalMs } = deps.config.polling;
  const defaults = { profile, minIntervalMs, maxIntervalMs };
  return {
    profile,
    async list(query) {
      const { items, nextCursor } = await findWorkflows(deps, query);
      const found = await deps.statistics.read(items, { isUse: false });
      const known = found.flatMap((one) => (one === null || one === 'unchanged' ? [] : [one]));
      return { items: await describe(known, defaults), nextCursor };
    },
  };
}

/** A named workflow is read from each source. */
async function findWorkflows(
  { config, statistics }: PollingServiceDependencies,
  { workflowId, sources, limit, cursor }: PollingQuery,
): Promise<{ items: WorkflowKey[]; nextCursor: string | null }> {
  if (workflowId === undefined) {
    const [source] = sources ?? [];
    return statistics.list({ source }, { limit, cursor });
  }
  const asked = sources ?? Object.keys(config.sources);
  return { items: asked.map((source) => ({ source, workflowId })), nextCursor: null };
}

/** Each takes some milliseconds: polls must not wait for a whole page. */
async function describe(
  workflows: readonly WorkflowStatistics[],
  defaults: PollingDefaults,
): Promise<WorkflowPolling[]> {
  const described: WorkflowPolling[] = [];
  for (const workflow of workflows) {
    described.push(workflowPolling(workflow, defaults));
    await setImmediate();
  }
  return described;
}
