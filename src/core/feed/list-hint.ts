import type { SeenWatch } from '../cadence/cadence.ts';
import { jitterAround, type Random } from '../backoff.ts';
import { isTerminalStatus } from '../run/snapshot.ts';
import { attemptShown } from '../watch/attempt.ts';
import type { Watch } from '../watch/watch.ts';
import type { ListMember } from './member.ts';
import { readInterval, type FeedPlan } from './plan.ts';
import { ageOf, unseenIntervalMs } from './plan-input.ts';
import type { FallbackReason } from './list-trust.ts';
import type { ListedRun, RunList } from './run-list.ts';

/** The shortest time from one check of a list by a single poll to the next, ms. */
const LEAST_CHECK_MS = 5_000;

/** Reads of a page per check of it, at least; this bounds what checks cost. */
const READS_PER_CHECK = 4;

/** A single poll is deferred by so many reads of its page, and at least by so long. */
const DEFERRED_READS = 3;
const DEFERRED_MS = 15_000;

/** Spread of deferred polls, as a share, so that they do not all come due at once. */
const SPREAD = 0.25;

/** How far a list may lag behind single polls, ms, as where a replica serves it. */
const LAG_MS = 5_000;

/** What a page says of the watched runs on it. */
export interface PageFindings {
  /** Runs of which the page shows a change that is wanted, or an end before their first read. */
  changed: ListedChange[];
  /** Runs before their first read that the page shows going on. */
  unseen: ListedChange[];
  /** Members for which the page stands in for the next single poll. */
  unchanged: ListMember[];
  /** What the list shows as active although a single poll saw its end well before; null for none. */
  disagrees: string | null;
}

interface ListedChange {
  watch: Watch;
  listed: ListedRun;
}

/** A watch with its run's place on a page. */
export interface WatchOnPage {
  watch: Watch;
  listed: ListedRun;
  /** Null where only single polls can judge the run. */
  member: ListMember | null;
}

/**
 * Compares the watched runs on a page with their watches.
 * @param readAt ms since the epoch
 * @param endsAreFinal whether a run that has ended never goes on
 */
export function comparePage(
  found: readonly WatchOnPage[],
  readAt: number,
  endsAreFinal: boolean,
): PageFindings {
  const findings: PageFindings = { changed: [], unseen: [], unchanged: [], disagrees: null };
  for (const { watch, listed, member } of found) {
    if (endsAreFinal && isStale(listed, watch, readAt)) {
      findings.disagrees ??= contradiction(watch, listed.status);
    }
    if (!isOfPresent(watch, listed)) continue;
    if (watch.run === null) {
      (goesOn(listed) ? findings.unseen : findings.changed).push({ watch, listed });
    } else if (member !== null && isChange(member, listed)) {
      findings.changed.push({ watch, listed });
    } else if (member !== null && showsAll(member, listed)) {
      findings.unchanged.push(member);
    }
  }
  return findings;
}

/** Whether a list says something of a run that is polled. One that lags shows an attempt before the present one. */
function isOfPresent(watch: Watch, listed: ListedRun): boolean {
  return watch.state === 'active' && attemptShown(watch, listed) !== 'earlier';
}

function goesOn({ status }: ListedRun): boolean {
  return status === 'queued' || status === 'running';
}

/** Where progress is asked for and the list does not show it, only single polls do. */
function showsAll({ watch: { run }, followsProgress }: ListMember, listed: ListedRun): boolean {
  return !followsProgress || listed.progress !== null || run.progress === null;
}

/** Progress alone is a change only where it is asked for; another attempt is one in whatever status. */
function isChange({ watch, followsProgress }: ListMember, listed: ListedRun): boolean {
  const { run } = watch;
  if (run.status !== listed.status || attemptShown(watch, listed) === 'later') return true;
  return followsProgress && listed.progress !== null && run.progress !== listed.progress;
}

function isStale(listed: ListedRun, { run }: Watch, readAt: number): boolean {
  if (run === null || isTerminalStatus(listed.status)) return false;
  return isTerminalStatus(run.status) && Date.parse(run.observed_at) < readAt - LAG_MS;
}

/** What is wrong with a list that a single poll contradicts, for people. */
export function contradiction({ runId, run }: Watch, listed: string): string {
  const read = `${run?.status ?? 'unknown'} at ${run?.progress ?? 0}`;
  return `the list has run ${runId} ${listed}, a single read has it ${read}`;
}

interface DeferralOptions {
  /** From this read of the page to the next one, ms. */
  pageMs: number;
  /** How long after a single poll a list may replace the next one, ms. */
  backstopMs: number;
  now: number;
  random: Random;
}

/**
 * The time to which a page that shows its run unchanged defers a single poll: several reads of the
 * page. So a list that is read no more stops to matter by itself. The time is never beyond the
 * backstop, nor beyond what else the watch needs a poll for.
 * @returns milliseconds since the epoch; null where the poll is due later than the next reads anyway
 */
