import { fullJitter, jitterAround, type Random } from './backoff.ts';
import { isTold, type EndpointFilter } from './delivery.ts';
import type { EventType } from './event.ts';
import type { Statistics, StatisticsLookup } from './hazard.ts';
import { longestInterval, type SourceLoad } from './load.ts';
import { lookInterval, outlookOf, type Outlook } from './outlook.ts';
import { isAwaiting, type RunSnapshot } from './run.ts';
import { newsAfter, SECOND_MS } from './stage.ts';
import type { Profile, Watch } from './watch.ts';

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

/** Backoff between failed polls. */
const TROUBLE_BACKOFF = { baseMs: 1_000, maxMs: 60_000 };

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

/** A watch right after a poll that saw its run in the last of `stages`. */
export interface SeenWatch extends Watch {
  run: RunSnapshot;
}

/** The fields of a watch that decide its interval. */
type PacedWatch = Pick<
  SeenWatch,
  'source' | 'run' | 'metadata' | 'subscriptions' | 'profile' | 'maxDelayMs' | 'stages' | 'cadence'
>;

/**
 * The time until the next poll of a run. The statistics of similar runs decide it, bounded by the
 * run's age, the limits, and the watch.
 * @param changed whether this poll found a change
 * @returns milliseconds: the interval, and the jittered delay
 */
export function nextLook(
  watch: PacedWatch,
  changed: boolean,
  context: CadenceContext,
): { intervalMs: number; delayMs: number } {
  const { policy, random, wants } = context;
  const isFollowed = followsChanges(watch, wants);
  const longestMs = longestOf(watch, isFollowed, context);
  const wantedMs = Math.min(
    newsInterval(watch, longestMs, context),
    isFollowed ? growingInterval(watch, changed, policy.minIntervalMs) : Infinity,
  );
  const intervalMs = Math.min(Math.max(wantedMs, policy.minIntervalMs), longestMs);
  const delayMs = jitterAround(intervalMs, JITTER, random);
  return { intervalMs, delayMs: Math.min(delayMs, watch.maxDelayMs ?? Infinity) };
}

/** The longest interval; the watch's own limit overrides the policy's. */
function longestOf(
  { run, maxDelayMs }: PacedWatch,
  isFollowed: boolean,
  { policy, load }: CadenceContext,
): number {
  const waits = isAwaiting(run.status) && !isFollowed;
  const stretch = waits ? AWAITING_STRETCH : 1;
  return Math.min(maxDelayMs ?? Infinity, longestInterval(policy.maxIntervalMs * stretch, load));
}

/** The interval that the hazard model gives for the next major transition (see `isNews`). */
function newsInterval(
  { source, profile, run, stages }: PacedWatch,
  longestMs: number,
  { now, statistics, load }: CadenceContext,
): number {
  const stage = stages.at(-1);
  if (stage === undefined) return longestMs;
  const outlook = outlookOf(stage, run, (state) => statistics(source, run.workflow_id, state));
  // All work counts as one phase here, whatever the progress.
  const ageMs = now - outlook.workflow.since;
  return guardedInterval(outlook, { now, ageMs, profile, dearness: load.dearness, longestMs });
}

function guardedInterval(
  outlook: Outlook,
  { now, ageMs, profile, dearness, longestMs }: GuardedAsk,
): number {
  const guardMs = GUARD[profile] * Math.max(0, ageMs);
  const priceS = PRICE_S[profile] * dearness;
  return lookInterval(outlook, { now, priceS, longestMs: Math.min(guardMs, longestMs) });
}

interface GuardedAsk extends Pick<SourceLoad, 'dearness'> {
  now: number;
  ageMs: number;
  profile: Profile;
  longestMs: number;
}

/**
 * The intervals of a run that has just begun to work and shows no progress, in a source that keeps
 * up.
 * @param states the workflow's statistics by state; null stands for the workflow as a whole
 * @returns a function from age to interval, both in seconds
 */
export function intervalsByAge(
  states: ReadonlyMap<string | null, Statistics>,
  { profile, minIntervalMs, maxIntervalMs }: CadenceContext['policy'] & { profile: Profile },
): (ageS: number) => number {
  const clock = { since: 0, secondMs: SECOND_MS };
  const outlook = {
    stage: { ...clock, statistics: states.get(newsAfter('running/0')) },
    workflow: { ...clock, statistics: states.get(null) },
  };
  return (ageS) => {
    const now = ageS * SECOND_MS;
    const ask = { now, ageMs: now, profile, dearness: 1, longestMs: maxIntervalMs };
    return Math.max(minIntervalMs, guardedInterval(outlook, ask)) / SECOND_MS;
  };
}

/** The minimum after a change, else longer each time. Without jitter, which would add up. */
function growingInterval(watch: PacedWatch, changed: boolean, minIntervalMs: number): number {
  return changed ? minIntervalMs : watch.cadence.intervalMs * GROWTH[watch.profile];
}

/** Whether a subscription wants event types beyond the default ones that may come next. */
function followsChanges(watch: PacedWatch, wants: EndpointFilter): boolean {
  const types = changesFrom(watch.run.status);
  return watch.subscriptions.some((one) => types.some((type) => isTold(one, type, watch, wants)));
}

function changesFrom(status: string): EventType[] {
  if (isAwaiting(status)) return ['run.resumed'];
  return status === 'queued' ? ['run.started', 'run.progress'] : ['run.progress'];
}

/** The delay after `failures` polls in a row without a usable answer. @returns milliseconds */
export function troubleDelay(failures: number, random: Random): number {
  return fullJitter(TROUBLE_BACKOFF, failures, random);
}
