import { createHmac } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Config, SourceConfig } from '../config/schema.ts';
import { loadSourceAuthorities } from '../config/tls-files.ts';
import { isoTime } from '../core/event/event.ts';
import { isWidened } from '../core/cadence/load.ts';
import {
  autoConcurrency,
  MOST_UNDER_WAY,
  shareOf,
  type AskedSource,
  type RateLimit,
} from '../core/source/limiter.ts';
import { isAborted } from '../deadline.ts';
import type { Names } from '../names.ts';
import { createNoxusClient, type NoxusClient } from '../noxus/client.ts';
import type { StreamFeed } from '../feed/stream-feed.ts';
import type { WorkflowNames } from '../feed/workflow-names.ts';
import { overdueHelp, overdueMessage, type Overdue } from '../core/source/overdue.ts';
import { readsText, sourceReads, type SourceReads } from '../core/source/read-times.ts';
import { OverdueMonitor, Schedule, type RequestClaim } from '../poll/schedule.ts';
import type { ObserveRunDependencies } from '../poll/observe-run.ts';
import { Slots } from '../poll/source-slots.ts';
import { createSourceLimiter, type SourceLimiter } from '../poll/source-limiter.ts';
import type { SourceAgreement } from '../poll/source-agreement.ts';
import type { SourceThrottle } from '../poll/source-throttle.ts';
import type { SlotQueue, SlotWorker } from '../queue/slot-queue.ts';
import type { WakeChannel } from '../redis/channels.ts';
import type { ConsistencyStore } from '../redis/stores/consistency-store.ts';
import type { BudgetStore, SourceStore } from '../redis/stores/source-store.ts';
import type { NodeNameStore } from '../redis/stores/name-store.ts';
import type { ScheduleStore } from '../redis/stores/schedule-store.ts';
import type { StreamStore } from '../redis/stores/stream-store.ts';
import type { WatchStore } from '../redis/stores/watch-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Endpoints } from '../deliver/endpoints.ts';
import { faultLog } from '../fault-log.ts';
import type { HostShortages } from './host-shortages.ts';
import { startPeriodic, type Periodic } from '../periodic.ts';
import {
  reportingReader,
  listAsker,
  openAgreement,
  openThrottle,
  type ListAsker,
  type SourceReader,
} from './source-reader.ts';
import { openStreams } from './source-streams.ts';
import type { SystemEvents } from './system-events.ts';

/** How often streams, and names of workflows, are tended, ms. */
const TEND_EVERY_MS = 1_000;

/** The time that a poll may take beyond its request, to write its result, ms. */
const WRITE_MS = 5_000;

/** One Noxus workspace: its client, schedule and rate limit. */
export interface Source {
  name: string;
  /** Reads runs and lists; the throttle sees every answer. */
  reader: SourceReader;
  throttle: SourceThrottle;
  /** How far polls of its runs agree. */
  agreement: SourceAgreement;
  limiter: SourceLimiter;
  schedule: Schedule;
  /** Event streams of its runs. */
  streams: StreamFeed;
  isRunning(): boolean;
  /** @param perform makes a claimed request and settles it; never throws. It returns false where it came too late. */
  start(perform: (claim: RequestClaim) => Promise<boolean>): void;
  /** How far its polls are overdue; null if they are not. */
  overdue(): Overdue | null;
  /** How often its runs are read; null where that is not known. */
  reads(): SourceReads | null;
  /**
   * Takes another API key and rate limit; a key that was refused before is tried at once, and a raised limit used.
   * @param all the sources with which it shares what a process has under way
   */
  reconfigure(next: SourceConfig, all: readonly SourceConfig[]): void;
  /** Surveys the schedule, which finds lost wake-ups. */
  survey(): Promise<void>;
  /** @param force does not wait for polls that run */
  stop(force: boolean): Promise<void>;
  /** Aborts requests in progress. */
  giveUp(): void;
  /** Requests the source's list, to test whether it answers. */
  asker: ListAsker;
  /** Requests it where nothing is known of the source yet. */
  greet(): Promise<void>;
  /** How long one request may probe a paused source, ms. */
  probeMs: number;
  close(): Promise<void>;
}