export function deferredTo(
  { watch, latestAt, intervalMs }: ListMember,
  { pageMs, backstopMs, now, random }: DeferralOptions,
): number | null {
  const { nextPollAt, lastPolledAt, timeoutAt } = watch;
  if (nextPollAt === null || nextPollAt > now + Math.max(2 * pageMs, DEFERRED_MS / 3)) return null;
  const spread = 1 - SPREAD * random();
  const until = now + Math.max(DEFERRED_READS * pageMs, DEFERRED_MS) * spread;
  const backstop = (lastPolledAt ?? 0) + Math.max(intervalMs, backstopMs) * spread;
  const at = Math.round(Math.min(until, backstop, timeoutAt, latestAt));
  return at <= Math.max(nextPollAt, now) ? null : at;
}

/**
 * When a deferred single poll is due once no page covers its run any more: within the watch's own
 * interval, so that such polls do not all come at once.
 * @returns milliseconds since the epoch; null where the poll is due within that interval anyway
 */
export function recalledTo(
  { nextPollAt }: Pick<SeenWatch, 'nextPollAt'>,
  { intervalMs, now, random }: { intervalMs: number; now: number; random: Random },
): number | null {
  if (nextPollAt === null || nextPollAt <= now + intervalMs) return null;
  return Math.round(now + intervalMs * random());
}

/**
 * The run that a single poll reads to check the list, if a check is due. An unchanging list gives no
 * hints that a single poll could contradict: without checks, the runs of a frozen list would wait for
 * their backstops.
 * @param checkedAt when the list was last checked; this and `now` in milliseconds since the epoch
 */
export function memberToCheck(
  unchanged: readonly ListMember[],
  { checkedAt, pageMs, now }: { checkedAt: number; pageMs: number; now: number },
): ListMember | null {
  const everyMs = Math.max(LEAST_CHECK_MS, READS_PER_CHECK * pageMs);
  if (now - checkedAt < everyMs || unchanged.length === 0) return null;
  const longestUnread = unchanged.reduce((one, other) =>
    polledAt(other) < polledAt(one) ? other : one,
  );
  return now - polledAt(longestUnread) < everyMs ? null : longestUnread;
}

function polledAt({ watch }: ListMember): number {
  return watch.lastPolledAt ?? 0;
}

/** A page with no watched run on it waits for so long, ms. */
const FUTILE_MS = 2_000;

const JITTER = 0.1;

/** How long until a page is read again, by the runs that were found rather than those expected, ms. */
export function pageIntervalMs(
  found: readonly WatchOnPage[],
  { costMultiplier, leastPageMs }: Pick<FeedPlan, 'costMultiplier' | 'leastPageMs'>,
  { longestMs, now, random }: PageContext & { longestMs: (watch: Watch) => number },
): number {
  const runs = found.flatMap(({ member, watch, listed: { created_at: at } }) => {
    if (member === null && watch.run !== null) return [];
    const ageMs = ageOf(watch, at === null ? NaN : Date.parse(at), now);
    const intervalMs = member?.intervalMs ?? unseenIntervalMs(ageMs);
    return { intervalMs, longestMs: longestMs(watch) };
  });
  if (runs.length === 0) return FUTILE_MS;
  return jitterAround(readInterval(runs, costMultiplier, leastPageMs), JITTER, random);
}

/**
 * For how long a page has nothing new to show: all runs on it have changed, and confirming polls of
 * them take so long, ms. A read of it meanwhile would only take a request from these.
 */
export function settledMs(
  { changed, unseen, unchanged }: Pick<PageFindings, 'changed' | 'unseen' | 'unchanged'>,
  requestsPerMs: number,
): number {
  return unseen.length + unchanged.length > 0 ? 0 : changed.length / requestsPerMs;
}

interface PageContext {
  now: number;
  random: Random;
}

/** The next poll of a run goes from one time to another. Times in ms since the epoch. */
export interface PollMove {
  runId: string;
  from: number;
  to: number;
}

function moveOf(
  { runId, nextPollAt: from }: Pick<Watch, 'runId' | 'nextPollAt'>,
  to: number | null,
): PollMove[] {
  return from === null || to === null ? [] : [{ runId, from, to }];
}

/** A page that shows runs unchanged stands in for their next single polls. */
export function deferrals(unchanged: readonly ListMember[], options: DeferralOptions): PollMove[] {
  return unchanged.flatMap((member) => moveOf(member.watch, deferredTo(member, options)));
}

/** A cadence's jitter is no reason to recall a poll. */
const RECALL_SLACK = 1.2;

/** Single polls that no page stands in for any more come within their intervals again. */
export function recalls(
  { singles, costMultiplier }: Pick<FeedPlan, 'singles' | 'costMultiplier'>,
  { minIntervalMs, ...context }: PageContext & { minIntervalMs: number },
): PollMove[] {
  return singles.flatMap((watch) => {
    const intervalMs = RECALL_SLACK * readInterval([watch], costMultiplier, minIntervalMs);
    return moveOf(watch, recalledTo(watch, { ...context, intervalMs }));
  });
}

/** What one read of a page came to, for log and metrics. */
export interface PageReport {
  list: RunList;
  page: number;
  outcome: 'ok' | 'rate_limited' | FallbackReason;
  /** What is wrong, for people; null where nothing is. */
  message: string | null;
  changed: number;
  unchanged: number;
  /** Runs that were on the page and are in the list no more. */
  vanished: number;
  durationMs: number;
  /** When it is read again, milliseconds since the epoch. */
  nextAt: number;
}
