import type { Config } from '../config/schema.ts';
import { AlertEngine } from '../alert/engine.ts';
import type { AlertHost } from '../alert/ports.ts';
import { createRehearse, type EventHistory } from '../alert/rehearse.ts';
import { createSilences } from '../alert/silences.ts';
import { createSuppressions } from '../alert/suppressions.ts';
import type { Alert, ResolvedBy } from '../core/alert/alert.ts';
import { alertEventOf, systemAlertEvent } from '../core/alert/entry.ts';
import { MOST_GROUPS } from '../core/alert/judgement.ts';
import type { AlertEvent } from '../core/alert/rule.ts';
import { detectedAt, isOfRun, type AnyEvent } from '../core/event/event.ts';
import { systemEventId, type NewMark } from '../core/event/ids.ts';
import type { LinksOf } from '../core/run/links.ts';
import type { Watch } from '../core/watch/watch.ts';
import type { AlertStore } from '../redis/stores/alert-store.ts';
import type { EventStore } from '../redis/stores/event-store.ts';
import type { FeedStore } from '../redis/stores/feed-store.ts';
import type { RunFiguresStore } from '../redis/stores/run-figures-store.ts';
import type { SilenceStore } from '../redis/stores/silence-store.ts';
import type { WatchStore } from '../redis/stores/watch-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { type AlertRules, createUsualDurations } from './alert-rules.ts';
import type { Clock } from './clock.ts';
import type { Endpoints } from '../deliver/endpoints.ts';
import { faultLog } from '../fault-log.ts';
import { startPeriodic, type Periodic } from '../periodic.ts';
import type { Processes } from './processes.ts';

/** The longest time between two passes over the groups that are due, ms: another process may have died. */
const PASS_EVERY_MS = 5_000;

/** The least time between two passes, ms: events that come meanwhile are judged together. */
const PAUSE_MS = 50;

/** How often it is read which sources' events may be missing, ms. */
const LEARN_EVERY_MS = 10_000;

/** How often it is read whether rules that are gone have left something, ms. */
const LEFTOVER_EVERY_MS = 60_000;

/** How often it is said that a rule has too many groups, ms. */
const SAY_AGAIN_MS = 3_600_000;

/** Stored events that are read for a preview. */
const MOST_EVENTS = 50_000;

/** Active watches that are read for a preview. */
const MOST_WATCHES = 10_000;

const PAGE = 200;

/** Groups of which a defect is logged. */
const MOST_SPUN = 100;

interface AlertingDependencies {
  config: Config;
  alerts: AlertStore;
  silences: SilenceStore;
  watches: WatchStore;
  events: EventStore;
  feeds: Pick<FeedStore, 'active'>;
  runFigures: RunFiguresStore;
  alertRules: AlertRules;
  endpoints: Endpoints;
  processes: Processes;
  newToken: () => string;
  newMark: NewMark;
  linksOf: LinksOf;
  dispatch: (pools: string[]) => void;
  /** Names of sources with events that may be missing: not discovered, not reached, polled late. */
  sourcesInDoubt: () => Promise<ReadonlySet<string>>;
  readSoon: AlertHost['readSoon'];
  metrics: Pick<Metrics, 'alertCounts' | 'alertOverflow'>;
  now: () => number;
  clock: Pick<Clock, 'measure'>;
  log: Logger;
}

/** Alerts: judged by one process at a time. */
export type Alerting = ReturnType<typeof createAlerting>;