export interface SourceDependencies {
  config: Config;
  watches: WatchStore;
  sources: SourceStore;
  consistencies: ConsistencyStore;
  budgets: BudgetStore;
  streams: StreamStore;
  workflowNames: Pick<WorkflowNames, 'tend'>;
  nodeNames: NodeNameStore;
  endpoints: Pick<Endpoints, 'wants'>;
  random: () => number;
  statistics: ObserveRunDependencies['statistics'];
  requests: ScheduleStore;
  wake: WakeChannel;
  systemEvents: Pick<SystemEvents, 'raise' | 'raiseWith'>;
  queueOf: (name: string) => SlotQueue;
  /** Keys the fingerprints of API keys. */
  signingSecret: string;
  /** This process, and tokens of its claims. */
  processId: string;
  newToken: () => string;
  userAgent: string;
  names: Names;
  hostShortages: Pick<HostShortages, 'note'>;
  metrics: Metrics;
  now: () => number;
  log: Logger;
}

const clock = () => performance.now();

function measureBusy(): () => number {
  const before = performance.eventLoopUtilization();
  return () => performance.eventLoopUtilization(before).utilization;
}

export function openSource(deps: SourceDependencies, name: string, source: SourceConfig): Source {
  const onError = faultLog(deps.log, 'budget', { source: name });
  const limit = limitOf(source);
  const limiter = createSourceLimiter({
    source: name,
    limit,
    store: deps.budgets,
    clock,
    newId: deps.newToken,
    onError,
  });
  const client = openClient(deps, name, { source, limiter });
  const work = openWork(deps, name, { client, limiter, source });
  const { schedule, ...working } = work;
  const throttle = openThrottle(deps, name, {
    access: accessOf(deps, source),
    active: () => limiter.active(),
    countWatches: () => schedule.countWatches(),
    onOpen: () => work.opened(),
  });
  const agreement = openAgreement(deps, name, () => schedule.countWatches());
  const reader = reportingReader(client, throttle);
  const streams = openStreams(deps, name, { source, limiter, schedule, throttle, reader });
  const asker = listAsker({ reader, limiter, now: deps.now, onError });
  const tendNames = () =>
    deps.workflowNames.tend(name, {
      readWorkflows: (question) => reader.readWorkflows(question),
      claimPermit: () => limiter.claim(),
    });
  const worked = withChores(deps, { name, streams, working, tendNames });
  let { api_key: apiKey } = source;
  const reads = () => readsOf(deps, name, { limiter, schedule });
  return {
    ...worked,
    name,
    reader,
    throttle,
    agreement,
    limiter,
    schedule,
    streams,
    asker,
    async greet() {
      await throttle.freshen();
      if ((await throttle.read()).answeredAt === null) asker.askList();
    },
    reads,
    survey: surveyWith(deps.log, reads, tending({ throttle, agreement }, worked.survey)),
    probeMs: source.timeout + WRITE_MS,
    reconfigure(next, all) {
      const before = { ...limit };
      // The limiter and the schedule hold this very object.
      Object.assign(limit, limitOf(next));
      work.shareWith(all);
      if (!isDeepStrictEqual(before, limit)) work.slots.free();
      if (next.api_key === apiKey) return;
      apiKey = next.api_key;
      client.useApiKey(apiKey);
      streams.useApiKey(apiKey);
      throttle.useAccess(accessOf(deps, next));
      throttle.freshen().catch(onError);
    },
  };
}

function openClient(
  deps: SourceDependencies,
  name: string,
  { source, limiter }: { source: SourceConfig; limiter: SourceLimiter },
): NoxusClient {
  return createNoxusClient({
    baseUrl: source.base_url,
    apiKey: source.api_key,
    timeoutMs: source.timeout,
    maxSockets: socketsOf(deps.config),
    ca: loadSourceAuthorities(name, source),
    proxy: source.proxy,
    names: deps.names,
    userAgent: deps.userAgent,
    now: deps.now,
    mayRetry: async () => (await limiter.claim().catch(() => null)) !== null,
    onRequest: (request) => deps.metrics.request(name, request),
    onUnreadField: (field) => deps.log.warn({ source: name, field }, 'source.field_unread'),
  });
}

/** Judges the source as a whole with each survey. */
function tending(
  { throttle, agreement }: Pick<Source, 'throttle' | 'agreement'>,
  survey: () => Promise<void>,
) {
  return async (): Promise<void> => {
    await throttle.freshen();
    await agreement.tend();
    await survey();
  };
}

