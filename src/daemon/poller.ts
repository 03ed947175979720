import { isoTime } from '../core/event.ts';
import { isListId } from '../core/list-standing.ts';
import { NO_LOAD } from '../core/load.ts';
import type { SourcePaused } from '../core/look.ts';
import { pollDeadline } from '../core/urgency.ts';
import { parseWatchId, watchId, type Watch } from '../core/watch.ts';
import { createCheckGone } from '../poll/check-gone.ts';
import { createObserveRun, type ObserveRunDependencies } from '../poll/observe-run.ts';
import { createReconcile, type ReconcileReport } from '../poll/reconcile.ts';
import { createSourceGuard, type SourceGuard } from '../poll/source-guard.ts';
import type { GoneStore } from '../redis/gone-store.ts';
import type { ListStore } from '../redis/list-store.ts';
import type { SourceStore } from '../redis/source-store.ts';
import type { WatchStore } from '../redis/watch-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import { logList, logPoll } from '../telemetry/report.ts';
import { createBatching, type Batching } from './batching.ts';
import type { Endpoints } from './endpoints.ts';
import { faultLog } from './faults.ts';
import { startPeriodic, type Periodic } from './periodic.ts';
import type { WatchNotes } from './watch-notes.ts';
import { openSource, type PollJobs, type Source, type SourceDependencies } from './source.ts';

/** How often watches are compared with their jobs. */
const RECONCILE_MS = 60_000;

/** How often it is looked for runs that are gone and due to be checked, ms. */
const CHECK_GONE_MS = 60_000;

/** How long before the end of the time for stopping reads are given up, ms. */
const HAND_BACK_MS = 500;

interface PollerDependencies
  extends
    SourceDependencies,
    Pick<ObserveRunDependencies, 'dispatch' | 'statistics' | 'newMark' | 'now' | 'random'> {
  watches: WatchStore;
  sources: SourceStore;
  lists: ListStore;
  gone: GoneStore;
  endpoints: Endpoints;
  watchNotes: Pick<WatchNotes, 'polled'>;
}

/** The half of the daemon that watches: a client, a queue and a worker for each source. */
export interface Poller {
  jobsOf: (source: string) => PollJobs | undefined;
  sourceOf: (name: string) => Source | undefined;
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
  const guard = createSourceGuard(
    deps.sources,
    { unauthorizedProbeMs: config.polling.unauthorized_probe },
    sourceLog(log),
  );
  const ground = pollGround(deps, sources);
  const batching = openBatching(deps, ground, { guard, deadlineOf });
  const observeRun = observer(deps, ground, { guard, batching, deadlineOf });
  const run = (id: string) => (isListId(id) ? batching.look(id) : observeRun(id));
  const isWanted = async (id: string) =>
    !isListId(id) && (await deps.watches.get(parseWatchId(id)))?.watch.state === 'active';
  const reconcile = createReconcile({ watches: deps.watches, jobsOf });
  const checkGone = goneChecker(deps, ground);
  const chores: Periodic[] = [];
  let reconciler: Periodic | null = null;

  return {
    jobsOf,
    sourceOf: (name) => sources.get(name),
    deadlineOf,
    refused: () => deps.sources.refused([...sources.keys()]),
    isRunning: () => [...sources.values()].every((source) => source.isRunning()),
    reconcile: () => reconciler?.trigger(),
    start() {
      const { concurrency } = config.polling;
      for (const source of sources.values()) source.start(run, { concurrency, isWanted });
      reconciler = startPeriodic(() => mend(reconcile, log), {
        everyMs: RECONCILE_MS,
        onError: faultLog(log, 'reconcile'),
      });
      const onError = faultLog(log, 'check gone');
      chores.push(startPeriodic(checkGone, { everyMs: CHECK_GONE_MS, onError }));
    },
    async stop(options) {
      await Promise.all([reconciler?.stop(), ...chores.map((chore) => chore.stop())]);
      await stopSources([...sources.values()], options);
    },
  };
}

/** What single polls and looks at lists go by. */
function pollGround({ config, endpoints }: PollerDependencies, sources: Map<string, Source>) {
  const { polling, watches } = config;
  return {
    sourceOf: (name: string) => sources.get(name),
    jobsOf: (name: string) => sources.get(name)?.jobs,
    readerOf: (name: string) => sources.get(name)?.client,
    budgetOf: (name: string) => sources.get(name)?.budget,
    hintsOf: (name: string) => sources.get(name)?.hints ?? undefined,
    loadOf: (name: string) => sources.get(name)?.budget.load() ?? NO_LOAD,
    wants: endpoints.wants,
    policy: {
      minIntervalMs: polling.min_interval,
      maxIntervalMs: polling.max_interval,
      unreachableAfterMs: polling.unreachable_after,
      goneAfterMs: polling.gone_after,
      remindAfterMs: watches.remind_feedback,
      stallAfterMs: watches.stall_after,
    },
  };
}

type PollGround = ReturnType<typeof pollGround>;

interface ObserverParts {
  guard: SourceGuard;
  batching: Batching;
  deadlineOf: (watch: Watch) => number;
}

function observer(
  deps: PollerDependencies,
  ground: PollGround,
  { guard, batching, deadlineOf }: ObserverParts,
) {
  return createObserveRun({
    ...deps,
    ...ground,
    sources: guard,
    askList: (name) => ground.sourceOf(name)?.askList(),
    deadlineOf,
    report(report) {
      const { watch, outcome, isFirst, lagMs } = report;
      // First looks come as they are asked for, and those that a pause held back when it is over.
      if (!isFirst && outcome !== 'paused') ground.budgetOf(watch.source)?.began(lagMs);
      deps.metrics.poll(report);
      logPoll(deps.log, report);
      batching.notice(report.watch);
      deps.watchNotes.polled(report.watch);
    },
  });
}

function goneChecker(deps: PollerDependencies, ground: PollGround): () => Promise<void> {
  return createCheckGone({
    ...deps,
    ...ground,
    contextOf: ({ source }, now) => ({
      now,
      beganAt: now,
      lagMs: 0,
      isStreamed: false,
      answeredAt: now,
      policy: ground.policy,
      statistics: deps.statistics.lookup,
      wants: ground.wants,
      load: ground.loadOf(source),
      random: deps.random,
      newMark: deps.newMark,
    }),
    schedule: async (key) => ground.jobsOf(key.source)?.ensure([watchId(key)]),
  });
}

function openBatching(
  { config, log, metrics, ...deps }: PollerDependencies,
  ground: PollGround,
  { guard, deadlineOf }: Omit<ObserverParts, 'batching'>,
): Batching {
  return createBatching({
    ...deps,
    ...ground,
    deadlineOf,
    isOn: config.polling.batch === 'auto',
    pause: (source, trouble) => guard.pause(source, trouble, deps.now()),
    report(report) {
      metrics.list(report);
      logList(log, report);
    },
    onError: faultLog(log, 'batch'),
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

/** Tells of what concerns a whole source. */
export function sourceLog(log: Logger) {
  return {
    refused: (source: string, message: string) =>
      log.error({ source, message }, 'source.unauthorized'),
    accepted: (source: string) => log.info({ source }, 'source.authorized'),
    paused: (source: string, { message, untilMs }: SourcePaused, ms: number) =>
      log.warn({ source, message, pause_ms: ms, until: isoTime(untilMs) }, 'source.paused'),
  };
}
