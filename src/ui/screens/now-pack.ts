import type { Watch } from '../api/types.ts';
import { toneOf, type Tone } from '../parts/status.tsx';
import { stateOf } from './runs-columns.tsx';

/** Rows of bars that one lane has at most; what finds no room shares the last one. */
export const ROWS_MOST = 8;

/** One run as a bar. Times are milliseconds since the epoch. */
export interface Bar {
  key: string;
  watch: Watch;
  state: string;
  from: number;
  to: number;
  row: number;
}

/** The runs of one workflow in a span of time. */
export interface Lane {
  key: string;
  workflowId: string | null;
  bars: readonly Bar[];
  rows: number;
  total: number;
  counts: ReadonlyMap<Tone, number>;
}

/** Lanes in the order of their names' ids, so that none moves as runs come; those with no run are left out. */
export function lanesOf(runs: readonly Watch[], span: { from: number; to: number }): Lane[] {
  const groups = new Map<string, Watch[]>();
  for (const watch of runs) {
    const key = watch.run?.workflow_id ?? '';
    groups.set(key, [...(groups.get(key) ?? []), watch]);
  }
  return [...groups]
    .map(([key, group]) => laneOf(key, group, span))
    .filter(({ total }) => total > 0)
    .sort((one, other) => one.key.localeCompare(other.key));
}

function laneOf(key: string, runs: readonly Watch[], span: { from: number; to: number }): Lane {
  const bars = runs
    .map((watch) => barOf(watch, span.to))
    .filter(({ from, to }) => to >= span.from && from <= span.to + 60_000)
    .sort((one, other) => one.from - other.from);
  const ends: number[] = [];
  const gap = (span.to - span.from) / 400;
  const packed = bars.map((bar) => {
    const free = ends.findIndex((end) => end + gap <= bar.from);
    const row = free >= 0 ? free : Math.min(ends.length, ROWS_MOST - 1);
    ends[row] = Math.max(ends[row] ?? 0, bar.to);
    return { ...bar, row };
  });
  const counts = new Map<Tone, number>();
  for (const { state } of bars) counts.set(toneOf(state), (counts.get(toneOf(state)) ?? 0) + 1);
  return {
    key: key === '' ? '\u{ffff}' : key,
    workflowId: key === '' ? null : key,
    bars: packed,
    rows: ends.length,
    total: bars.length,
    counts,
  };
}

function barOf(watch: Watch, now: number): Bar {
  const { run, state, registered_at: registered, changed_at: changed } = watch;
  const from = Date.parse(run?.started_at ?? run?.created_at ?? registered);
  const end = run?.finished_at ?? (state === 'active' ? null : (changed ?? registered));
  const to = end === null ? now : Date.parse(end);
  return {
    key: `${watch.source}/${watch.run_id}`,
    watch,
    state: stateOf(watch),
    from,
    to: Math.max(from, to),
    row: 0,
  };
}
