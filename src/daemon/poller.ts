import { type Config, pollPolicy } from '../config/schema.ts';
import { loadByPlan, NO_LOAD, type SourceLoad } from '../core/cadence/load.ts';
import type { PollPolicy } from '../core/watch/observation.ts';
import { createCheckGone } from '../poll/gone-runs.ts';
import {
  createObserveRun,
  type ObserveRunDependencies,
  type PollReport,
} from '../poll/observe-run.ts';
import type { StreamFeed } from '../feed/stream-feed.ts';
import type { Overdue } from '../core/source/overdue.ts';
import { widenedWait } from '../core/source/read-times.ts';
import type { TraceChange } from '../poll/ports.ts';
import { createRepairSchedule, type Schedule } from '../poll/schedule.ts';
import { createPerform } from '../poll/perform-request.ts';
import { createStatisticsCache, type StatisticsCache } from '../poll/statistics-cache.ts';
import type { GoneStore } from '../redis/stores/schedule-store.ts';
import type { StatisticsStore } from '../redis/stores/statistics-store.ts';
import type { WatchStore } from '../redis/stores/watch-store.ts';
import { logPoll, type Logger } from '../telemetry/logger.ts';
import type { Endpoints } from '../deliver/endpoints.ts';
import { faultLog } from '../fault-log.ts';
import type { WatchNotes } from './known-watches.ts';
import { startPeriodic, type Periodic } from '../periodic.ts';
import type { ClaimedWork } from './processes.ts';
import { openFeed, type SourceFeed, type SourceFeedDependencies } from './source-feed.ts';
import { openSource, type Source, type SourceDependencies } from './source.ts';
import type { Tracing } from './tracing.ts';

/** How often each schedule is surveyed, which finds lost wake-ups, ms. */
const SURVEY_MS = 5_000;

/** How often gone runs that are due for a check are read, ms. */
const CHECK_GONE_MS = 60_000;

/** How often the schedule is compared with the active watches, ms. */
const REPAIR_MS = 60_000;

/** How long requests go on after the process begins to stop; then they are aborted, ms. */
const HAND_BACK_MS = 300;

interface PollerDependencies
  extends
    SourceDependencies,
    Pick<
      ObserveRunDependencies,
      'dispatch' | 'statistics' | 'now' | 'linksOf' | 'newMark' | 'random'
    >,
    Pick<SourceFeedDependencies, 'feeds' | 'discoveries'> {
  watches: WatchStore;
  gone: GoneStore;
  endpoints: Endpoints;
  watchNotes: Pick<WatchNotes, 'polled'>;
  trace: TraceChange;
  tracing: Pick<Tracing, 'polled'>;
}

/** The polling half of the daemon: a client, a schedule and slots for each source. */
export interface Poller {
  scheduleOf: (source: string) => Schedule | undefined;
  sourceOf: (name: string) => Source | undefined;
  /** All sources, in the order of their configuration. */
  sources: readonly Source[];
  isRunning(): boolean;
  /** Sources with overdue polls, as this process sees it. */
  overdue(): Overdue[];
  /** The claims of this process. */
  work: ClaimedWork;
  /** Gives the sources that it has their new keys and rate limits. */
  reconfigure(next: Config['sources']): void;
  /** Asks the sources of which nothing is known yet whether they answer. */
  greet(): Promise<void>;
  /** Surveys all schedules now, and repairs what Redis lost while it was away. */
  survey(): void;
  start(): void;
  /**
   * @param options.force does not wait for running polls: they cannot end while Redis is away
   * @param options.withinMs how long the stop may take
   */
  stop(options: { force: boolean; withinMs: number }): Promise<void>;
}

