import { NO_LOAD } from '../core/load.ts';
import { pollDeadline } from '../core/urgency.ts';
import { parseWatchId, type Watch } from '../core/watch.ts';
import { createObserveRun, type ObserveRunDependencies } from '../poll/observe-run.ts';
import { createReconcile, type ReconcileReport } from '../poll/reconcile.ts';
import { createSourceGuard } from '../poll/source-guard.ts';
import type { SourceStore } from '../redis/source-store.ts';
import type { WatchStore } from '../redis/watch-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import { logPoll } from '../telemetry/report.ts';
import type { Endpoints } from './endpoints.ts';
import { faultLog } from './faults.ts';
import { startPeriodic, type Periodic } from './periodic.ts';
import { openSource, type PollJobs, type Source, type SourceDependencies } from './source.ts';

/** How often watches are compared with their jobs. */
const RECONCILE_MS = 60_000;

/** How long before the end of the time for stopping reads are given up, ms. */
const HAND_BACK_MS = 500;

interface PollerDependencies
  extends
    SourceDependencies,
    Pick<ObserveRunDependencies, 'dispatch' | 'statistics' | 'now' | 'random'> {
  watches: WatchStore;
  sources: SourceStore;
  endpoints: Endpoints;
}

/** The half of the daemon that watches: a client, a queue and a worker for each source. */
export interface Poller {
  jobsOf: (source: string) => PollJobs | undefined;
  /** By when the next poll of a watch should begin, milliseconds since the epoch. */
  deadlineOf: (watch: Watch) => number;
  /** Sources whose key is refused, whichever process was told so. */
  refused: () => Promise<string[]>;
  isRunning(): boolean;
  /** Compares watches with jobs now; what Redis lost while it was away is mended at once. */
  reconcile(): void;
  start(): void;
  /**
   * @param options.force does not wait for polls that run: they cannot end while Redis is away
   * @param options.withinMs reads that take longer are given up shortly before
   */
  stop(options: { force: boolean; withinMs: number }): Promise<void>;
}

export function createPoller(deps: PollerDependencies): Poller {
  const { config, log } = deps;
  const sources = new Map(
    Object.entries(config.sources).map(([name, source]) => [name, openSource(deps, name, source)]),
  );
  const jobsOf = (name: string) => sources.get(name)?.jobs;
  const deadlineOf = (watch: Watch) => {
    const { roundMs } = sources.get(watch.source)?.budget.load() ?? NO_LOAD;
    return pollDeadline(watch, { now: deps.now(), roundMs });
  };
  const observeRun = observer(deps, sources, deadlineOf);
  const isWanted = async (id: string) =>
    (await deps.watches.get(parseWatchId(id)))?.watch.state === 'active';
  const reconcile = createReconcile({ watches: deps.watches, jobsOf });
  let reconciler: Periodic | null = null;

  return {
    jobsOf,
    deadlineOf,
    refused: () => deps.sources.refused([...sources.keys()]),
    isRunning: () => [...sources.values()].every((source) => source.isRunning()),
    reconcile: () => reconciler?.trigger(),
    start() {
      const { concurrency } = config.polling;
      for (const source of sources.values()) source.start(observeRun, { concurrency, isWanted });
      reconciler = startPeriodic(() => mend(reconcile, log), {
        everyMs: RECONCILE_MS,
        onError: faultLog(log, 'reconcile'),
      });
    },
    async stop(options) {
      await reconciler?.stop();
      await stopSources([...sources.values()], options);
    },
  };
}

function observer(
  deps: PollerDependencies,
  sources: Map<string, Source>,
  deadlineOf: (watch: Watch) => number,
) {
  const { polling, watches } = deps.config;
  return createObserveRun({
    ...deps,
    readerOf: (name) => sources.get(name)?.client,
    sources: createSourceGuard(
      deps.sources,
      { unauthorizedProbeMs: polling.unauthorized_probe },
      sourceLog(deps.log),
    ),
    budgetOf: (name) => sources.get(name)?.budget,
    hintsOf: (name) => sources.get(name)?.hints ?? undefined,
    deadlineOf,
    loadOf: (name) => sources.get(name)?.budget.load() ?? NO_LOAD,
    wants: deps.endpoints.wants,
    report(report) {
      const { watch, outcome, isFirst, lagMs } = report;
      // First looks come as they are asked for, and those that a pause held back when it is over.
      if (!isFirst && outcome !== 'paused') sources.get(watch.source)?.budget.began(lagMs);
      deps.metrics.poll(report);
      logPoll(deps.log, report);
    },
    policy: {
      minIntervalMs: polling.min_interval,
      maxIntervalMs: polling.max_interval,
      unreachableAfterMs: polling.unreachable_after,
      goneAfterMs: polling.gone_after,
      remindAfterMs: watches.remind_feedback,
      stallAfterMs: watches.stall_after,
    },
  });
}

async function stopSources(
  sources: Source[],
  { force, withinMs }: { force: boolean; withinMs: number },
): Promise<void> {
  const giveUp = () => {
    for (const source of sources) source.giveUp();
  };
  // A read that is given up hands its job back, which waiting for it to the end would not.
  const patience = setTimeout(giveUp, Math.max(withinMs - HAND_BACK_MS, withinMs / 2));
  await Promise.all(sources.map((source) => source.stop(force)));
  clearTimeout(patience);
  giveUp();
  for (const source of sources) await source.close();
}

async function mend(reconcile: () => Promise<ReconcileReport>, log: Logger): Promise<void> {
  const report = await reconcile();
  if (report.mended > 0) log.warn(report, 'watches without a poll job were given one');
}

function sourceLog(log: Logger) {
  return {
    refused: (source: string, message: string) =>
      log.error({ source, message }, 'source.unauthorized'),
    accepted: (source: string) => log.info({ source }, 'source.authorized'),
    paused: (source: string, message: string, ms: number) =>
      log.warn({ source, message, pause_ms: ms }, 'source.paused'),
  };
}
