import { setImmediate } from 'node:timers/promises';
import type { Config } from '../config/schema.ts';
import type { PollingDefaults } from '../core/cadence/cadence.ts';
import { workflowPolling, type WorkflowPolling } from '../core/cadence/workflow-polling.ts';
import type { WorkflowKey, WorkflowStatistics } from '../core/cadence/workflow-statistics.ts';
import type { PollingQuery, PollingService } from '../http/services.ts';
import type { StatisticsStore } from '../redis/stores/statistics-store.ts';

interface PollingServiceDependencies {
  config: Pick<Config, 'sources' | 'polling'>;
  statistics: StatisticsStore;
}

/** What was learned of workflows, read from where all processes learn. */
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

/** A workflow that is named is looked up by its name, in each source. */
async function findWorkflows(
  { config, statistics }: PollingServiceDependencies,
  { workflowId, source, limit, cursor }: PollingQuery,
): Promise<{ items: WorkflowKey[]; nextCursor: string | null }> {
  if (workflowId === undefined) return statistics.list({ source }, { limit, cursor });
  const sources = source === undefined ? Object.keys(config.sources) : [source];
  return { items: sources.map((one) => ({ source: one, workflowId })), nextCursor: null };
}

/** Expectations take some milliseconds each: polls must not wait for those of a whole page. */
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
