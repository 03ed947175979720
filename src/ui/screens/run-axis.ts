/**
 * The time axis of a run as numbers: its span, its scale and its marks. `run-chart.tsx` draws it. How late each
 * endpoint got an event is worked out by `run-delay.ts`.
 */
import type { Timeline, TimelineDelivery, TimelineState, Watch } from '../api/types.ts';

/** A range of time, ms since the epoch. */
export interface Span {
  from: number;
  to: number;
}

/** Where moments lie on a chart of some width, in pixels. */
export interface Scale {
  span: Span;
  x: (at: number) => number;
  width: number;
}

/** The selected event, and how to select another. */
export interface Choosing {
  chosen: string | null;
  onChoose: (eventId: string) => void;
}

/** One state that a run was in. */
export interface Segment extends Span {
  status: string;
  progress: number | null;
}

const FINAL = /^(completed|failed|stopped)$/;

/** The states of a run, each with its end: the next one's beginning, or now. */
export function segmentsOf(states: readonly TimelineState[], now: number): Segment[] {
  const segments: Segment[] = [];
  for (const { at, until, status, progress } of states) {
    const from = Date.parse(at);
    const last = segments.at(-1);
    const to = until === null ? (FINAL.test(status) ? from : now) : Date.parse(until);
    if (last !== undefined && last.status === status) {
      last.to = to;
      last.progress = progress ?? last.progress;
    } else {
      segments.push({ status, progress, from, to });
    }
  }
  return segments;
}

/** The progress over time, as points. */
export function progressOf(states: readonly TimelineState[]): { at: number; progress: number }[] {
  return states.flatMap(({ at, progress }) =>
    progress === null ? [] : [{ at: Date.parse(at), progress }],
  );
}

/** All the time that has something to show, with some room at its ends. */
export function wholeSpan(watch: Watch, timeline: Timeline, now: number): Span {
  const { states, polls, events, deliveries } = timeline;
  const times = [
    ...states.map(({ at }) => at),
    ...events.flatMap(({ timestamp, data }) => [timestamp, data.detected_at]),
    ...deliveries.flatMap(timesOf),
    ...polls.slice(-1).map(({ at }) => at),
    watch.run?.created_at ?? watch.registered_at,
    ...(watch.run?.finished_at == null ? [] : [watch.run.finished_at]),
  ].map((at) => Date.parse(at));
  const from = Math.min(...times);
  const to = Math.max(...times, watch.state === 'active' ? now : 0);
  const room = Math.max(500, (to - from) * 0.03);
  return { from: from - room, to: to + room };
}

function timesOf({ created_at: created, delivered_at: delivered, attempts }: TimelineDelivery) {
  return [created, delivered ?? created].concat(attempts.map(({ at }) => at));
}

const STEPS = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000,
  300_000, 600_000, 900_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000, 43_200_000, 86_400_000,
  172_800_000, 604_800_000,
];

/** Round moments to mark on an axis, at most so many. */
export function ticksOf(
  { from, to }: Span,
  most: number,
  offsetMs: number,
): { at: number; stepMs: number }[] {
  const least = (to - from) / Math.max(1, most);
  const stepMs = STEPS.find((step) => step >= least) ?? 604_800_000;
  const first = Math.ceil((from + offsetMs) / stepMs) * stepMs - offsetMs;
  const ticks = [];
  for (let at = first; at <= to; at += stepMs) ticks.push({ at, stepMs });
  return ticks;
}

/** A span that shows a part of another, around the same middle or a given one. */
export function zoomed({ from, to }: Span, factor: number, middle = (from + to) / 2): Span {
  const left = (middle - from) / factor;
  const right = (to - middle) / factor;
  return { from: middle - left, to: middle + right };
}
