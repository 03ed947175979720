import { ALL_WORKFLOWS, type Config, registerDefaults } from '../config/schema.ts';
import { isoTime } from '../core/event/event.ts';
import { listMember } from '../core/feed/member.ts';
import { pageMember } from '../core/feed/page-name.ts';
import type { RunList } from '../core/feed/run-list.ts';
import type { StatisticsLookup } from '../core/cadence/hazard.ts';
import { longestInterval, NO_LOAD } from '../core/cadence/load.ts';
import type { PollPolicy } from '../core/watch/observation.ts';
import type { Watch } from '../core/watch/watch.ts';
import {
  createDiscoverRuns,
  createWatchDiscovered,
  type DiscoverPass,
  type DiscoveryLog,
  type DiscoveryTroubles,
} from '../feed/discovery.ts';
import { RememberedCursors } from '../feed/remembered-cursors.ts';
import { ListFeed, type ListFeedDependencies } from '../feed/list-feed.ts';
import type { DiscoveryStore } from '../redis/stores/discovery-store.ts';
import type { FeedStore } from '../redis/stores/feed-store.ts';
import type { WatchStore } from '../redis/stores/watch-store.ts';
import { logPage, type Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Endpoints } from '../deliver/endpoints.ts';
import type { Source } from './source.ts';
import type { SystemEvents } from './system-events.ts';

export interface SourceFeedDependencies {
  config: Config;
  feeds: FeedStore;
  discoveries: DiscoveryStore;
  watches: WatchStore;
  endpoints: Endpoints;
  systemEvents: Pick<SystemEvents, 'raiseWith'>;
  metrics: Metrics;
  log: Logger;
  statistics: { lookup: StatisticsLookup };
  now: () => number;
  random: () => number;
}

/** The head of a list is missed in the schedule, or late, after so many times its usual interval. */
const MISSED = 10;

/** The lists of one source: read for its watches, and for discovery. */
export interface SourceFeed {
  lists: ListFeed;
  /** Lists that runs are discovered in. */
  discovered: readonly RunList[];
  /** Sees to it that the heads of these are read, and reads the plan of other processes. */
  tend(): Promise<void>;
  stop(): void;
}

export function openFeed(
  deps: SourceFeedDependencies,
  source: Source,
  policy: PollPolicy,
): SourceFeed {
  const stopping = new AbortController();
  const discovered = listsOf(deps.config, source.name);
  const cursors = new RememberedCursors(deps.discoveries, discovered);
  const passes = new Map<string | null, DiscoverPass>();
  const { limiter, schedule, reader } = source;
  const feedDeps = {
    source: source.name,
    isOn: deps.config.polling.lists === 'auto',
    store: deps.feeds,
    reader,
    schedule,
    requestsPerMs: () => limiter.limit.requests / limiter.limit.perMs,
    minIntervalMs: policy.minIntervalMs,
    maxIntervalMs: policy.maxIntervalMs,
    memberOf: memberOf(deps, policy),
    needsMetadata: () => deps.endpoints.matchMetadata,
    longestMs: ({ maxDelayMs }: Watch) =>
      maxDelayMs ??
      longestInterval(policy.maxIntervalMs, { ...NO_LOAD, roundMs: limiter.load().roundMs }),
    streams: source.streams,
    discoverPass: ({ workflowId }: RunList) => passes.get(workflowId) ?? null,
    report: reporter(deps),
    now: deps.now,
    random: deps.random,
  };
  for (const list of discovered) {
    passes.set(
      list.workflowId,
      discoverPass(deps, {
        list,
        source,
        cursors,
        signal: stopping.signal,
        readPage: (sweep, wanted) => lists.read(sweep, wanted),
      }),
    );
  }
  const lists = new ListFeed(feedDeps);
  schedule.feed = lists;
  const heads = headsOf(discovered, deps.config.sources[source.name]?.discover?.every ?? 0);
  return {
    lists,
    discovered,
    async tend() {
      await cursors.refresh();
      await schedule.enterFeed('list', heads);
      // Without watches there is nothing to plan: an idle daemon asks for as little as it can.
      if (limiter.active() > 0) await lists.refresh();
    },
    stop: () => stopping.abort(),
  };
}

