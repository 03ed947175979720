import { createHmac } from 'node:crypto';
import { pollPolicy, type Config, type SourceConfig } from '../config/schema.ts';
import { loadSourceAuthorities } from '../config/tls-files.ts';
import { loadByPlan, type SourceLoad } from '../core/cadence/load.ts';
import { MOST_UNDER_WAY, type RateLimit } from '../core/source/rate-limit.ts';
import type { Overdue } from '../core/source/overdue.ts';
import type { SourceHeaders, SourcePort } from '../core/source/port.ts';
import type { SourceTraits } from '../core/source/traits.ts';
import {
  readsText,
  sourceReads,
  widenedWait,
  type SourceReads,
} from '../core/source/read-times.ts';
import type { PollPolicy } from '../core/watch/observation.ts';
import type { PollReport } from '../core/watch/poll-report.ts';
import { isAborted } from '../deadline.ts';
import { faultLog } from '../fault-log.ts';
import { startPeriodic, type Periodic } from '../periodic.ts';
import type { Process } from '../process.ts';
import { logPoll } from '../telemetry/logger.ts';
import { SourceAgreement, RunObserver, type SourceHealth } from './observer.ts';
import { SourceDiscovery } from './discovery.ts';
import { SourceLimiter } from './limiter.ts';
import type { SourceKind } from './kinds.ts';
import { ListFeed } from './list-feed.ts';
import { OverdueMonitor, Schedule } from './schedule.ts';
import { Performer, Slots } from './slots.ts';
import { SourceReader } from './reader.ts';
import { StreamFeed } from './stream-feed.ts';
import { SourceThrottle } from './throttle.ts';

/** How often streams, and names of workflows, are tended, ms. */
const TEND_EVERY_MS = 1_000;

/** How often it is checked whether polls agree again, ms. */
const AGREE_EVERY_MS = 60_000;

/** How often headers that come from files are read again, ms. */
const REFRESH_HEADERS_MS = 60_000;

/** The time that a poll may take beyond its request, to write its result, ms. */
const WRITE_MS = 5_000;

/**
 * One source, and all that decides when and what it is asked. Its parts reach one another through it, and do
 * nothing before it is started:
 * - `schedule` says which request goes next: the cadence (`core/cadence`) sets the due time of a poll, the plan of
 *   lists (`core/feed/plan.ts`) that of a page, and the claim (`redis/stores/request-claim.ts`) takes the most
 *   urgent of what is due;
 * - `slots` claim it when one is due, as many at once as `concurrency` allows;
 * - `limiter` and `throttle` say whether a request may be sent at all: the rate limit, and what the source
 *   itself has answered;
 * - `performer` makes it: a poll by `observer`, a page by `lists`, a stream by `streams`. Each reads by `reader`;
 * - `lists` and `streams` give hints, which expedite and defer polls; `discovery` watches what lists show;
 * - what a poll found comes back by {@link Source.polled}, and sets the times of the next ones.
 */
export class Source {
  readonly traits: SourceTraits;
  /** What observations go by. */
  readonly policy: PollPolicy;
  readonly limiter: SourceLimiter;
  readonly throttle: SourceThrottle;
  /** How far polls of its runs agree. */
  readonly agreement: SourceAgreement;
  readonly reader: SourceReader;
  readonly schedule: Schedule;
  readonly slots: Slots;
  readonly performer: Performer;
  readonly observer: RunObserver;
  readonly streams: StreamFeed;
  readonly discovery: SourceDiscovery;
  readonly lists: ListFeed;
  private readonly port: SourcePort;
  private readonly overdueMonitor: OverdueMonitor;
  private readonly onFeedError: (error: unknown) => void;
  /** A fingerprint of what the source is reached by. */
  private access: string;
  /** Why headers could not be read again; null where they could. */
  private headersProblem: string | null = null;
  /** By the configuration that was read last, it is elsewhere after a restart. */
  private isMoved = false;
  private chores: Periodic[] = [];
  /** Whether runs are read more rarely than they are to be. */
  private isRare = false;

  constructor(
    readonly process: Process,
    readonly name: string,
    private readonly config: SourceConfig,
  ) {
    const kind = process.kindOf(name, config);
    this.traits = kind.traits;
    this.access = this.accessOf(config, kind.headers);
    this.policy = pollPolicy(process.config);
    const twiceWithin = this.traits.mayReadTwice ? config.timeout : null;
    this.limiter = new SourceLimiter(process, name, limitOf(config), twiceWithin);
    this.port = this.openPort(kind);
    this.throttle = new SourceThrottle(this, this.access);
    this.agreement = new SourceAgreement(this);
    this.reader = new SourceReader(this, this.port);
    this.schedule = new Schedule(this);
    this.slots = new Slots(this);
    this.performer = new Performer(this);
    this.observer = new RunObserver(this);
    this.streams = new StreamFeed(this);
    this.discovery = new SourceDiscovery(this);
    this.lists = new ListFeed(this);
    this.overdueMonitor = new OverdueMonitor(this);
    this.onFeedError = faultLog(process.log, 'feed');
    process.stores.wake.on(name, () => this.slots.woken());
  }

