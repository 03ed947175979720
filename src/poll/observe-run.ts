import type { Random } from '../core/backoff.ts';
import { type StatisticsLookup, nothingLearned } from '../core/cadence/hazard.ts';
import { type SourceLoad, pollKind, NO_LOAD } from '../core/cadence/load.ts';
import type { DurationSample } from '../core/cadence/phase.ts';
import { planDeliveries, type EndpointFilter, type Delivery } from '../core/delivery/delivery.ts';
import type { NewMark, RunwatchEvent } from '../core/event/event.ts';
import type { PollResult } from '../core/run/snapshot.ts';
import type { ObserveContext, PollPolicy } from '../core/watch/observation.ts';
import { observe, type Observation } from '../core/watch/observe.ts';
import { watchId, type StoredWatch, type Watch, type WatchKey } from '../core/watch/watch.ts';
import type { Hints } from './hints.ts';
import type { RunReader, WatchStore } from './ports.ts';

/** A poll that this process has claimed. */
export interface ClaimedPoll {
  stored: StoredWatch;
  token: string;
  /** From when the poll was due to when it was claimed, ms. */
  lagMs: number;
  /** For how long its permit counts after the answer, ms; null where that need not be written. */
  permitMs: number | null;
  /** Called when the request is sent. */
  onSent?: () => void;
}

/** What became of a claimed poll. */
export type Polled =
  /** It is written, and the claim has ended with that; `nextMs` is null for a watch that is over. */
  | { is: 'written'; nextMs: number | null }
  /** Nothing watches the run any more: the claim stands, and is to be dropped. */
  | { is: 'unwatched' }
  /** Another process has the claim by now: what was read may be the older, and is dropped. */
  | { is: 'lost' };

/** How a source stands, as far as a poll that was told nothing of its run must know. */
type SourceStanding = Pick<ObserveContext, 'answeredAt' | 'openSince' | 'closedFor'>;

/** What one poll came to, for log and metrics. */
interface PollReport {
  watch: Watch;
  outcome: PollResult['kind'];
  events: RunwatchEvent[];
  /** From when the poll was due to when it began, ms. */
  lagMs: number;
  /** Nothing had been asked of the run before. */
  isFirst: boolean;
  durationMs: number;
}

export interface ObserveRunDependencies {
  watches: Pick<WatchStore, 'get' | 'commitPoll'>;
  readerOf: (source: string) => RunReader | undefined;
  standingOf: (source: string) => Promise<SourceStanding>;
  /** Undefined where there are none. */
  hintsOf: (source: string) => Pick<Hints, 'offer' | 'isStreamed'> | undefined;
  /** What was learned of how long states last; takes in what was written of that. */
  statistics: { lookup: StatisticsLookup; learn(samples: readonly DurationSample[]): void };
  /** Asks for the source's list, to learn whether it answers at all. */
  askList: (source: string) => void;
  /** How the source fares against its budget. */
  loadOf: (source: string) => SourceLoad;
  /** Tells of pools at which deliveries are due; what is lost here is found by the next sweep. */
  dispatch: (pools: string[]) => void;
  wants: EndpointFilter;
  policy: PollPolicy;
  report: (report: PollReport) => void;
  newMark: NewMark;
  now: () => number;
  random: Random;
}

/**
 * The use case behind a poll: read the run, see what changed, write watch, events, fan-out and the
 * next due time in one step.
 */
export function createObserveRun(deps: ObserveRunDependencies) {
  return async function observeRun(claim: ClaimedPoll): Promise<Polled> {
    const startedAt = deps.now();
    const result = await read(deps, claim);
    return record(deps, claim, result, startedAt);
  };
}

async function read(
  deps: ObserveRunDependencies,
  { stored, onSent }: ClaimedPoll,
): Promise<PollResult> {
  const { source, runId } = stored.watch;
  const reader = deps.readerOf(source);
  if (reader === undefined) {
    return { kind: 'unavailable', message: `no source named ${source} is configured` };
  }
  return reader.readRun(runId, onSent && { onSent });
}

/**
 * Writes a result. Where somebody has registered the watch again meanwhile, the same result is laid
 * beside what the watch is now.
 */
async function record(
  deps: ObserveRunDependencies,
  { stored, token, lagMs, permitMs }: ClaimedPoll,
  result: PollResult,
  startedAt: number,
): Promise<Polled> {
  const key = stored.watch;
  const isStreamed = await isLeftToStream(deps, key, result);
  const standing = await standingAfter(deps, key, result, startedAt);
  let before: StoredWatch | null = stored;
  while (before !== null && before.watch.state === 'active') {
    const now = deps.now();
    const seen = { now, beganAt: startedAt, lagMs, isStreamed, standing };
    const observed = observe(before.watch, result, contextOf(deps, key, seen));
    const { watch, events } = observed;
    const deliveries = planDeliveries(watch, events, watch.subscriptions, {
      wants: deps.wants,
      now,
    });
    const next = nextPoll(deps, watch, now);
    const schedule = { does: 'settle' as const, token, next, permitMs };
    const change = {
      before,
      after: watch,
      events,
      deliveries,
      samples: observed.samples,
      schedule,
    };
    const due = await deps.watches.commitPoll(change);
    if (due === 'lost') return { is: 'lost' };
    if (due !== 'changed') {
      const isFirst = stored.watch.lastPolledAt === null;
      const durationMs = now - startedAt;
      written(deps, change, due, result.kind === 'run' && !isStreamed);
      doubt(deps, key, observed);
      deps.report({ watch, outcome: result.kind, events, lagMs, isFirst, durationMs });
      return { is: 'written', nextMs: next === null ? null : next.inMs };
    }
    before = await deps.watches.get(key);
  }
  return { is: 'unwatched' };
}

