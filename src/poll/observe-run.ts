import type { Random } from '../core/backoff.ts';
import { type StatisticsLookup, nothingLearned } from '../core/cadence/hazard.ts';
import { type SourceLoad, pollKind, NO_LOAD } from '../core/cadence/load.ts';
import type { DurationSample } from '../core/cadence/phase.ts';
import { planDeliveries, type EndpointFilter, type Delivery } from '../core/delivery/delivery.ts';
import type { LinksOf } from '../core/run/links.ts';
import type { RunwatchEvent } from '../core/event/event.ts';
import type { NewMark } from '../core/event/ids.ts';
import type { PollResult, RunSnapshot } from '../core/run/snapshot.ts';
import type { ObserveContext, PollPolicy } from '../core/watch/observation.ts';
import { UNSTREAMED, type StreamState } from '../core/feed/run-stream.ts';
import { needsConsistency, observe, type Observation } from '../core/watch/observe.ts';
import type { PollMode } from '../core/watch/poll-history.ts';
import type { NextPoll, StoredWatch, Watch, WatchKey } from '../core/watch/watch.ts';
import type { RunReader, TraceChange, WatchStore } from './ports.ts';

interface RunStreams {
  /** @param askedAt when the poll began, milliseconds since the epoch */
  stateOf(runId: string, run: RunSnapshot, askedAt: number): Promise<StreamState>;
}

/** A poll that this process has claimed. */
export interface ClaimedPoll {
  stored: StoredWatch;
  token: string;
  /** From when the poll was due to its claim, ms. */
  lagMs: number;
  /** Whether a hint or a user asked for it. */
  isHinted?: boolean;
  /** How long its permit counts after the answer, ms; null where that need not be written. */
  permitMs: number | null;
  /** Called when the request is sent. */
  onSent?: () => void;
}

/** The end of a claimed poll. */
export type Polled =
  /** The result is written, which ended the claim. `nextMs` is null if the watch has ended. */
  | { is: 'written'; nextMs: number | null }
  /** The watch has ended meanwhile, so the claim has to be released. */
  | { is: 'unwatched' }
  /** Another process holds the claim by now, so the result is dropped: it may be older. */
  | { is: 'lost' };

/** The health of a source, which decides what a poll without a run means. */
type SourceHealth = Pick<ObserveContext, 'answeredAt' | 'openSince' | 'closedFor'>;

/** One poll, for log, metrics and traces. */
export interface PollReport {
  /** The watch before the poll. */
  before: Watch;
  watch: Watch;
  outcome: PollResult['kind'];
  events: RunwatchEvent[];
  /** By what its events became known first: a hint of a stream or list, or this read. */
  knownBy: 'stream' | 'list' | 'read';
  /** From when the poll was due to its start, ms. */
  lagMs: number;
  /** What it says of how far the source agrees with itself. */
  agreement: Observation['agreement'];
  /** True for the first poll of the watch. */
  isFirst: boolean;
  durationMs: number;
}

export interface ObserveRunDependencies {
  watches: Pick<WatchStore, 'get' | 'commitPoll'>;
  readerOf: (source: string) => RunReader | undefined;
  sourceHealth: (source: string) => Promise<SourceHealth>;
  streamsOf: (source: string) => RunStreams | undefined;
  /** False where polls of the source's runs contradict one another again and again. */
  isConsistent: (source: string) => Promise<boolean>;
  /** Statistics of dwell times, and where new samples go. */
  statistics: { lookup: StatisticsLookup; learn(samples: readonly DurationSample[]): void };
  /** Reads the source's list, to see whether the source answers at all. */
  askList: (source: string) => void;
  /** How busy the source's rate limit is. */
  loadOf: (source: string) => SourceLoad;
  /** Wakes the relay for pools with due deliveries; its sweep finds them even without this. */
  dispatch: (pools: string[]) => void;
  wants: EndpointFilter;
  policy: PollPolicy;
  report: (report: PollReport) => void;
  linksOf: LinksOf;
  newMark: NewMark;
  now: () => number;
  random: Random;
}

