import { useRef } from 'preact/hooks';
import { groupBy } from '../../core/arrays.ts';
import type { Timeline, TimelineDelivery } from '../api/types.ts';
import { useBrush, type Stretch } from '../parts/brush.ts';
import { clockText, middleCut } from '../parts/format.ts';
import { settings } from '../parts/settings.ts';
import { useWidth } from '../parts/hooks.ts';
import { ticksOf, type Choosing, type Scale, type Span } from './run-axis.ts';
import { Deliveries, Events, Polls, States } from './run-chart-lanes.tsx';

const LABEL_PX = 104;
const LANE_PX = { states: 46, polls: 34, events: 34, delivery: 30, axis: 24 };

interface ChartProps extends Choosing {
  timeline: Timeline;
  span: Span;
  now: number;
  /** Shows a part of it, which was dragged over. */
  onSpan: (span: Span) => void;
}

/** A run on one time axis: its states, our polls, the events, and what was sent of them. */
export function Chart(props: ChartProps) {
  const { timeline, span, now, chosen, onChoose, onSpan } = props;
  const box = useRef<HTMLDivElement>(null);
  const width = useWidth(box);
  const label = width < 560 ? 0 : LABEL_PX;
  const inner = Math.max(120, width - label - 12);
  const x = (at: number) => label + ((at - span.from) / (span.to - span.from)) * inner;
  const scale: Scale = { span, x, width };
  const boundsOf = () => {
    const left = (box.current?.querySelector('svg')?.getBoundingClientRect().left ?? 0) + label;
    return { left, right: left + inner };
  };
  const timeAt = (px: number) => span.from + (px / inner) * (span.to - span.from);
  const brush = useBrush(boundsOf, ({ left, right }) =>
    onSpan({ from: timeAt(left), to: timeAt(right) }),
  );
  const receivers = byReceiver(timeline.deliveries);
  const rowGap = label === 0 ? 15 : 0;
  const tops = topsOf(receivers.length, rowGap);
  return (
    <div class="chart" ref={box} {...brush.handlers}>
      <svg
        width={width}
        height={tops.end}
        role="img"
        aria-label="The run on a time axis; the tables below say the same"
      >
        <Grid scale={scale} top={0} bottom={tops.end} />
        <Lane name="State" top={tops.states - rowGap} width={width} isFirst />
        <States scale={scale} top={tops.states} states={timeline.states} now={now} />
        <Lane name="Polls" top={tops.polls - rowGap} width={width} />
        <Polls scale={scale} top={tops.polls} polls={timeline.polls} />
        <Lane name="Events" top={tops.events - rowGap} width={width} />
        <Events {...{ scale, chosen, onChoose }} top={tops.events} events={timeline.events} />
        {receivers.map(([endpoint, deliveries], at) => (
          <g key={endpoint}>
            <Lane
              name={endpoint}
              top={(tops.receivers[at] ?? 0) - rowGap}
              width={width}
              isReceiver
            />
            <Deliveries
              {...{ scale, chosen, onChoose, deliveries, now }}
              top={tops.receivers[at] ?? 0}
            />
          </g>
        ))}
        <Brushed stretch={brush.stretch} left={label} height={tops.end} />
      </svg>
    </div>
  );
}

interface BrushedProps {
  stretch: Stretch | null;
  left: number;
  height: number;
}

function Brushed({ stretch, left, height }: BrushedProps) {
  if (stretch === null) return null;
  const width = stretch.right - stretch.left;
  return <rect class="brushed" x={left + stretch.left} y={0} width={width} height={height} />;
}

function topsOf(receivers: number, gap: number) {
  const states = LANE_PX.axis + gap;
  const polls = states + LANE_PX.states + gap;
  const events = polls + LANE_PX.polls + gap;
  const first = events + LANE_PX.events + gap;
  const step = LANE_PX.delivery + gap;
  return {
    states,
    polls,
    events,
    receivers: Array.from({ length: receivers }, (_, at) => first + at * step),
    end: first + receivers * step - gap + 4,
  };
}

/** Receivers that the axis has a lane for. */
export const MOST_RECEIVERS = 8;

/** The deliveries of each receiver. Of many receivers, those that lack one are drawn first. */
function byReceiver(deliveries: readonly TimelineDelivery[]): [string, TimelineDelivery[]][] {
  const groups = [...groupBy(deliveries, ({ endpoint }) => endpoint)];
  if (groups.length <= MOST_RECEIVERS) return groups;
  const lacksOne = ([, its]: (typeof groups)[number]) =>
    its.some(({ state }) => state !== 'delivered');
  const lacking = groups.filter(lacksOne);
  return [...lacking, ...groups.filter((one) => !lacksOne(one))].slice(0, MOST_RECEIVERS);
}

function Grid({
  scale: { span, x, width },
  top,
  bottom,
}: {
  scale: Scale;
  top: number;
  bottom: number;
}) {
  const { isUtc } = settings.value;
  const offsetMs = isUtc ? 0 : -new Date(span.from).getTimezoneOffset() * 60_000;
  const ticks = ticksOf(span, Math.max(2, Math.floor(width / 110)), offsetMs);
  return (
    <g class="grid">
      {ticks.map(({ at, stepMs }) => (
        <g key={at}>
          <line x1={x(at)} x2={x(at)} y1={top + 18} y2={bottom} />
          <text
            x={x(at)}
            y={top + 12}
            text-anchor={x(at) > width - 40 ? 'end' : x(at) < 30 ? 'start' : 'middle'}
          >
            {clockText(at, { isUtc, withMs: stepMs < 1_000 })}
          </text>
        </g>
      ))}
    </g>
  );
}

function Lane({
  name,
  top,
  width,
  isFirst = false,
  isReceiver = false,
}: {
  name: string;
  top: number;
  width: number;
  isFirst?: boolean;
  isReceiver?: boolean;
}) {
  return (
    <g class="lane">
      <line x1={0} x2={width} y1={top} y2={top} class={isFirst ? 'strong' : ''} />
      <text x={0} y={width < 560 ? top + 11 : top + 20} class={isReceiver ? 'receiver' : ''}>
        <title>{name}</title>
        {isReceiver ? `→ ${middleCut(name, 13)}` : name}
      </text>
    </g>
  );
}
