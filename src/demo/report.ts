import type { EndpointView, EventView, WatchView } from '../client/types.ts';
import { count } from '../cli/render/text.ts';
import { wantsEvent } from '../core/event/event.ts';
import { isTerminalStatus } from '../core/run/snapshot.ts';
import type { RequestLog } from '../simulator/request-log.ts';
import { type Arrival, type Scoreboard, webhookProblems } from './scoreboard.ts';
import { BLANK, bold, dim, inColorOf, seconds, text, type Line } from './line.ts';
import type { ScenarioResult } from './player.ts';
import type { DemoRun } from './scenario.ts';

/** The fixed interval to compare with, ms. */
const FIXED_INTERVAL_MS = 5_000;

/** The delay of terminal events, from `finished_at` to arrival. */
interface Delay {
  runs: number;
  medianMs: number;
  maxMs: number;
  /** The obstacle of the slowest one; null for none. */
  obstacle: string | null;
  /** The maximum among those without an obstacle. */
  maxUnobstructedMs: number;
}

/** The demo in numbers. */
export interface Figures {
  /** Events seen and webhooks accepted, by type. */
  byType: { type: string; seen: number; received: number }[];
  /** All attempts, including rejected ones. */
  sent: number;
  rejectedOnce: number;
  verified: number;
  /** Events that were accepted more than once. */
  duplicates: number;
  late: Delay | null;
  requests: { total: number; perRun: number; atOnceForOneRun: number; inPause: number | null };
  /** The cost of polling at a fixed interval; computed, not measured. */
  fixed: { requests: number; meanDelayMs: number };
  balance: Balance;
}

/** Events for the receiver, compared with their deliveries. */
interface Balance {
  expected: number;
  counts: EndpointView['counts'];
  addsUp: boolean;
}

interface Sources {
  board: Scoreboard;
  /** All events of the daemon. */
  events: readonly EventView[];
  watches: ReadonlyMap<string, WatchView>;
  endpoint: EndpointView;
  requests: Pick<RequestLog, 'total' | 'maxInFlightPerRun'>;
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
    rejectedOnce: board.arrivals.filter(({ status }) => status === 503).length,
    verified: accepted.length,
    duplicates: accepted.length - ids.size,
    late: delayOf(accepted),
    requests: {
      total: requests.total,
      perRun: requests.total / Math.max(board.runs.length, 1),
      atOnceForOneRun: requests.maxInFlightPerRun,
      inPause: sources.requestsInPause,
    },
    fixed: fixedInterval(board.runs, watches, sources.now),
    balance: balanceOf(events, endpoint),
  };
}

function byType(events: readonly EventView[], accepted: readonly Arrival[]) {
  const types = [...new Set(events.map(({ type }) => type))].sort();
  return types.map((type) => ({
    type,
    seen: events.filter((event) => event.type === type).length,
    received: accepted.filter(({ event }) => event?.type === type).length,
  }));
}

/** Runs that ended before their registration are left out: they show no detection delay. */
function delayOf(accepted: readonly Arrival[]): Delay | null {
  const ends = accepted.flatMap(({ demoRun, event, lateMs }) => {
    const finishedAt = event?.data.run?.finished_at ?? null;
    if (demoRun === null || lateMs === null || finishedAt === null) return [];
    return Date.parse(finishedAt) > demoRun.registeredAt ? [{ demoRun, lateMs }] : [];
  });
  const ordered = ends.toSorted((a, b) => a.lateMs - b.lateMs);
  const latest = ordered.at(-1);
  if (latest === undefined) return null;
  const unobstructed = ordered.filter(({ demoRun }) => demoRun.obstacle === undefined);
  return {
    runs: ordered.length,
    medianMs: ordered[Math.floor((ordered.length - 1) / 2)]?.lateMs ?? 0,
    maxMs: latest.lateMs,
    obstacle: latest.demoRun.obstacle ?? null,
    maxUnobstructedMs: unobstructed.at(-1)?.lateMs ?? 0,
  };
}

/**
 * Polling each run at once, and then at a fixed interval while it was watched. A change between two
 * polls waits half of the interval on average.
 */
function fixedInterval(
  runs: readonly DemoRun[],
  watches: ReadonlyMap<string, WatchView>,
  now: number,
): Figures['fixed'] {
  const requests = runs.map(({ script, registeredAt }) => {
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
  const expected = events.filter(({ type }) => wantsEvent(patterns ?? undefined, type)).length;
  const held = Object.values(counts).reduce((sum, one) => sum + one, 0);
  return { expected, counts, addsUp: expected === held };
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
    ...deliveryLines(figures),
    ...delayLines(figures),
    ...requestLines(figures),
    ...balanceLines(figures),
  ];
}

function typeLine({ type, seen, received }: Figures['byType'][number]): Line {
  const shown = received === 0 ? '–' : String(received);
  return [
    inColorOf(type, type.padEnd(TYPE_WIDTH)),
    text(String(seen).padStart(COUNT_WIDTH)),
    text(shown.padStart(DELIVERED_WIDTH)),
  ];
}

function deliveryLines({ sent, verified, rejectedOnce, duplicates }: Figures): Line[] {
  const twice = duplicates === 0 ? 'none of them twice' : `${duplicates} of them again`;
  return [
    field('Delivered', `${count(verified, 'webhook')}, each verified by its signature, ${twice}`),
    hanging(`${sent} attempts: ${rejectedOnce} got a 503 from the receiver, and was repeated`),
  ];
}

function delayLines({ late }: Figures): Line[] {
  if (late === null) return [];
  const { medianMs, maxMs, maxUnobstructedMs, obstacle, runs } = late;
  const figures = `p50 ${seconds(medianMs)}, max ${seconds(maxMs)}`;
  const why = `the slowest: ${obstacle}; the others: max ${seconds(maxUnobstructedMs)}`;
  return [
    field('Delay', `${figures}, from finished_at to arrival (${count(runs, 'run')})`),
    ...(obstacle === null ? [] : [hanging(why)]),
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
  const { delivered, pending, dead, ...others } = balance.counts;
  const rest = Object.entries(others).filter(([, number]) => number > 0);
  const states = [['delivered', delivered], ['pending', pending], ['dead', dead], ...rest];
  const sum = states.map(([state, number]) => `${number} ${state}`).join(' + ');
  const sign = balance.addsUp ? '=' : '≠';
  return [field('Deliveries', `${balance.expected} events × 1 receiver ${sign} ${sum}`)];
}

function field(label: string, value: string): Line {
  return [bold(label.padEnd(LABEL_WIDTH)), text(value)];
}

function hanging(value: string): Line {
  return [text(' '.repeat(LABEL_WIDTH)), dim(value)];
}

/** Every problem of the demo, a sentence each. */
export function problemsOf(
  board: Scoreboard,
  result: ScenarioResult,
  { balance }: Figures,
): string[] {
  const { counts, expected, addsUp } = balance;
  const open = (counts['pending'] ?? 0) + (counts['dead'] ?? 0);
  return [
    ...webhookProblems(board),
    ...unended(board, result),
    ...(addsUp ? [] : [`${expected} webhooks were due, but the number of deliveries differs.`]),
    ...(open > 0 ? [`${open} deliveries are pending or dead.`] : []),
  ];
}

function unended(board: Scoreboard, { watches }: ScenarioResult): string[] {
  return board.runs.flatMap(({ name, script, end }) => {
    const state = watches.get(script.id)?.state ?? 'missing';
    return state === end ? [] : [`The watch of the run that ${name} is ${state}, and not ${end}.`];
  });
}