/**
 * The use case behind a poll: it reads the run and writes watch, events, deliveries and the next due
 * time in one step.
 */
export function createObserveRun(deps: ObserveRunDependencies) {
  return async function observeRun(claim: ClaimedPoll): Promise<Polled> {
    const startedAt = deps.now();
    const answeredAt = await answeredBefore(deps, claim.stored.watch);
    const result = await read(deps, claim);
    return record(deps, claim, result, { startedAt, answeredAt });
  };
}

/**
 * A run is gone by an answer that was asked for after its source had answered for others. One that was
 * under way when the source came back says nothing.
 */
async function answeredBefore(
  { sourceHealth }: ObserveRunDependencies,
  { source, missing }: Watch,
): Promise<number | null | undefined> {
  return missing === null ? undefined : (await sourceHealth(source)).answeredAt;
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

/** When and how a result was read. */
interface Reading {
  startedAt: number;
  /** When its source had last given a valid answer before; undefined where that does not matter. */
  answeredAt: number | null | undefined;
}

/** Writes a result. If the watch was registered again meanwhile, even after a purge, the result applies to the new one. */
async function record(
  deps: ObserveRunDependencies,
  { stored, token, lagMs, permitMs, isHinted = false }: ClaimedPoll,
  result: PollResult,
  reading: Reading,
): Promise<Polled> {
  const { startedAt } = reading;
  const key = stored.watch;
  const streamed = await streamStateOf(deps, key, result, startedAt);
  const mode = modeOf(isHinted, streamed);
  const health = await healthAfter(deps, key, result, reading);
  const isConsistent = await consistencyOf(deps, stored.watch, result, streamed);
  let before: StoredWatch | null = stored;
  while (before !== null && before.watch.state === 'active') {
    const now = deps.now();
    const times = { now, beganAt: startedAt, mode, lagMs, streamed, health, isConsistent };
    const observed = observe(before.watch, result, contextOf(deps, key, times));
    const { watch, events } = observed;
    const deliveries = planDeliveries(watch, events, watch.subscriptions, {
      wants: deps.wants,
      now,
    });
    const next = nextPoll(deps, watch, { now, spareAt: observed.spareAt });
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
      const isFirst = before.watch.lastPolledAt === null;
      const durationMs = now - startedAt;
      deps.statistics.learn(observed.samples);
      deps.dispatch(due);
      if (observed.isDoubtful) deps.askList(key.source);
      deps.report({
        before: before.watch,
        watch,
        outcome: result.kind,
        events,
        agreement: observed.agreement,
        knownBy: mode === 'single' ? 'read' : mode,
        lagMs,
        isFirst,
        durationMs,
      });
      return { is: 'written', nextMs: next === null ? null : (next.spareMs ?? next.inMs) };
    }
    before = await deps.watches.get(key);
  }
  return { is: 'unwatched' };
}

/** What a poll was made for: a hint of the run's stream, one of a list, or the cadence. */
function modeOf(isHinted: boolean, streamed: StreamState): PollMode {
  if (streamed.isHinted) return 'stream';
  return isHinted ? 'list' : 'single';
}

/** Read only after a poll without a run, since only such a poll needs it. */
async function healthAfter(
  { sourceHealth }: ObserveRunDependencies,
  { source }: WatchKey,
  result: PollResult,
  { startedAt, answeredAt }: Reading,
): Promise<SourceHealth> {
  if (result.kind === 'run') return { answeredAt: startedAt, openSince: null, closedFor: null };
  const health = await sourceHealth(source);
  return answeredAt === undefined ? health : { ...health, answeredAt };
}

/** Read only after a poll that takes something back, or follows one, since only such a poll needs it. */
async function consistencyOf(
  { isConsistent }: ObserveRunDependencies,
  watch: Watch,
  result: PollResult,
  { nodes }: StreamState,
): Promise<boolean> {
  return !needsConsistency(watch, result, nodes) || isConsistent(watch.source);
}

