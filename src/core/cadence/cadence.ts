import { fullJitter, jitterAround, type Random } from '../backoff.ts';
import { isSubscribed, type EndpointFilter } from '../delivery/delivery.ts';
import { type EventType, isoTime } from '../event/event.ts';
import { isAwaiting, type RunSnapshot, type WorkTimes } from '../run/snapshot.ts';
import type { Profile, Watch } from '../watch/watch.ts';
import {
  type StatisticsLookup,
  pollInterval,
  hazardModelOf,
  type HazardModel,
  type WorkflowStatistics,
} from './hazard.ts';
import { longestInterval, type SourceLoad, NO_LOAD } from './load.ts';
import { SECOND_MS } from './phase.ts';

/** Seconds of delay that one request is worth. */
export const PRICE_S: Record<Profile, number> = { urgent: 0.05, normal: 0.2, frugal: 1 };

/**
 * The next poll comes at most this share of the run's present age later. So the delay is in
 * proportion to the run even where everything learned before is wrong.
 */
const GUARD: Record<Profile, number> = { urgent: 0.5, normal: 1, frugal: 1 };

/**
 * How fast the interval grows while nothing changes, for runs with notification of every change.
 */
const GROWTH: Record<Profile, number> = { urgent: 1.25, normal: 1.5, frugal: 2 };

/** People take their time: 5 min where the longest interval is a minute. */
const AWAITING_STRETCH = 5;

/**
 * Backoff between failed polls. A source that fails for all its runs is paused as a whole, so this
 * concerns runs of a source that answers others. A source that fails by half fails seven times in a row
 * for one run in 128: with a factor of 2, that run would wait up to a minute. With this one, it takes
 * twelve failures.
 */
const TROUBLE_BACKOFF = { baseMs: 1_000, maxMs: 60_000, factor: 1.5 };

const JITTER = 0.1;

/** What the choice of the next poll depends on besides the watch. */
export interface CadenceContext {
  now: number;
  random: Random;
  policy: { minIntervalMs: number; maxIntervalMs: number };
  statistics: StatisticsLookup;
  /** Which endpoints want which events: where one wants progress, the run is polled more often. */
  wants: EndpointFilter;
  load: SourceLoad;
}

/** A watch right after a poll that saw its run in the last of `phases`. */
export interface SeenWatch extends Watch {
  run: RunSnapshot;
}

/** The fields of a watch and its run that decide its interval. */
interface PacedWatch extends Pick<
  Watch,
  'source' | 'metadata' | 'subscriptions' | 'profile' | 'maxDelayMs' | 'phases' | 'cadence'
> {
  run: WorkTimes & Pick<RunSnapshot, 'status' | 'workflow_id'>;
}

/**
 * The time until the next poll of a run. The statistics of similar runs decide it, bounded by the
 * run's age, the limits, and the watch.
 * @param changed whether this poll found a change
 * @returns milliseconds: the interval, and the jittered delay; after `spareMs`, requests that are left
 * over may poll the run, null where its interval is not widened
 */
export function nextPoll(
  watch: PacedWatch,
  changed: boolean,
  context: CadenceContext,
): { intervalMs: number; delayMs: number; spareMs: number | null } {
  const { policy, random, wants, load } = context;
  const isFollowed = followsChanges(watch, wants);
  const configuredMs = configuredLongest(watch, isFollowed, context);
  const longestMs = Math.min(watch.maxDelayMs ?? Infinity, longestInterval(configuredMs, load));
  const wantedMs = Math.min(
    hazardInterval(watch, longestMs, context),
    isFollowed ? growingInterval(watch, changed, policy.minIntervalMs) : Infinity,
  );
  const intervalMs = Math.min(Math.max(wantedMs, policy.minIntervalMs), longestMs);
  const delayMs = jitterAround(intervalMs, JITTER, random);
  const isWidened = load.usesSpare && intervalMs > configuredMs;
  return {
    intervalMs,
    delayMs: Math.min(delayMs, watch.maxDelayMs ?? Infinity),
    spareMs: isWidened ? (delayMs * configuredMs) / intervalMs : null,
  };
}