/** What is left to do once a poll is written. */
function written(
  { statistics, dispatch, hintsOf }: ObserveRunDependencies,
  { after, samples }: { after: Watch; samples: DurationSample[] },
  due: string[],
  mayStream: boolean,
): void {
  statistics.learn(samples);
  dispatch(due);
  if (mayStream) hintsOf(after.source)?.offer(after);
}

function doubt(
  { askList }: ObserveRunDependencies,
  { source }: WatchKey,
  { isDoubtful }: Observation,
) {
  if (isDoubtful) askList(source);
}

/** Asked for only where nothing was learned of the run, for only then it matters. */
async function standingAfter(
  { standingOf }: ObserveRunDependencies,
  { source }: WatchKey,
  result: PollResult,
  startedAt: number,
): Promise<SourceStanding> {
  if (result.kind !== 'run') return standingOf(source);
  return { answeredAt: startedAt, openSince: null, closedFor: null };
}

interface SeenAt extends Pick<ObserveContext, 'now' | 'beganAt' | 'lagMs' | 'isStreamed'> {
  standing: SourceStanding;
}

async function isLeftToStream(
  { hintsOf }: ObserveRunDependencies,
  watch: Watch,
  result: PollResult,
) {
  if (result.kind !== 'run') return false;
  return (await hintsOf(watch.source)?.isStreamed(watchId(watch))) ?? false;
}

/** Field by field: here a spread takes longer than all that the cadence reckons. */
function contextOf(
  { policy, statistics, wants, loadOf, random, newMark }: ObserveRunDependencies,
  { source }: WatchKey,
  { now, beganAt, lagMs, isStreamed, standing }: SeenAt,
): ObserveContext {
  return {
    now,
    beganAt,
    lagMs,
    isStreamed,
    answeredAt: standing.answeredAt,
    openSince: standing.openSince,
    closedFor: standing.closedFor,
    policy,
    statistics: statistics.lookup,
    wants,
    load: loadOf(source),
    random,
    newMark,
  };
}

function nextPoll({ loadOf }: ObserveRunDependencies, watch: Watch, now: number) {
  if (watch.nextPollAt === null) return null;
  const kind = pollKind(watch, loadOf(watch.source).roundMs);
  return { inMs: Math.max(0, watch.nextPollAt - now), kind };
}

/** Watches read in one go. */
const CHUNK = 200;

export interface ObserveUnconfiguredDependencies {
  watches: Pick<WatchStore, 'list' | 'get' | 'commit'>;
  policy: PollPolicy;
  wants: EndpointFilter;
  dispatch: (pools: string[]) => void;
  newMark: NewMark;
  now: () => number;
  random: Random;
}

/**
 * The use case for watches of a source that no daemon has configured any more: nothing polls them, so
 * this is what makes them unreachable, and expire.
 * Returns a function that goes through the active watches of a source once.
 */
export function createObserveUnconfigured(deps: ObserveUnconfiguredDependencies) {
  return async function observeUnconfigured(source: string): Promise<void> {
    let cursor: string | undefined;
    do {
      const page = await deps.watches.list({ state: ['active'], source }, { limit: CHUNK, cursor });
      for (const watch of page.items) {
        if (!watch.unreachable || deps.now() >= watch.timeoutAt) await observeOne(deps, watch);
      }
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
  };
}

async function observeOne(deps: ObserveUnconfiguredDependencies, key: WatchKey): Promise<void> {
  const before = await deps.watches.get(key);
  if (before === null || before.watch.state !== 'active') return;
  const now = deps.now();
  const message = `no source named ${key.source} is configured any more`;
  const { watch, events } = observe(
    before.watch,
    { kind: 'unavailable', message },
    // That the source says nothing of others either is no reason to wait for it.
    { ...deps, now, beganAt: now, answeredAt: now, ...UNPOLLED },
  );
  const isNews = events.length > 0 || before.watch.trouble === null;
  if (!isNews) return;
  const after = { ...watch, polls: before.watch.polls, lastPolledAt: before.watch.lastPolledAt };
  const deliveries: Delivery[] = planDeliveries(after, events, after.subscriptions, {
    wants: deps.wants,
    now,
  });
  const ended = after.state === 'active' ? {} : { schedule: { does: 'leave' as const } };
  const due = await deps.watches.commit({ before, after, events, deliveries, ...ended });
  if (due !== null) deps.dispatch(due);
}

const UNPOLLED = {
  statistics: nothingLearned,
  load: NO_LOAD,
  lagMs: 0,
  isStreamed: false,
  openSince: null,
  closedFor: null,
};
