import { createStatisticsCache, type StatisticsCache } from '../poll/statistics-cache.ts';
import type { StatisticsStore } from '../redis/stores/statistics-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import { faultLog } from './faults.ts';
import { startPeriodic, type Periodic } from './periodic.ts';

/** How often what other processes have learned is read. */
const REFRESH_MS = 5_000;

interface LearningDependencies {
  statistics: StatisticsStore;
  log: Logger;
  now: () => number;
}

/** What this process knows of how long states of runs last, kept up with what others learn. */
export interface Learning extends Pick<StatisticsCache, 'lookup' | 'learn'> {
  start(): void;
  stop(): Promise<void>;
}

export function createLearning({ statistics, log, now }: LearningDependencies): Learning {
  let refresher: Periodic | null = null;
  const cache = createStatisticsCache({
    store: statistics,
    wake: () => refresher?.trigger(),
    now,
  });
  return {
    lookup: cache.lookup,
    learn: cache.learn,
    start() {
      refresher = startPeriodic(() => cache.refresh(), {
        everyMs: REFRESH_MS,
        onError: faultLog(log, 'reading statistics'),
      });
    },
    async stop() {
      await refresher?.stop();
    },
  };
}
