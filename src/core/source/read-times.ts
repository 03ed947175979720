import { longestInterval, type SourceLoad } from '../cadence/load.ts';
import type { RateLimit } from './limiter.ts';
import { ageText, allowanceText, countText, wantedText } from './overdue.ts';

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

/** Without a plan, by how far the longest interval is widened. */
function singleReads(runs: number, maxIntervalMs: number, load: SourceLoad) {
  const longestMs = Math.round(longestInterval(maxIntervalMs, load));
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
  /** What the plan of its lists comes to; null where it has none yet. */
  planned: { times: ReadTimes; wantedPerMs: number } | null;
  /** Whether lists of runs are read at all. */
  isByLists: boolean;
}

/** How often the runs of a source are read; null where that is not known. */
export function sourceReads({
  source,
  limit,
  maxIntervalMs,
  load,
  active,
  planned,
  isByLists,
}: ReadSource): SourceReads | null {
  const found = isByLists ? planned : singleReads(active, maxIntervalMs, load);
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
  const rare = `less often than max_interval (${ageText(maxIntervalMs)}) asks for`;
  const lists = reads.isByLists ? '' : ', or polling.batch auto';
  const isMore = reads.wantedRequests > limit.requests;
  const cure = isMore ? `; ${wantedText(reads)} would do${lists}` : '';
  return `${runs} read ${rare}, the slowest every ${ageText(longestMs)}; ${allowed}${cure}`;
}

function runsText({ runs, usualMs, longestMs }: SourceReads): string {
  const usual = usualMs === null ? '' : `every ${ageText(usualMs)}, `;
  return `${countText(runs)} read ${usual}${usualMs === null ? 'at least' : 'the slowest'} every ${ageText(longestMs)}`;
}