/** With each survey, logs a change of whether runs are read as often as they are to be. */
function surveyWith(log: Logger, readsNow: Source['reads'], survey: () => Promise<void>) {
  let isRare = false;
  return async (): Promise<void> => {
    await survey();
    const reads = readsNow();
    const isRareNow = (reads?.stretched ?? 0) > 0;
    if (reads === null || isRareNow === isRare) return;
    isRare = isRareNow;
    const { source, runs, stretched, longestMs } = reads;
    const fields = { source, runs, stretched, longest_ms: longestMs, text: readsText(reads) };
    if (isRare) log.warn(fields, 'polling.beyond_max_interval');
    else log.info(fields, 'polling.within_max_interval');
  };
}

function readsOf(
  { config: { polling } }: SourceDependencies,
  source: string,
  { limiter, schedule }: Pick<Source, 'limiter' | 'schedule'>,
): SourceReads | null {
  const times = schedule.feed.readTimes();
  return sourceReads({
    source,
    limit: limiter.limit,
    maxIntervalMs: polling.max_interval,
    load: limiter.load(),
    active: limiter.active(),
    waitMs: limiter.longestWait.ms,
    planned: times && { times, wantedPerMs: schedule.feed.wantedPerMs() },
    isByLists: polling.lists === 'auto',
  });
}

/**
 * A fingerprint of what a source is reached by. It is kept with what is known of the source, so the key
 * cannot be guessed from it without the secret of this installation.
 */
function accessOf({ signingSecret }: SourceDependencies, source: SourceConfig): string {
  const text = JSON.stringify([source.base_url, source.api_key]);
  return createHmac('sha256', signingSecret).update(text).digest('base64url').slice(0, 22);
}

function limitOf({ rate_limit: { requests, per } }: SourceConfig): RateLimit {
  return { requests, perMs: per };
}

interface WorkOptions extends Pick<Source, 'limiter'> {
  client: NoxusClient;
  source: SourceConfig;
}

const notStarted = async (): Promise<boolean> => true;

/** The schedule of a source, and its slots. */
function openWork(deps: SourceDependencies, name: string, options: WorkOptions) {
  const { requests, wake, processId, newToken } = deps;
  const { client, limiter, source } = options;
  const { concurrency } = deps.config.polling;
  let all = Object.values(deps.config.sources);
  const queue = deps.queueOf(`poll-${name}`);
  const onError = faultLog(deps.log, 'poll', { source: name });
  let perform: (claim: RequestClaim) => Promise<boolean> = notStarted;
  const schedule: Schedule = new Schedule({
    source: name,
    store: requests,
    process: processId,
    newToken,
    limit: limiter.limit,
    roundMs: () => limiter.load().roundMs,
    isShort: () => isWidened(deps.config.polling.max_interval, limiter.load()),
    deadlineMs: source.timeout + WRITE_MS,
    wakeOthers: () => wake.wake(name),
    onDue: () => slots.due(),
    onDueIn: (ms) => slots.dueIn(ms),
    clock,
  });
  const slots = new Slots({
    claim: (most) => schedule.claim(most),
    perform: (claim) => perform(claim),
    ask: () => queue.ask(),
    countAtWork: () => queue.countAtWork(),
    wakeAll: () => wake.wake(name),
    most: () =>
      concurrencyOf(concurrency, { limit: limiter.limit, timeoutMs: source.timeout }, all),
    isFixed: concurrency !== 'auto',
    measureBusy,
    clock,
    onError,
  });
  wake.on(name, () => slots.woken());
  const overdue = openOverdueMonitor(deps, name, { limit: limiter.limit, schedule });
  return {
    schedule,
    slots,
    queue,
    shareWith: (sources: readonly SourceConfig[]) => void (all = [...sources]),
    giveUp: () => client.close(),
    /** The source takes requests again. */
    async opened() {
      slots.free();
      await wake.wake(name);
    },
    performWith: (by: typeof perform) => void (perform = by),
    overdue: () => overdue.current(),
    async survey() {
      const survey = await schedule.survey();
      limiter.watched(survey.members);
      deps.metrics.overdue(name, survey);
      // While the source is paused, polls wait for it, not for requests.
      await overdue.check(schedule.isPaused() ? { ...survey, due: 0, oldestMs: null } : survey);
    },
  };
}