export function createPoller(deps: PollerDependencies): Poller {
  const { config, log } = deps;
  const sources = new Map(
    Object.entries(config.sources).map(([name, source]) => [name, openSource(deps, name, source)]),
  );
  const all = [...sources.values()];
  const scheduleOf = (name: string) => sources.get(name)?.schedule;
  const policy = pollPolicy(config);
  const feeds = openFeeds(deps, all, policy);
  const context = { ...pollContext(deps, sources), policy, loadOf: loads(sources, feeds) };
  const observeRun = observer(deps, context, feeds);
  const checkGone = goneChecker(deps, context);
  const repair = repairer(deps, all);
  let periodics: Periodic[] = [];

  return {
    scheduleOf,
    sourceOf: (name) => sources.get(name),
    sources: all,
    isRunning: () => all.every((source) => source.isRunning()),
    overdue: () => all.flatMap((source) => source.overdue() ?? []),
    work: claimedWork(deps, all),
    reconfigure(next) {
      reconfigureAll(all, next);
      each(all, ({ name }) => feedOf(feeds, name).lists.replan()).catch(faultLog(log, 'feed'));
    },
    greet: () => each(all, (source) => source.greet()),
    survey: () => {
      for (const periodic of periodics) periodic.trigger();
    },
    start() {
      for (const source of all) {
        const { lists } = feedOf(feeds, source.name);
        source.start(performer(deps, source, { observeRun, lists }));
      }
      const onError = faultLog(log, 'schedule');
      periodics = [
        startPeriodic(() => surveyAll(all, feeds), { everyMs: SURVEY_MS, onError }),
        startPeriodic(repair, { everyMs: REPAIR_MS, onError }),
        startPeriodic(checkGone, {
          everyMs: CHECK_GONE_MS,
          onError: faultLog(log, 'check gone'),
        }),
      ];
    },
    async stop(options) {
      for (const feed of feeds.values()) feed.stop();
      await Promise.all(periodics.map((one) => one.stop()));
      await stopSources(all, options);
    },
  };
}

/** How a source makes its claimed requests. */
function performer(
  { sources, hostShortages, log }: PollerDependencies,
  { name, schedule, limiter, throttle, asker, streams }: Source,
  { observeRun, lists }: { observeRun: ReturnType<typeof observer>; lists: SourceFeed['lists'] },
) {
  return createPerform({
    schedule,
    limiter,
    source: {
      saw: (isTroubled) => throttle.saw(isTroubled),
      probeList: () => asker.probeList(),
      dropProbe: (request) => sources.probeLease(name).end(request),
    },
    observeRun,
    feed: {
      makePlan: (claim) => lists.makePlan(claim),
      readPage: (claim, permit) => lists.readPage(claim, permit),
      openStream: (claim, permit) => streams.openClaimed(claim, permit),
    },
    beforeFirst: (watch, { count }) =>
      streams.beforeFirst(watch, { count, limit: limiter.limit.requests }),
    onExhausted: (error) => hostShortages.note(error),
    onError: faultLog(log, 'poll', { source: name }),
  });
}

function openFeeds(
  deps: SourceFeedDependencies,
  sources: readonly Source[],
  policy: PollPolicy,
): Map<string, SourceFeed> {
  return new Map(sources.map((source) => [source.name, openFeed(deps, source, policy)]));
}

function feedOf(feeds: ReadonlyMap<string, SourceFeed>, name: string): SourceFeed {
  const feed = feeds.get(name);
  if (feed === undefined) throw new Error(`no feed of source ${name}`);
  return feed;
}

function reconfigureAll(sources: readonly Source[], settings: Config['sources']): void {
  for (const source of sources) {
    const next = settings[source.name];
    if (next !== undefined) source.reconfigure(next, Object.values(settings));
  }
}

function surveyAll(sources: Source[], feeds: ReadonlyMap<string, SourceFeed>): Promise<void> {
  return each(sources, async (source) => {
    await source.survey();
    await feeds.get(source.name)?.tend();
  });
}

async function each(sources: Source[], act: (source: Source) => Promise<unknown>): Promise<void> {
  await Promise.all(sources.map(act));
}

/** The claims of this process in all sources, and the streams that it follows. */
function claimedWork({ sources: store }: PollerDependencies, sources: Source[]): ClaimedWork {
  return {
    takeOver: (dead) =>
      each(sources, async ({ name, schedule, streams }) => {
        await store.probeLease(name).endOf(dead);
        await schedule.takeOver(dead);
        await streams.takeOver(dead);
      }),
    tend: () => each(sources, ({ schedule }) => schedule.tend()),
    moveBack: (step) => each(sources, ({ schedule }) => schedule.moveBack(step)),
  };
}

/** How a source fares against its rate limit: by the plan of its feed, where there is one. */
function loads(sources: ReadonlyMap<string, Source>, feeds: ReadonlyMap<string, SourceFeed>) {
  return (name: string): SourceLoad => {
    const load = sources.get(name)?.limiter.load() ?? NO_LOAD;
    return loadByPlan(load, feeds.get(name)?.lists.costMultiplier() ?? null);
  };
}

/** What single polls go by. */
function pollContext({ endpoints }: PollerDependencies, sources: Map<string, Source>) {
  return {
    sourceOf: (name: string) => sources.get(name),
    scheduleOf: (name: string) => sources.get(name)?.schedule,
    readerOf: (name: string) => sources.get(name)?.reader,
    sourceHealth: (name: string) => healthOf(sources.get(name)),
    limiterOf: (name: string) => sources.get(name)?.limiter,
    streamsOf: (name: string) => sources.get(name)?.streams,
    isConsistent: async (name: string) =>
      (await sources.get(name)?.agreement.isConsistent()) ?? true,
    wants: endpoints.wants,
  };
}

