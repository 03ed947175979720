import { longestInterval, type SourceLoad } from '../cadence/load.ts';
import { isAwaiting } from '../run/snapshot.ts';
import type { Watch } from '../watch/watch.ts';
import { spanText } from '../time.ts';
import type { RateLimit } from './rate-limit.ts';
import { allowanceText, countText, wantedText } from './overdue.ts';

/** Jitter, and what a plan cannot foresee, are no reason to call an interval too long. */
const SLACK = 1.2;

/** Of a rate limit, reads by cadence can use this share: the rest absorbs what is not foreseen. */
const SPENT = 0.9;

/** How long it takes from one read of a run to the next, alone or on a page of a list. */
export interface ReadTimes {
  /** Runs that were read before and go on, without those that are left to event streams. */
  runs: number;
  /** The median, ms; null where it is not known. */
  usualMs: number | null;
  longestMs: number;
  /** Runs that are read less often than `max_interval` asks for. */
  stretched: number;
}

/** The read times of a source, and what would help. */
export interface SourceReads extends ReadTimes {
  source: string;
  maxIntervalMs: number;
  /** Requests per period with which each run would be read as often as its profile asks for. */
  wantedRequests: number;
  limit: RateLimit;
  /** Whether lists of runs are read at all. */
  isByLists: boolean;
}

/**
 * Sums up read times.
 * @param times of each run: what a short rate limit allows, and what its cadence asks for, ms
 */
export function readTimesOf(
  times: readonly { readMs: number; intervalMs: number }[],
  maxIntervalMs: number,
): ReadTimes {
  const sorted = times.map(({ readMs }) => readMs).sort((a, b) => a - b);
  const stretched = times.filter(
    ({ readMs, intervalMs }) => readMs > SLACK * Math.max(maxIntervalMs, intervalMs),
  );
  return {
    runs: times.length,
    usualMs: Math.round(sorted[Math.floor(sorted.length / 2)] ?? 0),
    longestMs: Math.round(sorted.at(-1) ?? 0),
    stretched: stretched.length,
  };
}

/**
 * The time between two polls of a run with an interval that a short rate limit has widened.
 * @returns milliseconds; null where the interval is not widened, or something else set the time
 */
export function widenedWait(
  before: Watch,
  after: Pick<Watch, 'lastPolledAt'>,
  { maxIntervalMs, lagMs }: { maxIntervalMs: number; lagMs: number },
): number | null {
  const { intervalMs } = before.cadence;
  if (before.lastPolledAt === null || after.lastPolledAt === null) return null;
  if (intervalMs <= maxIntervalMs || isAwaiting(before.run?.status ?? '')) return null;
  const waitMs = after.lastPolledAt - before.lastPolledAt;
  return waitMs > SLACK * intervalMs + lagMs ? null : waitMs;
}

/** A wait is forgotten after one to two of these, ms. */
const RECENT_MS = 5_000;

/** The longest wait of the last seconds, or of the last ones that had any. */
export class LongestWait {
  private since = -Infinity;
  private before: number | null = null;
  private latest: number | null = null;

  /** @param clock ms of a clock that only runs forward */
  constructor(private readonly clock: () => number) {}

  add(waitMs: number): void {
    const now = this.clock();
    if (now - this.since > RECENT_MS) {
      [this.since, this.before, this.latest] = [now, this.latest, null];
    }
    this.latest = Math.max(this.latest ?? 0, waitMs);
  }

  /** Milliseconds; null for none so far. */
  get ms(): number | null {
    return this.latest === null ? this.before : Math.max(this.latest, this.before ?? 0);
  }
}

/** Without a plan, how long runs wait, or before that is known, by how far the longest interval is widened. */
function singleReads({ active: runs, maxIntervalMs, load, waitMs }: ReadSource) {
  const mostMs = longestInterval(maxIntervalMs, load);
  const longestMs = Math.round(Math.max(maxIntervalMs, Math.min(waitMs ?? Infinity, mostMs)));
  // A limit with room for all runs may seem short until polls have been punctual for a while.
  const isShort = load.roundMs > SPENT * maxIntervalMs;
  const stretched = isShort && longestMs > SLACK * maxIntervalMs ? runs : 0;
  return {
    times: { runs, usualMs: null, longestMs, stretched },
    wantedPerMs: runs / (maxIntervalMs * SPENT),
  };
}

interface ReadSource {
  source: string;
  limit: RateLimit;
  maxIntervalMs: number;
  /** How busy the rate limit is. */
  load: SourceLoad;
  /** Active runs. */
  active: number;
  /** The longest recent wait of a run with a widened interval, ms; null for none. */
  waitMs: number | null;
  /** What the plan of its lists comes to; null where it has none yet. */
  planned: { times: ReadTimes; wantedPerMs: number } | null;
  /** Whether lists of runs are read at all. */
  isByLists: boolean;
}

/** How often the runs of a source are read; null where that is not known. */
export function sourceReads(read: ReadSource): SourceReads | null {
  const { source, limit, maxIntervalMs, active, planned, isByLists } = read;
  const found = isByLists ? planned : singleReads(read);
  if (found === null || active === 0 || found.times.runs === 0) return null;
  const wantedRequests = Math.ceil(found.wantedPerMs * limit.perMs);
  return { ...found.times, source, maxIntervalMs, wantedRequests, limit, isByLists };
}

/** How often runs are read, and where that is too rare, what would help. */
export function readsText(reads: SourceReads): string {
  const { limit, stretched, maxIntervalMs, longestMs } = reads;
  const allowed = allowanceText(reads);
  if (stretched === 0) return `${runsText(reads)}; ${allowed}`;
  const runs = `${stretched.toLocaleString('en')} of ${countText(reads.runs)}`;
  const rare = `less often than max_interval (${spanText(maxIntervalMs)}) asks for`;
  const lists = reads.isByLists ? '' : ', or polling.lists auto';
  const isMore = reads.wantedRequests > limit.requests;
  const cure = isMore ? `; ${wantedText(reads)} would do${lists}` : '';
  return `${runs} read ${rare}, the slowest every ${spanText(longestMs)}; ${allowed}${cure}`;
}

function runsText({ runs, usualMs, longestMs }: SourceReads): string {
  const usual = usualMs === null ? '' : `every ${spanText(usualMs)}, `;
  return `${countText(runs)} read ${usual}${usualMs === null ? 'at least' : 'the slowest'} every ${spanText(longestMs)}`;
}