interface PollTimes extends Pick<
  ObserveContext,
  'now' | 'beganAt' | 'mode' | 'lagMs' | 'isConsistent'
> {
  streamed: StreamState;
  health: SourceHealth;
}

async function streamStateOf(
  { streamsOf }: ObserveRunDependencies,
  { source, runId }: WatchKey,
  result: PollResult,
  startedAt: number,
): Promise<StreamState> {
  const streams = result.kind === 'run' ? streamsOf(source) : undefined;
  if (result.kind !== 'run' || streams === undefined) return UNSTREAMED;
  return streams.stateOf(runId, result.run, startedAt);
}

/** Field by field, since a spread here takes longer than the whole cadence computation. */
function contextOf(
  { policy, statistics, wants, loadOf, random, linksOf, newMark }: ObserveRunDependencies,
  { source }: WatchKey,
  { now, beganAt, mode, lagMs, streamed, health, isConsistent }: PollTimes,
): ObserveContext {
  return {
    now,
    beganAt,
    mode,
    lagMs,
    isStreamed: streamed.isStreamed,
    nodes: streamed.nodes,
    answeredAt: health.answeredAt,
    openSince: health.openSince,
    closedFor: health.closedFor,
    isConsistent,
    policy,
    statistics: statistics.lookup,
    wants,
    load: loadOf(source),
    random,
    linksOf,
    newMark,
  };
}

function nextPoll(
  { loadOf }: ObserveRunDependencies,
  watch: Watch,
  { now, spareAt }: { now: number; spareAt: number | null },
): NextPoll | null {
  if (watch.nextPollAt === null) return null;
  const kind = pollKind(watch, loadOf(watch.source).roundMs);
  const next = { inMs: Math.max(0, watch.nextPollAt - now), kind };
  const isSpare = spareAt !== null && spareAt < watch.nextPollAt;
  return isSpare ? { ...next, spareMs: Math.max(0, spareAt - now) } : next;
}

/** The number of watches read at a time. */
const CHUNK = 200;

export interface ObserveUnconfiguredDependencies {
  watches: Pick<WatchStore, 'list' | 'get' | 'commit'>;
  policy: PollPolicy;
  wants: EndpointFilter;
  dispatch: (pools: string[]) => void;
  trace: TraceChange;
  linksOf: LinksOf;
  newMark: NewMark;
  now: () => number;
  random: Random;
}

/**
 * The use case for watches of a source that is not configured any more. Without polls, it makes them
 * unreachable and expires them. Returns a function that goes once through a source's active watches.
 */
export function createObserveUnconfigured(deps: ObserveUnconfiguredDependencies) {
  return async function observeUnconfigured(source: string): Promise<void> {
    let cursor: string | undefined;
    do {
      const page = await deps.watches.list(
        { state: ['active'], sources: [source] },
        { limit: CHUNK, cursor },
      );
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
    // As if the source had just answered, so that only this watch is in doubt.
    { ...deps, now, beganAt: now, answeredAt: now, ...UNPOLLED },
  );
  if (events.length === 0 && before.watch.trouble !== null) return;
  const { polls, pollHistory, lastPolledAt } = before.watch;
  const after = { ...watch, polls, pollHistory, lastPolledAt };
  const deliveries: Delivery[] = planDeliveries(after, events, after.subscriptions, {
    wants: deps.wants,
    now,
  });
  const ended = after.state === 'active' ? {} : { schedule: { does: 'leave' as const } };
  const due = await deps.watches.commit({ before, after, events, deliveries, ...ended });
  if (due === null) return;
  deps.dispatch(due);
  deps.trace({ before: before.watch, after });
}

const UNPOLLED = {
  statistics: nothingLearned,
  load: NO_LOAD,
  lagMs: 0,
  mode: 'single' as const,
  isStreamed: false,
  nodes: null,
  openSince: null,
  closedFor: null,
  isConsistent: true,
};
