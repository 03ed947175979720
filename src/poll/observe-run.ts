import type { Random } from '../core/backoff.ts';
import type { Admission, RequestAsk } from '../core/budget.ts';
import { planDeliveries, type EndpointFilter } from '../core/delivery.ts';
import type { NewMark } from '../core/event-id.ts';
import type { RunwatchEvent } from '../core/event.ts';
import type { StatisticsLookup } from '../core/hazard.ts';
import type { Lesson } from '../core/lesson.ts';
import type { SourceLoad } from '../core/load.ts';
import type { Look, ObserveContext, PollPolicy, SourcePaused } from '../core/look.ts';
import { observe, type Observation } from '../core/observe.ts';
import type { FetchOutcome } from '../core/outcome.ts';
import type { WatchChange } from '../core/watch-change.ts';
import {
  parseWatchId,
  watchId,
  type StoredWatch,
  type Watch,
  type WatchKey,
} from '../core/watch.ts';
import type { Hints } from './hints.ts';
import type { SourceBudget } from './source-budget.ts';

/** Reads runs of one source. */
interface RunReader {
  readRun(runId: string): Promise<FetchOutcome>;
}

/** A watch, how its source stands, and whether it may be asked now. */
interface PollGround {
  stored: StoredWatch | null;
  pause: SourcePaused | null;
  /** The source refused its key when it last said anything about it. */
  isRefused: boolean;
  admission: Admission;
}

/** The part of a source's budget that a poll needs. */
type PollBudget = Pick<SourceBudget, 'ask' | 'refusal' | 'settle'>;

interface WatchStore {
  getForPoll(key: WatchKey, ask: RequestAsk | null): Promise<PollGround>;
  get(key: WatchKey): Promise<StoredWatch | null>;
  commit(change: WatchChange): Promise<string[] | null>;
}

/** Notes what an answer says about the source as a whole; says when it takes requests again. */
interface SourceGuard {
  /** When the source last gave a valid answer; null where that is not known. */
  answeredAt(source: string): Promise<number | null>;
  note(
    source: string,
    outcome: FetchOutcome,
    known: { isRefused: boolean; now: number },
  ): Promise<SourcePaused | null>;
}

/** What one poll came to, for log and metrics. */
interface PollReport {
  watch: Watch;
  outcome: Look['kind'];
  events: RunwatchEvent[];
  /** From when the poll was due to when it began, ms. */
  lagMs: number;
  /** Nothing had been asked of the run before. */
  isFirst: boolean;
  durationMs: number;
}

export interface ObserveRunDependencies {
  watches: WatchStore;
  readerOf: (source: string) => RunReader | undefined;
  sources: SourceGuard;
  /** Undefined for a source that is configured no more. */
  budgetOf: (source: string) => PollBudget | undefined;
  /** Undefined where there are none. */
  hintsOf: (source: string) => Pick<Hints, 'offer' | 'isStreamed'> | undefined;
  /** By when the next poll of a watch should begin; the earliest go first while budget is short. */
  deadlineOf: (watch: Watch) => number;
  /** What was learned of how long states last; takes in what was written of that. */
  statistics: { lookup: StatisticsLookup; learn(lessons: readonly Lesson[]): void };
  /** Asks for the source's list, to learn whether it answers at all. */
  askList: (source: string) => void;
  /** How the source fares against its budget. */
  loadOf: (source: string) => SourceLoad;
  /** Tells of gates at which deliveries are due; what is lost here is found by the next look. */
  dispatch: (gates: string[]) => void;
  wants: EndpointFilter;
  policy: PollPolicy;
  report: (report: PollReport) => void;
  newMark: NewMark;
  now: () => number;
  random: Random;
}

/** When to poll next, and by when at the latest it should be, milliseconds since the epoch. */
interface NextPoll {
  dueAt: number;
  deadline: number;
}

/** The budget is used up: the poll keeps its place, and none of the source begins before. */
interface HeldPoll {
  heldForMs: number;
}

/**
 * The use case behind a poll: read the run, see what changed, write watch, events and fan-out in one
 * step. Returns a function from a watch's id to its next poll, null when there is none.
 */