/** The longest interval of a source that keeps up, by the policy alone. */
function configuredLongest(
  { run }: PacedWatch,
  isFollowed: boolean,
  { policy }: CadenceContext,
): number {
  const waits = isAwaiting(run.status) && !isFollowed;
  return policy.maxIntervalMs * (waits ? AWAITING_STRETCH : 1);
}

/** The interval that the hazard model gives for the next major transition (see `isMajorTransition`). */
function hazardInterval(
  { source, profile, run, phases }: PacedWatch,
  longestMs: number,
  { now, statistics, load }: CadenceContext,
): number {
  const phase = phases.at(-1);
  if (phase === undefined) return longestMs;
  const model = hazardModelOf(phase, run, (state) => statistics(source, run.workflow_id, state));
  // All work counts as one phase here, whatever the progress.
  const ageMs = now - model.workflow.since;
  return guardedInterval(model, {
    now,
    ageMs,
    profile,
    costMultiplier: load.costMultiplier,
    longestMs,
  });
}

function guardedInterval(
  model: HazardModel,
  { now, ageMs, profile, costMultiplier, longestMs }: GuardedIntervalOptions,
): number {
  const guardMs = GUARD[profile] * Math.max(0, ageMs);
  const priceS = PRICE_S[profile] * costMultiplier;
  return pollInterval(model, { now, priceS, longestMs: Math.min(guardMs, longestMs) });
}

interface GuardedIntervalOptions extends Pick<SourceLoad, 'costMultiplier'> {
  now: number;
  ageMs: number;
  profile: Profile;
  longestMs: number;
}

/** The minimum after a change, else longer each time. Without jitter, which would add up. */
function growingInterval(watch: PacedWatch, changed: boolean, minIntervalMs: number): number {
  return changed ? minIntervalMs : watch.cadence.intervalMs * GROWTH[watch.profile];
}

/** Whether a subscription wants event types beyond the default ones that may come next. */
function followsChanges(watch: PacedWatch, wants: EndpointFilter): boolean {
  const types = changesFrom(watch.run.status);
  return watch.subscriptions.some((one) =>
    types.some((type) => isSubscribed(one, type, watch, wants)),
  );
}

function changesFrom(status: string): EventType[] {
  if (isAwaiting(status)) return ['run.resumed'];
  return status === 'queued' ? ['run.started', 'run.progress'] : ['run.progress'];
}

/** The delay after `failures` polls in a row without a usable answer. @returns milliseconds */
export function troubleDelay(failures: number, random: Random): number {
  return fullJitter(TROUBLE_BACKOFF, failures, random);
}

/** How runs are polled where the watch sets nothing. */
export interface PollingDefaults {
  profile: Profile;
  minIntervalMs: number;
  maxIntervalMs: number;
}

/** A phase that every run goes through, with statistics from its beginning on. */
type PlainPhase = 'queued' | 'running/0';

/**
 * The interval, before jitter, for a run with unknown or unwatched progress, in a source that keeps
 * up.
 * @returns a function from the age of the phase to the time until the next poll, both in seconds
 */
export function policyInterval(
  phase: PlainPhase,
  { source, workflowId, states }: WorkflowStatistics,
  defaults: PollingDefaults,
): (ageS: number) => number {
  const began = isoTime(0);
  const watch: PacedWatch = {
    source,
    metadata: {},
    subscriptions: [],
    profile: defaults.profile,
    maxDelayMs: null,
    phases: [{ state: phase, since: 0, seenAt: 0, secondMs: SECOND_MS }],
    cadence: { intervalMs: defaults.minIntervalMs, failures: 0 },
    run: {
      workflow_id: workflowId,
      status: phase === 'queued' ? 'queued' : 'running',
      created_at: began,
      started_at: phase === 'queued' ? null : began,
    },
  };
  return (ageS) =>
    nextPoll(watch, false, {
      now: ageS * SECOND_MS,
      random: () => 0.5,
      policy: defaults,
      statistics: (_source, _workflow, state) => states.get(state),
      wants: () => false,
      load: NO_LOAD,
    }).intervalMs / SECOND_MS;
}
