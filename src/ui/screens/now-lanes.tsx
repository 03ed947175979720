import { shortId } from '../../core/run/short-id.ts';
import { computed } from '@preact/signals';
import { useMemo, useRef, useState } from 'preact/hooks';
import { groupBy } from '../../core/arrays.ts';
import { workBegan } from '../../core/run/snapshot.ts';
import { api } from '../api/calls.ts';
import type { EventView, WatchQuery } from '../../client/types.ts';
import type { Watch } from '../api/types.ts';
import { go, href, runPath } from '../app/router.ts';
import { Empty, Loading, Section, Trouble } from '../parts/basics.tsx';
import { useBrush } from '../parts/brush.ts';
import { lengthText, plural } from '../parts/format.ts';
import { Glyph, glyphPath, toneOf, type Tone } from '../parts/status.tsx';
import { now, useLive, useLoaded, useWidth } from '../parts/hooks.ts';
import { learnNames, workflowText } from '../parts/workflow-names.ts';
import { stateOf } from './runs-columns.tsx';
import { keyOfRun } from './runs-columns.tsx';
import { namedOf, patched } from './runs.tsx';

const HOUR_MS = 3_600_000;

/** Runs that are drawn at most. */
const MOST = 600;

/** The time in steps of 5 s: the bars are not drawn anew each second. */
const slot = computed(() => Math.floor(now.value / 5_000) * 5_000);

/** The runs of the last hour, one row of bars for each workflow. */
export function Lanes() {
  const { value, error, reload } = useLoaded('lanes', loadRuns, { everyMs: 30_000 });
  const news = useNewRuns(value?.runs ?? [], reload);
  const minute = slot.value;
  const lanes = useMemo(
    () => lanesOf(news, { from: minute - HOUR_MS, to: minute }),
    [news, minute],
  );
  return (
    <Section title="Last hour" aside={<Marks />}>
      <Trouble error={error} what="the runs of the last hour" retry={reload} />
      {value === null && error === null && <Loading />}
      {value !== null && lanes.length === 0 && (
        <Empty title="No run ran in the last hour.">
          <a href={href('/runs')}>All runs</a>
        </Empty>
      )}
      {lanes.length > 0 && <Board lanes={lanes} from={minute - HOUR_MS} to={minute} />}
      {value !== null && value.isCut && (
        <p class="faint">
          The last {MOST} runs are drawn.{' '}
          <a href={href('/runs', { since: '1h' })}>All of the last hour</a>
        </p>
      )}
    </Section>
  );
}

const LISTINGS: readonly WatchQuery[] = [{ state: 'active' }, { since: '1h', order: 'changed' }];

async function loadRuns(signal: AbortSignal): Promise<{ runs: Watch[]; isCut: boolean }> {
  const runs = new Map<string, Watch>();
  let isCut = false;
  for (const query of LISTINGS) {
    let cursor: string | undefined;
    for (let pages = 0; pages < 2; pages += 1) {
      const page = await api.watches({ ...query, limit: 200, cursor }, signal);
      for (const watch of page.data) runs.set(keyOfRun(watch), watch);
      cursor = page.next_cursor ?? undefined;
      if (cursor === undefined) break;
    }
    isCut ||= cursor !== undefined;
  }
  const all = [...runs.values()];
  learnNames(all.map(namedOf));
  return { runs: all.slice(0, MOST), isCut };
}

/** The runs as loaded, with what events said since. */
function useNewRuns(loaded: readonly Watch[], reload: () => void): readonly Watch[] {
  const [changes, setChanges] = useState<ReadonlyMap<string, EventView>>(new Map());
  useLive((events) => {
    if (events === null) return reload();
    setChanges((before) => {
      const next = new Map(before);
      for (const event of events) {
        next.set(keyOfRun({ run_id: event.data.run_id, source: event.data.watch.source }), event);
      }
      return next.size > 4 * MOST ? new Map() : next;
    });
  });
  return useMemo(() => {
    const known = new Set(loaded.map(keyOfRun));
    const added = [...changes].flatMap(([key, event]) => (known.has(key) ? [] : [asWatch(event)]));
    const changed = loaded.map((watch) => {
      const event = changes.get(keyOfRun(watch));
      return event === undefined ? watch : patched(watch, event);
    });
    return [...changed, ...added];
  }, [loaded, changes]);
}

/** As much of a watch as an event has; enough for a bar. */
function asWatch({ type, data }: EventView): Watch {
  const { watch, run, run_id: id } = data;
  const bare = {
    run_id: id,
    source: watch.source,
    state: 'active',
    run,
    metadata: watch.metadata,
    sequence: 0,
    registered_at: watch.registered_at,
  } as unknown as Watch;
  return patched(bare, { type, data } as EventView);
}

const MARKS = ['running', 'awaiting_human_feedback', 'failed', 'stopped', 'completed'] as const;

function Marks() {
  return (
    <ul class="legend">
      {MARKS.map((state) => (
        <li key={state}>
          <Glyph tone={toneOf(state)} />
          {state === 'awaiting_human_feedback' ? 'awaiting' : state}
        </li>
      ))}
    </ul>
  );
}

const ROW_PX = 9;