function reporter({ metrics, log }: SourceFeedDependencies): ListFeedDependencies['report'] {
  return (report) => {
    metrics.list(report);
    logPage(log, report);
  };
}

function headsOf(lists: readonly RunList[], everyMs: number) {
  return lists.map(({ workflowId }) => ({
    member: pageMember({ workflowId, page: 1 }),
    withinMs: MISSED * everyMs,
  }));
}

/** A list of runs that cannot be read. */
export interface UnreadList extends RunList {
  /** Since when, ms since the epoch. */
  since: number;
  /** Which list, and why. */
  text: string;
}

/** How discovery stands. */
export interface Discovery {
  /** The lists that cannot be read; null where nothing is to be discovered. */
  troubles(): Promise<UnreadList[] | null>;
  /** The sources with lists that no process has read to where they were read before within so many ms. */
  unreadFor(ms: number): Promise<string[]>;
}

export function createDiscovery({
  config,
  discoveries,
}: Pick<SourceFeedDependencies, 'config' | 'discoveries'>): Discovery {
  const lists = Object.keys(config.sources).flatMap((source) => listsOf(config, source));
  /** Lists that were read since this process began. */
  const read = new Set<string>();
  return {
    async troubles() {
      if (lists.length === 0) return null;
      const found = await discoveries.troubles(lists);
      return lists.flatMap((list, at) => {
        const trouble = found[at] ?? null;
        if (trouble === null) return [];
        return [{ ...list, since: trouble.since, text: `${nameOf(list)}: ${trouble.message}` }];
      });
    },
    async unreadFor(ms) {
      const left = lists.filter((list) => !read.has(nameOf(list)));
      const ages = await discoveries.ages(left);
      left.forEach((list, at) => {
        if ((ages[at] ?? Infinity) < ms) read.add(nameOf(list));
      });
      return lists.flatMap((list) => (read.has(nameOf(list)) ? [] : [list.source]));
    },
  };
}

/** The sources with events that may be missing: lists are not read, polls are late, or it gives no answer. */
export async function findSourcesInDoubt({
  discovery,
  poller,
  forMs,
}: {
  discovery: Discovery;
  /** For how long this process has run, ms: what it has not seen read may be missing. */
  forMs: number;
  poller: { overdue(): { source: string }[]; sources: readonly Source[] };
}): Promise<Set<string>> {
  const troubles = (await discovery.troubles()) ?? [];
  const unread = await discovery.unreadFor(forMs);
  const records = await Promise.all(
    poller.sources.map(async ({ name, throttle }) => ({ name, record: await throttle.read() })),
  );
  return new Set([
    ...troubles.map(({ source }) => source),
    ...unread,
    ...poller.overdue().map(({ source }) => source),
    ...records
      .filter(({ record }) => (record.state?.closed ?? null) !== null)
      .map(({ name }) => name),
  ]);
}

function nameOf({ source, workflowId }: RunList): string {
  return workflowId === null ? source : `${source}, workflow ${workflowId}`;
}

function listsOf({ sources }: Config, source: string): RunList[] {
  return (sources[source]?.discover?.workflows ?? []).map((id) => ({
    source,
    workflowId: id === ALL_WORKFLOWS ? null : id,
  }));
}

/** From when on runs of a list are discovered, ms since the epoch; null for its first reading. */
function sinceOf({ sources }: Config, { source }: RunList): number | null {
  const since = sources[source]?.discover?.since ?? 'registration';
  return since === 'registration' ? null : Date.parse(since);
}

/** A watch as its list has it, at the interval that it would have in a source that keeps up. */
function memberOf(
  { statistics, endpoints, now, random }: SourceFeedDependencies,
  policy: PollPolicy,
) {
  return (watch: Watch) =>
    listMember(watch, {
      policy,
      statistics: statistics.lookup,
      wants: endpoints.wants,
      load: NO_LOAD,
      now: now(),
      random,
    });
}

