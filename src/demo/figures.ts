import type { EndpointView, EventView, WatchView } from '../cli/client/wire.ts';
import { wantsEvent } from '../core/event/event.ts';
import { isTerminalStatus } from '../core/run/snapshot.ts';
import type { Ledger } from '../simulator/ledger.ts';
import type { Member } from './cast.ts';
import type { Arrival, Scoreboard } from './score.ts';

/** The fixed interval to compare with, ms. */
export const FIXED_INTERVAL_MS = 5_000;

/** The delay of terminal events, from `finished_at` to arrival. */
interface Lateness {
  runs: number;
  medianMs: number;
  maxMs: number;
  /** What delayed the slowest one; null for no obstacle. */
  hindrance: string | null;
  /** The maximum among those without an obstacle. */
  maxUnhinderedMs: number;
}

/** The demo in numbers. */
export interface Figures {
  /** Events seen and webhooks accepted, by type. */
  byType: { type: string; seen: number; told: number }[];
  /** All attempts, including rejected ones. */
  sent: number;
  turnedAway: number;
  verified: number;
  /** Events that were accepted more than once. */
  duplicates: number;
  late: Lateness | null;
  requests: { total: number; perRun: number; atOnceForOneRun: number; inPause: number | null };
  /** What polling at a fixed interval would have cost; computed, not measured. */
  fixed: { requests: number; meanDelayMs: number };
  balance: Balance;
}

/** Events for the receiver, compared with their deliveries. */
interface Balance {
  owed: number;
  counts: EndpointView['counts'];
  addsUp: boolean;
}

interface Sources {
  board: Scoreboard;
  /** All events of the daemon. */
  events: readonly EventView[];
  watches: ReadonlyMap<string, WatchView>;
  endpoint: EndpointView;
  requests: Pick<Ledger, 'total' | 'maxInFlightPerRun'>;
  requestsInPause: number | null;
  now: number;
}

export function computeFigures(sources: Sources): Figures {
  const { board, events, watches, endpoint, requests } = sources;
  const accepted = board.accepted();
  const ids = new Set(accepted.map(({ event }) => event?.id));
  return {
    byType: byType(events, accepted),
    sent: board.arrivals.length,
    turnedAway: board.arrivals.filter(({ status }) => status === 503).length,
    verified: accepted.length,
    duplicates: accepted.length - ids.size,
    late: lateness(accepted),
    requests: {
      total: requests.total,
      perRun: requests.total / Math.max(board.members.length, 1),
      atOnceForOneRun: requests.maxInFlightPerRun,
      inPause: sources.requestsInPause,
    },
    fixed: fixedInterval(board.members, watches, sources.now),
    balance: balanceOf(events, endpoint),
  };
}

function byType(events: readonly EventView[], accepted: readonly Arrival[]) {
  const types = [...new Set(events.map(({ type }) => type))].sort();
  return types.map((type) => ({
    type,
    seen: events.filter((event) => event.type === type).length,
    told: accepted.filter(({ event }) => event?.type === type).length,
  }));
}

/** Runs that ended before they were registered say nothing about the detection delay. */
function lateness(accepted: readonly Arrival[]): Lateness | null {
  const ends = accepted.flatMap(({ member, event, lateMs }) => {
    const finishedAt = event?.data.run?.finished_at ?? null;
    if (member === null || lateMs === null || finishedAt === null) return [];
    return Date.parse(finishedAt) > member.registeredAt ? [{ member, lateMs }] : [];
  });
  const ordered = ends.toSorted((a, b) => a.lateMs - b.lateMs);
  const latest = ordered.at(-1);
  if (latest === undefined) return null;
  const unhindered = ordered.filter(({ member }) => member.hindrance === undefined);
  return {
    runs: ordered.length,
    medianMs: ordered[Math.floor((ordered.length - 1) / 2)]?.lateMs ?? 0,
    maxMs: latest.lateMs,
    hindrance: latest.member.hindrance ?? null,
    maxUnhinderedMs: unhindered.at(-1)?.lateMs ?? 0,
  };
}

/**
 * Polling each run at once, and then at a fixed interval while it was watched. A change between two
 * polls waits half of the interval on average.
 */
function fixedInterval(
  members: readonly Member[],
  watches: ReadonlyMap<string, WatchView>,
  now: number,
): Figures['fixed'] {
  const requests = members.map(({ script, registeredAt }) => {
    const watch = watches.get(script.id);
    return 1 + Math.ceil((watchedUntil(watch, now) - registeredAt) / FIXED_INTERVAL_MS);
  });
  return {
    requests: requests.reduce((sum, count) => sum + count, 0),
    meanDelayMs: FIXED_INTERVAL_MS / 2,
  };
}

/** A run that ended before its registration takes only one poll. */
function watchedUntil(watch: WatchView | undefined, now: number): number {
  if (watch === undefined || watch.state === 'active') return now;
  const { run, registered_at: registeredAt, last_polled_at: lastPolledAt } = watch;
  if (watch.state === 'gone' && run === null) return Date.parse(registeredAt);
  const ended = run !== null && isTerminalStatus(run.status) ? run.finished_at : lastPolledAt;
  return Math.max(Date.parse(registeredAt), Date.parse(ended ?? registeredAt));
}

function balanceOf(
  events: readonly EventView[],
  { counts, events: patterns }: EndpointView,
): Balance {
  const owed = events.filter(({ type }) => wantsEvent(patterns ?? undefined, type)).length;
  const held = Object.values(counts).reduce((sum, count) => sum + count, 0);
  return { owed, counts, addsUp: owed === held };
}