export function createAlerting(deps: AlertingDependencies) {
  const { alerts, silences, alertRules: rules, log, now } = deps;
  const onError = faultLog(log, 'alerts');
  const host = hostOf(deps);
  const watches = {
    getMany: (keys: Parameters<WatchStore['getMany']>[0]) => deps.watches.getMany(keys),
    active: (source: string) => deps.feeds.active(source, false),
  };
  const engine = new AlertEngine({ alerts, silences, watches }, rules, host);
  const eventsSince = async (since: number) =>
    (await readHistory(deps.events, since)).events.map(judgedEvent);
  const durations = createUsualDurations(deps);
  deps.processes.add({ takeOver: (dead) => alerts.lease.endOf(dead) });
  const leftover = createLeftover(deps);
  const loop = createLoop({
    judgeDue: async () => (rules.book.all.length > 0 || (await leftover()) ? engine.judge() : null),
    async learn() {
      await engine.learn();
      if (rules.book.needsUsual()) await durations.refreshIfDue();
    },
    onError,
  });
  const restart = () => void engine.apply().then(loop.wake, onError);

  return {
    acknowledge: (...about: Parameters<AlertEngine['acknowledge']>) => engine.acknowledge(...about),
    leave: (watch: Watch) => engine.leave(watch),
    resolve: (id: string, resolvedBy: ResolvedBy) => engine.resolve(id, resolvedBy),
    suppressorsOf: createSuppressions({ alerts, silences, rules, now }),
    silences: createSilences({ silences, alerts, rules, eventsSince, now }),
    rehearse: createRehearse({
      historySince: (since) => readHistory(deps.events, since),
      activeWatches: () => readActive(deps.watches),
      judgedEvent,
      linksOf: deps.linksOf,
      learnUsual: () => durations.refreshIfDue(),
      now,
    }),
    urlOf: (alert: Pick<Alert, 'id'>) => host.urlOf(alert),
    /** The rules have changed. */
    restart,
    start() {
      rules.usual = durations.usual;
      rules.onEntries = loop.wakeSoon;
      loop.start();
      restart();
    },
    async stop({ force }: { force: boolean }): Promise<void> {
      rules.onEntries = () => undefined;
      const stopped = loop.stop();
      if (force) return;
      await stopped;
      await alerts.lease.end(host.token);
    },
  };
}

/** What the engine asks of this process. */
function hostOf(deps: AlertingDependencies): AlertHost {
  const { log, metrics, processes } = deps;
  const spun = new Set<string>();
  return {
    token: deps.newToken(),
    newEventId: () => systemEventId(deps.newMark),
    receivers: deps.endpoints.wantingAlertEvent,
    ...pagesOf(deps.config),
    linksOf: deps.linksOf,
    sourcesInDoubt: deps.sourcesInDoubt,
    async isMixed() {
      const all = await processes.configurations();
      return new Set(all.map(({ sections }) => JSON.stringify(sections))).size > 1;
    },
    readSoon: deps.readSoon,
    dispatch: deps.dispatch,
    now: deps.now,
    measureClock: () => deps.clock.measure(),
    count: (counts) => metrics.alertCounts(counts),
    onUnreadable: (entry) => log.error({ entry: entry.slice(0, 200) }, 'alerts.unreadable'),
    onOverflow: createOverflowReport(deps),
    onSpinning(group) {
      if (spun.has(group) || spun.size >= MOST_SPUN) return;
      spun.add(group);
      log.error({ group, help: 'report this as a defect of runwatch' }, 'alerts.due_again');
    },
  };
}

/** Counts events of groups that a rule may not have any more, and says so once an hour. */
function createOverflowReport({ metrics, now, log }: AlertingDependencies) {
  const saidAt = new Map<string, number>();
  return (rule: string, events: number): void => {
    metrics.alertOverflow(rule, events);
    if (now() - (saidAt.get(rule) ?? -Infinity) < SAY_AGAIN_MS) return;
    saidAt.set(rule, now());
    const help = 'leave out of its group_by what hardly ever comes twice';
    log.warn({ rule, groups: MOST_GROUPS, help }, 'alerts.too_many_groups');
  };
}

/** Whether rules that are configured no more have left something; asked once a minute. */
function createLeftover({ alerts, now }: Pick<AlertingDependencies, 'alerts' | 'now'>) {
  let askedAt = -Infinity;
  return async (): Promise<boolean> => {
    if (now() - askedAt < LEFTOVER_EVERY_MS) return false;
    askedAt = now();
    return alerts.hasAny();
  };
}