  get type(): 'noxus' | 'http' {
    return this.config.type ?? 'noxus';
  }

  /** The host that is asked, with its port where it has one. */
  get host(): string {
    return new URL(this.config.base_url).host;
  }

  /** How long one request may take, ms. */
  get timeoutMs(): number {
    return this.config.timeout;
  }

  /** The deadline of a claimed request, with the write of its result, ms. */
  get deadlineMs(): number {
    return this.config.timeout + WRITE_MS;
  }

  start(): void {
    const { log } = this.process;
    const source = this.name;
    this.slots.start();
    const onError = faultLog(log, 'streams', { source });
    this.chores = [
      startPeriodic(() => this.streams.tend(), { everyMs: TEND_EVERY_MS, onError }),
      startPeriodic(() => this.agreement.tend(), {
        everyMs: AGREE_EVERY_MS,
        onError: faultLog(log, 'agreement', { source }),
      }),
    ];
    if (this.traits.names) this.chores.push(...this.learnNames());
    this.chores.push(
      startPeriodic(async () => this.refreshHeaders(), {
        everyMs: REFRESH_HEADERS_MS,
        onError: faultLog(log, 'headers', { source }),
      }),
    );
  }

  isRunning(): boolean {
    return this.slots.isRunning();
  }

  /** @param force does not wait for polls that run */
  async stop(force: boolean): Promise<void> {
    this.slots.stop();
    for (const chore of this.chores) await chore.stop();
    // Other processes take over its streams, at the latest when they count this one as dead.
    if (!force) await this.streams.stop();
    await this.slots.leave(force);
  }

  /** Aborts requests in progress. */
  giveUp(): void {
    this.port.close();
  }

  close(): Promise<void> {
    return this.slots.close();
  }

  /** A poll is written: all that goes by polls takes note of it. */
  polled(report: PollReport): void {
    const { metrics, log, tracing, watchNotes } = this.process;
    const { watch, knownBy } = report;
    this.timedBy(report);
    metrics.poll(report);
    logPoll(log, report);
    tracing.polled(report);
    this.agreement.note(watch.runId, report.agreement).catch(this.onFeedError);
    this.lists.notice(watch).catch(this.onFeedError);
    if (knownBy === 'list') this.lists.confirm(watch).catch(this.onFeedError);
    this.streams.polled(report).catch(this.onFeedError);
    watchNotes.polled(watch);
  }

  /** Has the slots of all processes claim. */
  wakeAll(): Promise<void> {
    return this.process.stores.wake.wake(this.name);
  }

  /** The source takes requests again. */
  async opened(): Promise<void> {
    this.slots.free();
    await this.wakeAll();
  }

  /** How busy the rate limit is: by the plan of its lists, where there is one. */
  load(): SourceLoad {
    return loadByPlan(this.limiter.load(), this.lists.costMultiplier());
  }

  /** What decides what a poll without a run means. */
  async health(): Promise<SourceHealth> {
    const { answeredAt, openSince, state } = await this.throttle.read();
    return { answeredAt, openSince, closedFor: state?.closed?.reason ?? null };
  }

  /** How far its polls are overdue; null if they are not. */
  overdue(): Overdue | null {
    return this.overdueMonitor.current();
  }

  /** How often its runs are read; null where that is not known. */
  reads(): SourceReads | null {
    const { limiter, lists } = this;
    const { polling } = this.process.config;
    const times = lists.readTimes();
    return sourceReads({
      source: this.name,
      limit: limiter.limit,
      maxIntervalMs: polling.max_interval,
      load: limiter.load(),
      active: limiter.active(),
      waitMs: limiter.longestWait.ms,
      planned: times && { times, wantedPerMs: lists.wantedPerMs() },
      isByLists: lists.isOn,
    });
  }

  /** Asks whether the source answers where nothing is known of it yet, or it is closed and no poll will find out. */
  async greet(): Promise<void> {
    await this.throttle.freshen();
    const { answeredAt, closedFor } = await this.health();
    const isLeft = closedFor !== null && this.limiter.active() === 0;
    if (answeredAt === null || isLeft) this.reader.probeSoon();
  }

  /** Surveys the schedule, which finds lost wake-ups, and judges the source as a whole. */
  async survey(): Promise<void> {
    await this.throttle.freshen();
    await this.surveySchedule();
    this.logReads();
    await this.discovery.tend();
    // Without watches there is nothing to plan: an idle daemon asks for as little as it can.
    if (this.limiter.active() > 0) await this.lists.refresh();
  }

  /**
   * Takes other headers and another rate limit; a key that was refused before is tried at once, and a raised
   * limit used.
   * @param all the sources with which it shares what a process has under way
   */
  reconfigure(next: SourceConfig, all: readonly SourceConfig[]): void {
    const limit = this.limiter.change(limitOf(next));
    this.slots.shareWith(all);
    if (limit === 'taken') this.slots.free();
    if (limit === 'held') this.process.log.warn({ source: this.name }, 'source.rate_limit_held');
    // Another type or URL needs a restart, and its headers are not for this one.
    const { type, base_url: url } = this.config;
    this.isMoved = next.type !== type || next.base_url !== url;
    if (!this.isMoved) this.useHeaders(this.process.kindOf(this.name, next).headers);
    else this.process.log.warn({ source: this.name }, 'source.headers_held');
  }