type Working = Omit<ReturnType<typeof openWork>, 'schedule'>;

function withChores(
  { log }: SourceDependencies,
  {
    name,
    streams,
    working,
    tendNames,
  }: { name: string; streams: StreamFeed; working: Working; tendNames: () => Promise<void> },
) {
  const { slots, queue, survey, overdue, giveUp, performWith } = working;
  const workers: SlotWorker[] = [];
  const chores: Periodic[] = [];
  return {
    isRunning: () => workers.some((worker) => worker.isRunning()),
    survey,
    overdue,
    giveUp,
    start(perform: (claim: RequestClaim) => Promise<boolean>) {
      performWith(perform);
      workers.push(queue.work(() => slots.run()));
      const onError = faultLog(log, 'streams', { source: name });
      const namesFault = unlessAborted(faultLog(log, 'workflow names', { source: name }));
      chores.push(
        startPeriodic(() => streams.tend(), { everyMs: TEND_EVERY_MS, onError }),
        startPeriodic(tendNames, { everyMs: TEND_EVERY_MS, onError: namesFault }),
      );
    },
    async stop(force: boolean) {
      slots.stop();
      for (const chore of chores) await chore.stop();
      // Other processes take over its streams, at the latest when they count this one as dead.
      if (!force) await streams.stop();
      for (const worker of workers) await worker.close(force);
      // What was under way is released by now, so that the next slot finds it.
      if (!force) await slots.leave();
    },
    close: () => queue.close(),
  };
}

function unlessAborted(onError: (error: unknown) => void) {
  return (error: unknown): void => {
    if (!isAborted(error)) onError(error);
  };
}

/** The most requests to a source that this process has under way. */
function concurrencyOf(
  concurrency: Config['polling']['concurrency'],
  source: AskedSource,
  all: readonly SourceConfig[],
): number {
  const asked = all.map(askedSource);
  return concurrency === 'auto'
    ? autoConcurrency(source, asked)
    : shareOf(concurrency, source, asked);
}

/** The most connections to a source: other requests than those of slots are few. */
function socketsOf({ polling: { concurrency } }: Config): number {
  return concurrency === 'auto' ? MOST_UNDER_WAY : concurrency;
}

function askedSource(source: SourceConfig): AskedSource {
  return { limit: limitOf(source), timeoutMs: source.timeout };
}

/** Raises system events when the polls of a source become overdue, and when they have caught up. */
function openOverdueMonitor(
  { requests, budgets, systemEvents, now }: SourceDependencies,
  source: string,
  { limit, schedule }: { limit: RateLimit; schedule: Schedule },
): OverdueMonitor {
  let since: number | null = null;
  return new OverdueMonitor({
    source,
    limit,
    wantedPerMs: () => schedule.feed.wantedPerMs(),
    usedShare: async () => (await budgets.used(source)) / limit.requests,
    note: async (overdue) => {
      const at = now();
      if (overdue !== null) since ??= at - overdue.oldestMs;
      await systemEvents.raiseWith(
        overdue === null
          ? { type: 'polling.caught_up', level: 'info', data: caughtUpData(source, since, at) }
          : { type: 'polling.overdue', level: 'warn', data: overdueData(overdue, at) },
        (event) => requests.noteOverdue(source, overdue !== null, event),
      );
      if (overdue === null) since = null;
    },
  });
}

/** @param since when polls became overdue; null where a process that has ended knew it */
export function caughtUpData(source: string, since: number | null, now: number) {
  return {
    source,
    message: 'no poll is overdue any more',
    since: since === null ? null : isoTime(since),
    lasted_ms: since === null ? null : Math.max(0, Math.round(now - since)),
    help: 'nothing: polls are in time again',
  };
}

export function overdueData(overdue: Overdue, now: number) {
  const { source, polls, oldestMs, wantedRequests, limit } = overdue;
  return {
    source,
    message: overdueMessage(overdue),
    polls,
    oldest_ms: Math.round(oldestMs),
    since: isoTime(now - oldestMs),
    rate_limit: { requests: limit.requests, per_ms: limit.perMs },
    rate_limit_that_would_do: { requests: wantedRequests, per_ms: limit.perMs },
    help: overdueHelp(overdue),
  };
}