interface LoopOptions {
  /** Makes one pass over the groups that are due. @returns ms until the next; null for no certain time */
  judgeDue: () => Promise<number | null>;
  /** Reads what the conditions of rules go by. */
  learn: () => Promise<void>;
  onError: (error: unknown) => void;
}

/**
 * Judges groups when they are due, and at intervals those that another process has left. One timer runs at
 * a time, however many entries come; each entry has a pass that begins after it was written.
 */
function createLoop({ judgeDue, learn, onError }: LoopOptions) {
  let periodics: Periodic[] = [];
  let timer: NodeJS.Timeout | undefined;
  let wakesAt = Infinity;
  let lastEntryAt = -Infinity;
  const wake = () => {
    clearTimeout(timer);
    wakesAt = Infinity;
    periodics[0]?.trigger();
    if (performance.now() - lastEntryAt < PAUSE_MS) wakeIn(0);
  };
  const wakeIn = (ms: number) => {
    const at = performance.now() + Math.max(PAUSE_MS, ms);
    if (at >= wakesAt) return;
    clearTimeout(timer);
    wakesAt = at;
    timer = setTimeout(wake, at - performance.now()).unref();
  };
  return {
    wake,
    /** Soon, with what comes meanwhile: an entry is being written. */
    wakeSoon: () => {
      lastEntryAt = performance.now();
      wakeIn(0);
    },
    start() {
      const task = async () => {
        const nextMs = await judgeDue();
        if (nextMs !== null && nextMs < PASS_EVERY_MS) wakeIn(nextMs);
      };
      periodics = [
        startPeriodic(task, { everyMs: PASS_EVERY_MS, onError }),
        startPeriodic(learn, { everyMs: LEARN_EVERY_MS, onError }),
      ];
    },
    async stop(): Promise<void> {
      clearTimeout(timer);
      await Promise.all(periodics.map((one) => one.stop()));
    },
  };
}

/** Addresses of alerts in the dashboard, where its own is known. */
function pagesOf({ server: { public_url: url } }: Config) {
  const alerts = url === undefined ? null : `${url.replace(/\/$/, '')}/alerts`;
  return {
    urlOf: ({ id }: Pick<Alert, 'id'>) => alerts && `${alerts}/${id}`,
    urlOfRule: (rule: string) => alerts && `${alerts}?rule=${encodeURIComponent(rule)}`,
  };
}

/** What rules see of an event; of those of alerts nothing. */
function judgedEvent(event: AnyEvent): AlertEvent {
  if (isOfRun(event)) return alertEventOf(event);
  const { id, type, timestamp, data } = event;
  return systemAlertEvent({ id, type, at: Date.parse(timestamp), data });
}

/** Stored events since a time, oldest first; the newest of them where there are too many. */
async function readHistory(events: EventStore, since: number): Promise<EventHistory> {
  const found: AnyEvent[] = [];
  for await (const page of events.newest(PAGE)) {
    const newer = page.filter((event) => detectedAt(event) >= since);
    found.push(...newer);
    if (newer.length < page.length) return { events: found.toReversed(), from: since };
    if (found.length >= MOST_EVENTS) break;
  }
  const oldest = found.at(-1);
  return {
    events: found.toReversed(),
    from: oldest === undefined ? Infinity : detectedAt(oldest),
  };
}

/** Watches that are active, those that were registered last. */
async function readActive(watches: WatchStore): Promise<{ watches: Watch[]; isCut: boolean }> {
  const found: Watch[] = [];
  for await (const keys of watches.active(PAGE, 'newest')) {
    const stored = await watches.getMany(keys);
    found.push(...stored.flatMap((one) => one?.watch ?? []));
    if (found.length >= MOST_WATCHES) return { watches: found, isCut: true };
  }
  return { watches: found, isCut: false };
}