async function healthOf(source: Source | undefined) {
  const record = await source?.throttle.read();
  return {
    answeredAt: record?.answeredAt ?? null,
    openSince: record?.openSince ?? null,
    closedFor: record?.state?.closed?.reason ?? null,
  };
}

type PollContext = ReturnType<typeof pollContext> & {
  policy: PollPolicy;
  loadOf: (source: string) => SourceLoad;
};

function observer(
  deps: PollerDependencies,
  context: PollContext,
  feeds: ReadonlyMap<string, SourceFeed>,
) {
  const onError = faultLog(deps.log, 'feed');
  return createObserveRun({
    ...deps,
    ...context,
    askList: (name) => context.sourceOf(name)?.asker.askList(),
    report(report) {
      const { watch } = report;
      const limiter = context.limiterOf(watch.source);
      if (limiter !== undefined) timedBy(limiter, report, context.policy);
      deps.metrics.poll(report);
      logPoll(deps.log, report);
      deps.tracing.polled(report);
      const { agreement } = context.sourceOf(watch.source) ?? {};
      agreement?.note(watch.runId, report.agreement).catch(onError);
      const lists = feeds.get(watch.source)?.lists;
      lists?.notice(watch).catch(onError);
      if (report.knownBy === 'list') lists?.confirm(watch).catch(onError);
      const streams = context.sourceOf(watch.source)?.streams;
      if (streams !== undefined) noticedBy(streams, report).catch(onError);
      deps.watchNotes.polled(report.watch);
    },
  });
}

/** Shows the rate limiter how a poll was timed. */
function timedBy(
  limiter: Source['limiter'],
  { before, watch, isFirst, lagMs }: PollReport,
  { maxIntervalMs }: PollPolicy,
): void {
  // First polls start when they are requested, not when due.
  if (isFirst) return;
  limiter.began(lagMs);
  const waitMs = widenedWait(before, watch, { maxIntervalMs, lagMs });
  if (waitMs !== null) limiter.longestWait.add(waitMs);
}

/** Lets streams follow a poll, and counts by what its transition became known. */
async function noticedBy(
  streams: StreamFeed,
  { watch, outcome, events, knownBy }: PollReport,
): Promise<void> {
  if (outcome === 'run') streams.noticed(watch);
  const before = events.find(({ data }) => data.previous !== null)?.data.previous;
  if (!before || watch.run === null) return;
  await streams.countKnown(before.status, watch.run.status, knownBy);
}

function repairer({ watches, log }: PollerDependencies, sources: Source[]): () => Promise<void> {
  return createRepairSchedule({
    watches,
    schedules: new Map(sources.map(({ name, schedule }) => [name, schedule])),
    onRepaired: (repaired) => log.warn(repaired, 'watches that were missing from the schedule'),
  });
}

function goneChecker(deps: PollerDependencies, context: PollContext): () => Promise<void> {
  return createCheckGone({
    ...deps,
    ...context,
    contextOf: ({ source }, now) => ({
      now,
      beganAt: now,
      lagMs: 0,
      mode: 'single' as const,
      isStreamed: false,
      nodes: null,
      answeredAt: now,
      openSince: null,
      closedFor: null,
      isConsistent: true,
      policy: context.policy,
      statistics: deps.statistics.lookup,
      wants: context.wants,
      load: context.loadOf(source),
      random: deps.random,
      linksOf: deps.linksOf,
      newMark: deps.newMark,
    }),
    onScheduled: async (source) => context.scheduleOf(source)?.entered(1),
  });
}

async function stopSources(
  sources: Source[],
  { force, withinMs }: { force: boolean; withinMs: number },
): Promise<void> {
  const giveUp = () => {
    for (const source of sources) source.giveUp();
  };
  // An aborted request releases its claim at once.
  const patience = setTimeout(giveUp, Math.min(HAND_BACK_MS, withinMs / 2));
  await Promise.all(sources.map((source) => source.stop(force)));
  clearTimeout(patience);
  giveUp();
  for (const source of sources) await source.close();
}

/** How often the duration samples of other processes are read, ms. */
const REFRESH_MS = 5_000;

interface LearningDependencies {
  statistics: StatisticsStore;
  log: Logger;
  now: () => number;
}

/** A cache of the duration statistics of all processes. */
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