interface PassContext {
  list: RunList;
  source: Source;
  cursors: RememberedCursors;
  signal: AbortSignal;
  readPage: ListFeed['read'];
}

function discoverPass(
  deps: SourceFeedDependencies,
  { list, source, cursors, signal, readPage }: PassContext,
): DiscoverPass {
  const { config, endpoints, now } = deps;
  const everyMs = config.sources[list.source]?.discover?.every ?? 0;
  return createDiscoverRuns({
    list,
    since: sinceOf(config, list),
    readPage,
    claimPermit: () => source.limiter.claim(source.probeMs),
    renew: (claim) => source.schedule.renew(claim),
    store: cursors,
    troubles: discoveryTroubles(deps, everyMs),
    closedUntil: async () => (await source.throttle.read()).state?.closed?.probeAt ?? null,
    watch: createWatchDiscovered({
      ...deps,
      scheduleOf: () => source.schedule,
      subscriptions: () => endpoints.defaults.map((endpoint) => ({ kind: 'endpoint', endpoint })),
      defaults: registerDefaults(config),
    }),
    everyMs,
    isStopping: () => signal.aborted,
    log: discoveryLog(deps),
    now,
  });
}

type DiscoveryLogDependencies = {
  log: Pick<Logger, 'info' | 'warn'>;
  metrics: Pick<Metrics, 'discovered'>;
};

function discoveryLog({ log, metrics }: DiscoveryLogDependencies): DiscoveryLog {
  return {
    discovered(list, runs) {
      metrics.discovered(list.source, runs);
      log.info({ ...fieldsOf(list), runs }, 'discovered');
    },
    cutShort(list, oldest) {
      const help = 'register older runs yourself: the first reading takes at most 1,000 of a list';
      log.warn({ ...fieldsOf(list), oldest: isoTime(oldest), help }, 'discovery.cut_short');
    },
  };
}

/** A pause that a source may ask for comes on top of the usual time to the next attempt, ms. */
const LONGEST_PAUSE_MS = 900_000;

/** @param everyMs from one reading of the list to the next */
export function discoveryTroubles(
  {
    discoveries,
    systemEvents,
    now,
  }: Pick<SourceFeedDependencies, 'discoveries' | 'systemEvents' | 'now'>,
  everyMs: number,
): DiscoveryTroubles {
  // Longer than any pause between attempts, else each failure would count as the first.
  const keptMs = 2 * (everyMs + LONGEST_PAUSE_MS);
  const troubleOf = async (list: RunList) => (await discoveries.troubles([list]))[0] ?? null;
  return {
    async fail(list, message) {
      const before = await troubleOf(list);
      const failures = (before?.failures ?? 0) + 1;
      const trouble = { message, failures, since: before?.since ?? now() };
      if (before !== null) {
        await discoveries.keepTrouble(list, trouble, keptMs);
        return failures;
      }
      const data = {
        ...fieldsOf(list),
        message,
        since: isoTime(trouble.since),
        help: 'check that Noxus answers and that the api_key of the source may list runs; runs that begin meanwhile are found afterwards',
      };
      await systemEvents.raiseWith(
        { type: 'discovery.unavailable', level: 'warn', data },
        (event) => discoveries.beginTrouble(list, trouble, { keptMs, event }),
      );
      return failures;
    },
    async recover(list) {
      const before = await troubleOf(list);
      if (before === null) return;
      const data = {
        ...fieldsOf(list),
        message: 'the list can be read again',
        since: isoTime(before.since),
        lasted_ms: Math.max(0, Math.round(now() - before.since)),
        help: 'nothing: runs that began meanwhile are watched now',
      };
      await systemEvents.raiseWith({ type: 'discovery.recovered', level: 'info', data }, (event) =>
        discoveries.endTrouble(list, event),
      );
    },
  };
}

function fieldsOf({ source, workflowId }: RunList) {
  return { source, workflow_id: workflowId };
}
