import type { EndpointView, EventView, WatchView } from '../client/types.ts';
import { count } from '../cli/render/text.ts';
import { sum } from '../core/arrays.ts';
import { wantsEvent } from '../core/event/patterns.ts';
import { isTerminalStatus } from '../core/run/snapshot.ts';
import type { RequestLog } from '../simulator/request-log.ts';
import { type Arrival, type Scoreboard, webhookProblems } from './scoreboard.ts';
import { BLANK, bold, delayText, dim, inColorOf, text, type Line } from './line.ts';
import type { ScenarioResult } from './player.ts';
import { workflowOf, type DemoRun, type SourceName } from './scenario.ts';

/** The fixed interval to compare with, ms. */
const FIXED_INTERVAL_MS = 5_000;

/** Of the runs of one source that met no obstacle. */
interface Delay {
  webhooks: number;
  medianMs: number;
  maxMs: number;
  readsPerRun: number;
}

/** A delay that the scenario provokes. */
interface Obstructed {
  obstacle: string;
  lateMs: number;
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
  /** By source; null without webhooks. */
  delays: Record<SourceName, Delay | null>;
  obstructed: Obstructed[];
  requests: { total: number; perRun: number; atOnceForOneRun: number; inPause: number | null };
  /** The cost of polling at a fixed interval; computed, not measured. */
  fixed: { readsPerRun: number; meanDelayMs: number; maxDelayMs: number };
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
  requests: Record<SourceName, Pick<RequestLog, 'total' | 'maxInFlightPerRun' | 'run'>>;
  requestsInPause: number | null;
  now: number;
}

export function computeFigures(sources: Sources): Figures {
  const { board, events, watches, endpoint, requests } = sources;
  const accepted = board.accepted();
  const ids = new Set(accepted.map(({ event }) => event?.id));
  const logs = Object.values(requests);
  const total = sum(logs.map((log) => log.total));
  return {
    byType: byType(events, accepted),
    sent: board.arrivals.length,
    rejectedOnce: board.arrivals.filter(({ status }) => status === 503).length,
    verified: accepted.length,
    duplicates: accepted.length - ids.size,
    delays: {
      default: delayOf(accepted, sources, 'default'),
      onprem: delayOf(accepted, sources, 'onprem'),
    },
    obstructed: obstructedOf(accepted),
    requests: {
      total,
      perRun: total / Math.max(board.runs.length, 1),
      atOnceForOneRun: Math.max(...logs.map(({ maxInFlightPerRun }) => maxInFlightPerRun)),
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

/** Webhooks of these are as late as the change was noticed; others also wait for a deadline. */
const TIMELY: ReadonlySet<string> = new Set([
  'run.completed',
  'run.failed',
  'run.stopped',
  'run.awaiting_human_feedback',
]);

/** Of the runs of one source; those that ended before their registration show no delay. */
function delayOf(
  accepted: readonly Arrival[],
  { board, requests }: Sources,
  source: SourceName,
): Delay | null {
  const runs = board.runs.filter(
    (run) =>
      run.obstacle === undefined &&
      run.plot.age_ms === undefined &&
      workflowOf(run).source === source,
  );
  const delays = accepted
    .flatMap(({ demoRun, event, lateMs }) => {
      const counts = demoRun !== null && runs.includes(demoRun) && TIMELY.has(event?.type ?? '');
      return counts && lateMs !== null ? [lateMs] : [];
    })
    .sort((a, b) => a - b);
  const maxMs = delays.at(-1);
  if (maxMs === undefined) return null;
  const reads = sum(runs.map(({ script }) => requests[source].run(script.id).count));
  return {
    webhooks: delays.length,
    medianMs: delays[Math.floor((delays.length - 1) / 2)] ?? 0,
    maxMs,
    readsPerRun: reads / runs.length,
  };
}

function obstructedOf(accepted: readonly Arrival[]): Obstructed[] {
  return accepted.flatMap(({ demoRun, lateMs }) =>
    demoRun?.obstacle === undefined || lateMs === null
      ? []
      : [{ obstacle: demoRun.obstacle, lateMs }],
  );
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
    readsPerRun: sum(requests) / Math.max(runs.length, 1),
    meanDelayMs: FIXED_INTERVAL_MS / 2,
    maxDelayMs: FIXED_INTERVAL_MS,
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
  const held = sum(Object.values(counts));
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
    ...balanceLines(figures),
    ...requestLines(figures),
    ...delayLines(figures),
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

const GROUP_WIDTH = 34;
const FIGURE_WIDTH = 10;
const READS_WIDTH = 15;

function delayLines({ delays, fixed, obstructed }: Figures): Line[] {
  return [
    BLANK,
    [
      bold('From the change to its webhook'.padEnd(GROUP_WIDTH)),
      dim(figuresLine(['webhooks', 'p50', 'max', 'reads per run'])),
    ],
    ...delayLine('a Noxus that streams events', delays.default),
    ...delayLine('a Noxus that can only be polled', delays.onprem),
    [
      dim(`polled every ${FIXED_INTERVAL_MS / 1_000} s (computed)`.padEnd(GROUP_WIDTH)),
      dim(
        figuresLine([
          '',
          delayText(fixed.meanDelayMs),
          delayText(fixed.maxDelayMs),
          fixed.readsPerRun.toFixed(1),
        ]),
      ),
    ],
    BLANK,
    ...obstructed.map(({ obstacle, lateMs }, at) =>
      field(at === 0 ? 'Held up' : '', `${delayText(lateMs)}, since ${obstacle}`),
    ),
  ];
}

function delayLine(label: string, delay: Delay | null): Line[] {
  if (delay === null) return [];
  const { webhooks, medianMs, maxMs, readsPerRun } = delay;
  const figures = [String(webhooks), delayText(medianMs), delayText(maxMs), readsPerRun.toFixed(1)];
  return [[text(label.padEnd(GROUP_WIDTH)), text(figuresLine(figures))]];
}

function figuresLine([webhooks = '', p50 = '', max = '', reads = '']: readonly string[]): string {
  return [
    webhooks.padStart(FIGURE_WIDTH),
    p50.padStart(FIGURE_WIDTH),
    max.padStart(FIGURE_WIDTH),
    reads.padStart(READS_WIDTH),
  ].join('');
}

function requestLines({ requests }: Figures): Line[] {
  const { total, perRun, atOnceForOneRun, inPause } = requests;
  const once = atOnceForOneRun === 1 ? 'never two' : `up to ${atOnceForOneRun}`;
  return [
    field(
      'Requests',
      `${total} to Noxus, ${perRun.toFixed(1)} per run, ${once} at once for one run`,
    ),
    ...(inPause === null ? [] : [hanging(`${inPause} in the pause that Noxus had asked for`)]),
  ];
}

function balanceLines({ balance }: Figures): Line[] {
  const { delivered, pending, dead, ...others } = balance.counts;
  const rest = Object.entries(others).filter(([, number]) => number > 0);
  const states = [['delivered', delivered], ['pending', pending], ['dead', dead], ...rest];
  const parts = states.map(([state, number]) => `${number} ${state}`).join(' + ');
  const sign = balance.addsUp ? '=' : '≠';
  return [field('Deliveries', `${balance.expected} events × 1 receiver ${sign} ${parts}`)];
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