  /** Takes headers that come from files as they are now: tokens that something else renews live hours. */
  refreshHeaders(): void {
    if (this.isMoved) return;
    const { headerFiles, log } = this.process;
    const read = headerFiles.reread(this.name);
    if (read === null) return;
    const problem = 'problem' in read ? read.problem : null;
    if (problem !== null && problem !== this.headersProblem) {
      log.warn({ source: this.name, problem }, 'source.headers_unread');
    }
    this.headersProblem = problem;
    if ('headers' in read) this.useHeaders(read.headers);
  }

  private useHeaders(headers: SourceHeaders): void {
    const access = this.accessOf(this.config, headers);
    if (access === this.access) return;
    this.access = access;
    this.port.useHeaders(headers);
    this.throttle.useAccess(access);
    this.throttle.freshen().catch(this.limiter.onError);
  }

  /** Begins to read the names of workflows and nodes. */
  private learnNames(): Periodic[] {
    const { process, name, reader, limiter } = this;
    const { log, workflowNames, nodeNames, knownNames } = process;
    const onFault = faultLog(log, 'names', { source: name });
    const onError = (error: unknown) => {
      if (!isAborted(error)) onFault(error);
    };
    const names = {
      readWorkflows: reader.readWorkflows.bind(reader),
      readDefinition: reader.readDefinition.bind(reader),
      claimPermit: () => limiter.claim(),
      usedShare: () => limiter.usedShare(),
    };
    const everyMs = TEND_EVERY_MS;
    const learning = [
      startPeriodic(() => workflowNames.tend(name, names), { everyMs, onError }),
      startPeriodic(() => nodeNames.tend(name, names), { everyMs, onError }),
    ];
    knownNames.readBy(name, () => {
      for (const one of learning) one.trigger();
    });
    return learning;
  }

  private async surveySchedule(): Promise<void> {
    const { schedule, limiter, overdueMonitor } = this;
    const survey = await schedule.survey();
    limiter.watched(survey.members);
    this.process.metrics.overdue(this.name, survey);
    // While the source is paused, polls wait for it, not for requests.
    const isPaused = schedule.isPaused();
    await overdueMonitor.check(isPaused ? { ...survey, due: 0, oldestMs: null } : survey);
  }

  /** Logs a change of whether runs are read as often as they are to be. */
  private logReads(): void {
    const reads = this.reads();
    const isRare = (reads?.stretched ?? 0) > 0;
    if (reads === null || isRare === this.isRare) return;
    this.isRare = isRare;
    const { log } = this.process;
    const { source, runs, stretched, longestMs } = reads;
    const fields = { source, runs, stretched, longest_ms: longestMs, text: readsText(reads) };
    if (isRare) log.warn(fields, 'polling.beyond_max_interval');
    else log.info(fields, 'polling.within_max_interval');
  }

  /** Shows the rate limiter how a poll was timed. */
  private timedBy({ before, watch, isFirst, lagMs }: PollReport): void {
    // First polls start when they are requested, not when due.
    if (isFirst) return;
    this.limiter.began(lagMs);
    const { maxIntervalMs } = this.policy;
    const waitMs = widenedWait(before, watch, { maxIntervalMs, lagMs });
    if (waitMs !== null) this.limiter.longestWait.add(waitMs);
  }

  private openPort(kind: SourceKind): SourcePort {
    const { process, name, config, limiter } = this;
    const { metrics, log } = process;
    return kind.open({
      timeoutMs: config.timeout,
      maxSockets: socketsOf(process.config),
      maxStreams: process.config.polling.hint_streams,
      ca: loadSourceAuthorities(name, config),
      proxy: config.proxy,
      names: process.names,
      userAgent: process.userAgent,
      now: process.now,
      mayRetry: async () => (await limiter.claim().catch(() => null)) !== null,
      onRequest: (request) => metrics.request(name, request),
      onUnreadField: (field) => log.warn({ source: name, field }, 'source.field_unread'),
    });
  }

  /**
   * A fingerprint of what a source is reached by. It is kept with what is known of the source, so the
   * headers cannot be guessed from it without the secret of this installation.
   */
  private accessOf({ base_url }: SourceConfig, headers: SourceHeaders): string {
    const { signingSecret } = this.process.secrets;
    const text = JSON.stringify([base_url, headers]);
    return createHmac('sha256', signingSecret).update(text).digest('base64url').slice(0, 22);
  }
}

function limitOf({ rate_limit: { requests, per } }: SourceConfig): RateLimit {
  return { requests, perMs: per };
}

/** The most connections to a source: other requests than those of slots are few. */
function socketsOf({ polling: { concurrency } }: Config): number {
  return concurrency === 'auto' ? MOST_UNDER_WAY : concurrency;
}
