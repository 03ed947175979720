import type { TimelineEvent } from '../api/types.ts';
import { eventText, lengthText } from '../parts/format.ts';
import { glyphPath, toneOfEvent } from '../parts/status.tsx';
import type { Choosing, Scale, Span } from './run-axis.ts';

/** Events, named where there is room for it. */
export function Events({
  scale: { x, span, width },
  top,
  events,
  chosen,
  onChoose,
}: Choosing & { scale: Scale; top: number; events: readonly TimelineEvent[] }) {
  const shown = events.filter(({ data }) => isIn(span, data.detected_at));
  const named = shown.filter(({ type }) => type !== 'run.progress');
  return (
    <g>
      {shown.map(({ id, type, data }) =>
        type === 'run.progress' ? (
          <circle
            key={id}
            class="progress-dot"
            cx={x(Date.parse(data.detected_at))}
            cy={top + 17}
            r={2}
          >
            <title>progress, {data.run?.progress} %</title>
          </circle>
        ) : null,
      )}
      {placed(named, { x, width }).map(({ event, left, label }) => (
        <EventMark
          key={event.id}
          {...{ event, left, label, top, onChoose }}
          isChosen={event.id === chosen}
        />
      ))}
    </g>
  );
}

function isIn({ from, to }: Span, at: string): boolean {
  const ms = Date.parse(at);
  return ms >= from && ms <= to;
}

interface Placed {
  event: TimelineEvent;
  left: number;
  /** On which side of the mark its name has room. */
  label: 'after' | 'before' | 'none';
}

/** Gives names to the marks that have room for one. */
function placed(
  events: readonly TimelineEvent[],
  { x, width }: Pick<Scale, 'x' | 'width'>,
): Placed[] {
  let free = -Infinity;
  const lefts = events.map(({ data }) => x(Date.parse(data.detected_at)));
  return events.map((event, at) => {
    const left = lefts[at] ?? 0;
    const length = eventText(event.type).length * 6.6 + 18;
    const next = lefts[at + 1] ?? width + 8;
    const label =
      left + length <= next - 8 ? 'after' : left - length > free ? 'before' : ('none' as const);
    free = label === 'after' ? left + length : left + 8;
    return { event, left, label };
  });
}

function EventMark({
  event,
  left,
  label,
  top,
  isChosen,
  onChoose,
}: Placed & { top: number; isChosen: boolean; onChoose: (eventId: string) => void }) {
  const { id, type, data } = event;
  const tone = toneOfEvent(event);
  const text = eventText(type);
  const length = label === 'none' ? 16 : text.length * 6.6 + 18;
  return (
    <g class={`event tone-${tone} ${isChosen ? 'chosen' : ''}`} onClick={() => onChoose(id)}>
      <title>
        {type}
        {data.detection_delay_ms === null
          ? ''
          : `, detected after ${lengthText(data.detection_delay_ms)}`}
      </title>
      <rect
        class="hit"
        x={label === 'before' ? left + 8 - length : left - 8}
        y={top + 4}
        width={length}
        height={26}
        rx={3}
      />
      <path d={glyphPath(tone)} transform={`translate(${left - 6} ${top + 11})`} class="mark" />
      {label !== 'none' && (
        <text
          x={label === 'before' ? left - 10 : left + 10}
          y={top + 21}
          text-anchor={label === 'before' ? 'end' : 'start'}
        >
          {text}
        </text>
      )}
    </g>
  );
}
