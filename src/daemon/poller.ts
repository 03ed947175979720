import type { Config, SourceConfig } from '../config/schema.ts';
import { NO_LOAD } from '../core/load.ts';
import type { PollPolicy } from '../core/look.ts';
import { parseWatchId } from '../core/watch.ts';
import { createNoxusClient, type NoxusClient } from '../noxus/client.ts';
import { createObserveRun, type ObserveRunDependencies } from '../poll/observe-run.ts';
import { createReconcile, type ReconcileReport } from '../poll/reconcile.ts';
import { createSourceGuard } from '../poll/source-guard.ts';
import type { JobQueue, QueueWorker } from '../queue/job-queue.ts';
import type { SourceStore } from '../redis/source-store.ts';
import type { WatchStore } from '../redis/watch-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { logPoll } from '../telemetry/report.ts';
import type { Endpoints } from './endpoints.ts';
import { faultLog } from './faults.ts';
import { startPeriodic, type Periodic } from './periodic.ts';
import type { QueueFactory } from './queues.ts';

/** How often watches are compared with their jobs. */
const RECONCILE_MS = 60_000;

/** How long before the end of the time for stopping reads are given up, ms. */
const HAND_BACK_MS = 500;

interface Source {
  client: NoxusClient;
  jobs: JobQueue;
  worker: QueueWorker | null;
}

interface PollerDependencies extends Pick<
  ObserveRunDependencies,
  'dispatch' | 'statistics' | 'now' | 'random'
> {
  config: Config;
  watches: WatchStore;
  sources: SourceStore;
  queueOf: QueueFactory;
  userAgent: string;
  endpoints: Endpoints;
  metrics: Metrics;
  log: Logger;
}

/** The half of the daemon that watches: a client, a queue and a worker for each source. */
export interface Poller {
  jobsOf: (source: string) => JobQueue | undefined;
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
  const guard = createSourceGuard(
    deps.sources,
    { unauthorizedProbeMs: config.polling.unauthorized_probe },
    sourceLog(log),
  );
  const observeRun = createObserveRun({
    ...deps,
    readerOf: (name) => sources.get(name)?.client,
    sources: guard,
    wants: deps.endpoints.wants,
    loadOf: () => NO_LOAD,
    report(report) {
      deps.metrics.poll(report);
      logPoll(log, report);
    },
    policy: policyOf(config),
  });
  const isWanted = async (id: string) =>
    (await deps.watches.get(parseWatchId(id)))?.watch.state === 'active';
  const reconcile = createReconcile({ watches: deps.watches, jobsOf });
  let reconciler: Periodic | null = null;

  return {
    jobsOf,
    refused: () => deps.sources.refused([...sources.keys()]),
    isRunning: () => [...sources.values()].every(({ worker }) => worker?.isRunning() ?? false),
    reconcile: () => reconciler?.trigger(),
    start() {
      for (const [name, source] of sources) {
        source.worker = source.jobs.work(observeRun, { ...workOptions(config, name), isWanted });
      }
      reconciler = startPeriodic(() => mend(reconcile, log), {
        everyMs: RECONCILE_MS,
        onError: faultLog(log, 'reconcile'),
      });
    },
    async stop({ force, withinMs }) {
      await reconciler?.stop();
      const giveUp = () => {
        for (const { client } of sources.values()) client.close();
      };
      // A read that is given up hands its job back, which waiting for it to the end would not.
      const patience = setTimeout(giveUp, Math.max(withinMs - HAND_BACK_MS, withinMs / 2));
      await Promise.all([...sources.values()].map(async ({ worker }) => worker?.close(force)));
      clearTimeout(patience);
      giveUp();
      for (const { jobs } of sources.values()) await jobs.close();
    },
  };
}

function policyOf({ polling, watches }: Config): PollPolicy {
  return {
    minIntervalMs: polling.min_interval,
    maxIntervalMs: polling.max_interval,
    unreachableAfterMs: polling.unreachable_after,
    goneAfterMs: polling.gone_after,
    remindAfterMs: watches.remind_feedback,
    stallAfterMs: watches.stall_after,
  };
}

async function mend(reconcile: () => Promise<ReconcileReport>, log: Logger): Promise<void> {
  const report = await reconcile();
  if (report.mended > 0) log.warn(report, 'watches without a poll job were given one');
}

function openSource(deps: PollerDependencies, name: string, source: SourceConfig): Source {
  return {
    client: createNoxusClient({
      baseUrl: source.base_url,
      apiKey: source.api_key,
      timeoutMs: source.timeout,
      maxSockets: deps.config.polling.concurrency,
      userAgent: deps.userAgent,
      onRequest: (request) => deps.metrics.request(name, request),
    }),
    jobs: deps.queueOf(`poll-${name}`),
    worker: null,
  };
}

function workOptions({ sources, polling }: Config, name: string) {
  const { rate_limit: limit } = sources[name] ?? {};
  return {
    concurrency: polling.concurrency,
    ...(limit && { limiter: { max: limit.requests, duration: limit.per } }),
  };
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
