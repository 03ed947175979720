import type { EndpointView, EventView, WatchView } from '../client/types.ts';
import { count } from '../cli/render/text.ts';
import { wantsEvent } from '../core/event/event.ts';
import { isTerminalStatus } from '../core/run/snapshot.ts';
import type { Ledger } from '../simulator/request-log.ts';
import { type Arrival, type Scoreboard, shortcomings } from './arrivals.ts';
import { BLANK, bold, dim, inColorOf, seconds, text, type Line } from './line.ts';
import type { Ending } from './player.ts';
import type { Member } from './scenario.ts';

/** The fixed interval to compare with, ms. */
const FIXED_INTERVAL_MS = 5_000;

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
    requests: requests.reduce((sum, one) => sum + one, 0),
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
  const held = Object.values(counts).reduce((sum, one) => sum + one, 0);
  return { owed, counts, addsUp: owed === held };
}

const LABEL_WIDTH = 14;
const TYPE_WIDTH = 28;
const COUNT_WIDTH = 6;
const DELIVERED_WIDTH = 11;

/** The figures for people. Every line fits into 80 columns. */
export function summaryLines(figures: Figures): Line[] {
  return [
    BLANK,
    [
      bold('Events'.padEnd(TYPE_WIDTH)),
      dim('seen'.padStart(COUNT_WIDTH)),
      dim('delivered'.padStart(DELIVERED_WIDTH)),
    ],
    ...figures.byType.map(typeLine),
    BLANK,
    ...toldLines(figures),
    ...lateLines(figures),
    ...requestLines(figures),
    ...balanceLines(figures),
  ];
}

function typeLine({ type, seen, told }: Figures['byType'][number]): Line {
  const shown = told === 0 ? '–' : String(told);
  return [
    inColorOf(type, type.padEnd(TYPE_WIDTH)),
    text(String(seen).padStart(COUNT_WIDTH)),
    text(shown.padStart(DELIVERED_WIDTH)),
  ];
}

function toldLines({ sent, verified, turnedAway, duplicates }: Figures): Line[] {
  const twice = duplicates === 0 ? 'none of them twice' : `${duplicates} of them again`;
  return [
    field('Delivered', `${count(verified, 'webhook')}, each verified by its signature, ${twice}`),
    hanging(`${sent} attempts: ${turnedAway} got a 503 from the receiver, and was repeated`),
  ];
}

function lateLines({ late }: Figures): Line[] {
  if (late === null) return [];
  const { medianMs, maxMs, maxUnhinderedMs, hindrance, runs } = late;
  const figures = `p50 ${seconds(medianMs)}, max ${seconds(maxMs)}`;
  const why = `the slowest: ${hindrance}; the others: max ${seconds(maxUnhinderedMs)}`;
  return [
    field('Delay', `${figures}, from finished_at to arrival (${count(runs, 'run')})`),
    ...(hindrance === null ? [] : [hanging(why)]),
  ];
}

function requestLines({ requests, fixed }: Figures): Line[] {
  const { total, perRun, atOnceForOneRun, inPause } = requests;
  const once = atOnceForOneRun === 1 ? 'never two' : `up to ${atOnceForOneRun}`;
  const delay = `a mean delay of ${seconds(fixed.meanDelayMs)}`;
  return [
    field(
      'Requests',
      `${total} to Noxus, ${perRun.toFixed(1)} per run, ${once} at once for one run`,
    ),
    ...(inPause === null ? [] : [hanging(`${inPause} in the pause that Noxus had asked for`)]),
    field(
      `Every ${FIXED_INTERVAL_MS / 1_000} s`,
      `${fixed.requests} requests, ${delay} (computed, not measured)`,
    ),
  ];
}

function balanceLines({ balance }: Figures): Line[] {
  const { delivered = 0, pending = 0, dead = 0, ...others } = balance.counts;
  const rest = Object.entries(others).filter(([, number]) => number > 0);
  const states = [['delivered', delivered], ['pending', pending], ['dead', dead], ...rest];
  const sum = states.map(([state, number]) => `${number} ${state}`).join(' + ');
  const sign = balance.addsUp ? '=' : '≠';
  return [field('Deliveries', `${balance.owed} events × 1 receiver ${sign} ${sum}`)];
}

function field(label: string, value: string): Line {
  return [bold(label.padEnd(LABEL_WIDTH)), text(value)];
}

function hanging(value: string): Line {
  return [text(' '.repeat(LABEL_WIDTH)), dim(value)];
}

/** Every problem of the demo, a sentence each. */
export function problemsOf(board: Scoreboard, ending: Ending, { balance }: Figures): string[] {
  const { counts, owed, addsUp } = balance;
  const open = (counts['pending'] ?? 0) + (counts['dead'] ?? 0);
  return [
    ...shortcomings(board),
    ...unended(board, ending),
    ...(addsUp ? [] : [`${owed} webhooks were due, but the number of deliveries differs.`]),
    ...(open > 0 ? [`${open} deliveries are pending or dead.`] : []),
  ];
}

function unended(board: Scoreboard, { watches }: Ending): string[] {
  return board.members.flatMap(({ name, script, end }) => {
    const state = watches.get(script.id)?.state ?? 'missing';
    return state === end ? [] : [`The watch of the run that ${name} is ${state}, and not ${end}.`];
  });
}
