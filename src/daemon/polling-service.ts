import type { Config } from '../config/schema.ts';
import { intervalsByAge } from '../core/cadence.ts';
import type { WorkflowKey } from '../core/workflow-statistics.ts';
import { workflowPolling } from '../core/workflow-polling.ts';
import type { PollingQuery, PollingService } from '../http/services.ts';
import type { StatisticsStore } from '../redis/statistics-store.ts';

interface PollingServiceDependencies {
  config: Pick<Config, 'sources' | 'polling'>;
  statistics: StatisticsStore;
}

/** What was learned of workflows, read from where all processes learn. */
export function createPollingService(deps: PollingServiceDependencies): PollingService {
  const { profile, min_interval, max_interval } = deps.config.polling;
  const policy = { profile, minIntervalMs: min_interval, maxIntervalMs: max_interval };
  return {
    profile,
    async list(query) {
      const { items, nextCursor } = await findWorkflows(deps, query);
      const found = await deps.statistics.read(items, { isUse: false });
      const known = found.flatMap((one) => (one === null || one === 'unchanged' ? [] : [one]));
      return {
        items: known.map((one) => workflowPolling(one, intervalsByAge(one.states, policy))),
        nextCursor,
      };
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