function Board({ lanes, from, to }: { lanes: readonly Lane[]; from: number; to: number }) {
  const board = useRef<HTMLDivElement>(null);
  const chartOf = () => board.current?.querySelector<HTMLElement>('.lane-chart') ?? null;
  const boundsOf = () => chartOf()?.getBoundingClientRect() ?? null;
  const brush = useBrush(boundsOf, ({ left, right }) => {
    const width = chartOf()?.clientWidth ?? 1;
    const timeAt = (px: number) => new Date(from + (px / width) * (to - from)).toISOString();
    go(href('/runs', { since: timeAt(left), until: timeAt(right) }));
  });
  const { stretch } = brush;
  const offset = chartOf()?.offsetLeft ?? 0;
  return (
    <div class="lanes" ref={board} {...brush.handlers}>
      {stretch !== null && (
        <div
          class="brushed"
          style={{ left: `${offset + stretch.left}px`, width: `${stretch.right - stretch.left}px` }}
        />
      )}
      {lanes.map((lane) => (
        <LaneRow key={lane.key} lane={lane} from={from} to={to} />
      ))}
      <div class="lane-row lane-scale" aria-hidden="true">
        <span />
        <span class="scale">
          {['60 min ago', '45', '30', '15', 'now'].map((text, at) => (
            <span key={text} style={{ left: `${at * 25}%` }}>
              {text}
            </span>
          ))}
        </span>
      </div>
    </div>
  );
}

function LaneRow({ lane, from, to }: { lane: Lane; from: number; to: number }) {
  const box = useRef<HTMLDivElement>(null);
  const width = useWidth(box);
  const name = lane.workflowId === null ? 'not seen yet' : workflowText(lane.workflowId);
  const failed = lane.counts.get('bad') ?? 0;
  const height = Math.max(2, Math.min(lane.rows, ROWS_MOST)) * (ROW_PX + 2) + 6;
  const x = (at: number) => ((Math.max(from, at) - from) / (to - from)) * width;
  return (
    <div class="lane-row">
      <a class="lane-name" href={href('/runs', { workflow: lane.workflowId, since: '1h' })}>
        <span class="cut" title={lane.workflowId ?? undefined}>
          {name}
        </span>
        <span class="faint num">
          {plural(lane.total, 'run')}
          {failed > 0 && (
            <>
              {', '}
              <span class="tone-bad">{failed} failed</span>
            </>
          )}
        </span>
      </a>
      <div class="lane-chart" ref={box}>
        <svg width={width} height={height} role="group" aria-label={`Runs of ${name}`}>
          {[0.25, 0.5, 0.75].map((share) => (
            <line
              key={share}
              class="quarter"
              x1={share * width}
              x2={share * width}
              y1={0}
              y2={height}
            />
          ))}
          {lane.bars.map((bar) => (
            <RunBar key={bar.key} bar={bar} x={x} width={width} />
          ))}
        </svg>
      </div>
    </div>
  );
}

function RunBar({ bar, x, width }: { bar: Bar; x: (at: number) => number; width: number }) {
  const { watch, row, from, to, state } = bar;
  const tone: Tone = toneOf(state);
  const left = Math.min(x(from), width - 3);
  const wide = Math.max(3, x(to) - left);
  const top = row * (ROW_PX + 2) + 3;
  const label = `${shortId(watch.run_id)}, ${state.replaceAll('_', ' ')}, ${lengthText(to - from)}`;
  const needsMark = tone === 'bad' || tone === 'warn';
  return (
    <a href={href(runPath(watch))} class={`bar tone-${tone}`} aria-label={label}>
      <title>{label}</title>
      <rect x={left} y={top} width={wide} height={ROW_PX} rx={2} />
      {needsMark && wide >= 3 && (
        <path
          d={glyphPath(tone)}
          class="bar-mark"
          transform={`translate(${Math.min(width - 11, Math.max(0, left + wide - 6))} ${top - 1}) scale(.9)`}
        />
      )}
    </a>
  );
}

/** Rows of bars for one workflow at most; what finds no room shares the last one. */
const ROWS_MOST = 8;

/** One run as a bar. Times are milliseconds since the epoch. */
interface Bar {
  key: string;
  watch: Watch;
  state: string;
  from: number;
  to: number;
  row: number;
}

/** The runs of one workflow in a span of time. */
interface Lane {
  key: string;
  workflowId: string | null;
  bars: readonly Bar[];
  rows: number;
  total: number;
  counts: ReadonlyMap<Tone, number>;
}

/** Those with a run, in the order of the workflows' ids, so that none moves as runs come. */
function lanesOf(runs: readonly Watch[], span: { from: number; to: number }): Lane[] {
  return [...groupBy(runs, ({ run }) => run?.workflow_id ?? '')]
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

function barOf(watch: Watch, until: number): Bar {
  const { run, state, registered_at: registered, changed_at: changed } = watch;
  const from = (run === null ? null : workBegan(run)) ?? Date.parse(registered);
  const end = run?.finished_at ?? (state === 'active' ? null : (changed ?? registered));
  const to = end === null ? until : Date.parse(end);
  return {
    key: `${watch.source}/${watch.run_id}`,
    watch,
    state: stateOf(watch),
    from,
    to: Math.max(from, to),
    row: 0,
  };
}