export function createObserveRun(deps: ObserveRunDependencies) {
  return async function observeRun(id: string): Promise<NextPoll | HeldPoll | null> {
    const key = parseWatchId(id);
    const budget = deps.budgetOf(key.source);
    const ask = budget?.ask() ?? null;
    const { stored, pause, isRefused, admission } = await deps.watches.getForPoll(key, ask);
    if (stored === null || stored.watch.state !== 'active') return null;
    const startedAt = deps.now();
    if (pause !== null) return record(deps, stored, pause, startedAt);

    const heldForMs = ask && budget ? budget.refusal(ask, admission) : null;
    if (heldForMs !== null) return { heldForMs };
    const look = await read(deps, key, isRefused);
    if (ask) budget?.settle(ask, admission);
    return record(deps, stored, look, startedAt);
  };
}

async function read(
  deps: ObserveRunDependencies,
  { source, runId }: WatchKey,
  isRefused: boolean,
): Promise<Look> {
  const reader = deps.readerOf(source);
  if (reader === undefined) {
    return { kind: 'unavailable', message: `no source named ${source} is configured` };
  }
  const outcome = await reader.readRun(runId);
  const known = { isRefused, now: deps.now() };
  return (await deps.sources.note(source, outcome, known)) ?? outcome;
}

/**
 * Writes a look. Where somebody has registered the watch again meanwhile, the same look is laid
 * beside what the watch is now. Where another poll was written, which takes a process that had been
 * given up for dead, ours may be the older one: it would tell of a state that is past as if it had
 * been entered once more, so it is dropped.
 */
async function record(
  deps: ObserveRunDependencies,
  stored: StoredWatch,
  look: Look,
  startedAt: number,
): Promise<NextPoll | null> {
  const lagMs = Math.max(0, startedAt - (stored.watch.nextPollAt ?? startedAt));
  const key = stored.watch;
  const isStreamed = await isLeftToStream(deps, key, look);
  const answeredAt = await sourceAnsweredAt(deps, key, look, startedAt);
  let before: StoredWatch | null = stored;
  while (before !== null && before.watch.state === 'active') {
    const now = deps.now();
    const seen = { now, beganAt: startedAt, lagMs, isStreamed, answeredAt };
    const observed = observe(before.watch, look, contextOf(deps, key, seen));
    const { watch, events, lessons } = observed;
    const deliveries = planDeliveries(watch, events, watch.subscriptions, {
      wants: deps.wants,
      now,
    });
    const due = await deps.watches.commit({ before, after: watch, events, deliveries, lessons });
    if (due !== null) {
      deps.statistics.learn(lessons);
      deps.dispatch(due);
      doubt(deps, key, observed);
      if (look.kind === 'run' && !isStreamed) deps.hintsOf(watch.source)?.offer(watch);
      const outcome = look.kind === 'paused' && look.asked ? look.reason : look.kind;
      const isFirst = stored.watch.lastPolledAt === null;
      deps.report({ watch, outcome, events, lagMs, isFirst, durationMs: now - startedAt });
      return nextPoll(deps, watch);
    }
    before = await deps.watches.get(key);
    if (before !== null && before.watch.polls !== stored.watch.polls)
      return nextPoll(deps, before.watch);
  }
  return null;
}

function doubt(
  { askList }: ObserveRunDependencies,
  { source }: WatchKey,
  { isDoubtful }: Observation,
) {
  if (isDoubtful) askList(source);
}

/** Asked for only where nothing was learned of the run, for only then it matters. */
async function sourceAnsweredAt(
  { sources }: ObserveRunDependencies,
  { source }: WatchKey,
  look: Look,
  startedAt: number,
): Promise<number | null> {
  return look.kind === 'run' ? startedAt : sources.answeredAt(source);
}

type SeenAt = Pick<ObserveContext, 'now' | 'beganAt' | 'lagMs' | 'isStreamed' | 'answeredAt'>;

async function isLeftToStream({ hintsOf }: ObserveRunDependencies, watch: Watch, look: Look) {
  if (look.kind !== 'run') return false;
  return (await hintsOf(watch.source)?.isStreamed(watchId(watch))) ?? false;
}

/** Field by field: here a spread takes longer than all that the cadence reckons. */
function contextOf(
  { policy, statistics, wants, loadOf, random, newMark }: ObserveRunDependencies,
  { source }: WatchKey,
  { now, beganAt, lagMs, isStreamed, answeredAt }: SeenAt,
): ObserveContext {
  return {
    now,
    beganAt,
    lagMs,
    isStreamed,
    answeredAt,
    policy,
    statistics: statistics.lookup,
    wants,
    load: loadOf(source),
    random,
    newMark,
  };
}

function nextPoll(deps: ObserveRunDependencies, watch: Watch): NextPoll | null {
  return watch.nextPollAt === null
    ? null
    : { dueAt: watch.nextPollAt, deadline: deps.deadlineOf(watch) };
}
