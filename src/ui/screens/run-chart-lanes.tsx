import { deliveryText, isOutstanding } from '../../core/delivery/state.ts';
import type { Poll, TimelineDelivery, TimelineEvent, TimelineState } from '../api/types.ts';
import { eventText, lengthText, statusText } from '../parts/format.ts';
import { glyphPath, toneOf, toneOfEvent } from '../parts/status.tsx';
import { progressOf, segmentsOf, type Choosing, type Scale, type Span } from './run-axis.ts';

/** The states of a run, and its progress as a line. */
export function States({
  scale: { x, span },
  top,
  states,
  now,
}: {
  scale: Scale;
  top: number;
  states: readonly TimelineState[];
  now: number;
}) {
  const clip = (at: number) => x(Math.max(span.from, Math.min(span.to, at)));
  const points = progressOf(states)
    .filter(({ at }) => at >= span.from && at <= span.to)
    .map(({ at, progress }) => `${x(at)},${top + 40 - Math.min(100, progress) * 0.1}`);
  return (
    <g>
      {segmentsOf(states, now).map(({ from, to, status, progress }) => {
        const [left, right] = [clip(from), clip(to)];
        const wide = Math.max(right - left, 3);
        const text = statusText(status);
        const hasRoom = wide > text.length * 6.6 + 26;
        return to < span.from || from > span.to ? null : (
          <g key={from} class={`tone-${toneOf(status)}`}>
            <title>
              {text}
              {progress === null ? '' : `, ${progress} %`}, for {lengthText(to - from)}
            </title>
            <rect class="segment" x={left} y={top + 7} width={wide} height={22} rx={3} />
            {hasRoom && (
              <>
                <path
                  d={glyphPath(toneOf(status))}
                  transform={`translate(${left + 6} ${top + 12})`}
                  class="mark"
                />
                <text x={left + 23} y={top + 22} class="segment-text">
                  {text}
                </text>
              </>
            )}
          </g>
        );
      })}
      {points.length > 1 && <polyline class="progress-line" points={points.join(' ')} />}
    </g>
  );
}

/** Polls, with how long after they were due, and how long they took. */
export function Polls({
  scale: { x, span },
  top,
  polls,
}: {
  scale: Scale;
  top: number;
  polls: readonly Poll[];
}) {
  const middle = top + 17;
  return (
    <g class="polls">
      {polls.map(({ at, kind, outcome, duration_ms: took, lag_ms: lag }, index) => {
        const start = Date.parse(at);
        if (start < span.from || start > span.to) return null;
        const left = x(start);
        const wide = Math.max(2, x(start + took) - left);
        const late = left - x(start - lag);
        const name = outcome === 'run' ? 'poll' : 'poll bad';
        return (
          <g key={`${at} ${index}`} class={name}>
            <title>
              {kind} poll, {statusText(outcome)}
              {`, took ${lengthText(took)}`}
              {`, ${lengthText(lag)} after it was due`}
            </title>
            {late > 1 && (
              <rect class="lag" x={left - late} y={middle - 2} width={late} height={4} />
            )}
            {kind === 'single' && <rect x={left} y={middle - 7} width={wide} height={14} rx={1} />}
            {kind === 'list' && <path d={`M${left} ${middle - 6}l5 6-5 6-5-6Z`} class="hollow" />}
            {kind === 'stream' && <circle cx={left} cy={middle} r={4} class="hollow" />}
            {outcome !== 'run' && (
              <path d={`M${left - 3} ${middle - 12}l6 6m0-6l-6 6`} class="cross" />
            )}
          </g>
        );
      })}
    </g>
  );
}

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
      {placed(named, { x, width, span }).map(({ event, left, label }) => (
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
function placed(events: readonly TimelineEvent[], { x, width, span }: Scale): Placed[] {
  let free = x(span.from);
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

/** Deliveries to one receiver: from their creation to their last attempt. */
export function Deliveries({
  scale: { x, span },
  top,
  deliveries,
  chosen,
  onChoose,
  now,
}: Choosing & { scale: Scale; top: number; deliveries: readonly TimelineDelivery[]; now: number }) {
  const middle = top + 15;
  const clip = (at: number) => x(Math.max(span.from, Math.min(span.to, at)));
  return (
    <g>
      {deliveries.map((delivery) => {
        const {
          id,
          created_at: created,
          delivered_at: delivered,
          attempts,
          state,
          event_id: event,
        } = delivery;
        const left = clip(Date.parse(created));
        const isOver = !isOutstanding(state);
        const end = delivered ?? attempts.at(-1)?.at ?? created;
        const right = clip(isOver ? Date.parse(end) : now);
        return (
          <g
            key={id}
            class={`delivery tone-${toneOf(state)} ${event === chosen ? 'chosen' : ''}`}
            onClick={() => onChoose(event)}
          >
            <title>
              {eventText(delivery.event_type)} to {delivery.endpoint}: {deliveryText(state)},{' '}
              {attempts.length} attempts
            </title>
            <rect
              class="wait"
              x={left}
              y={middle - 3}
              width={Math.max(2, right - left)}
              height={6}
              rx={3}
            />
            {attempts.map(({ at, error, duration_ms: took }) => {
              const start = Date.parse(at);
              if (start < span.from || start > span.to) return null;
              const mark = error === null ? 'ok' : 'bad';
              return (
                <g key={at} class={`tone-${mark}`}>
                  <rect
                    class="attempt"
                    x={x(start)}
                    y={middle - 3}
                    width={Math.max(1, x(start + took) - x(start))}
                    height={6}
                  />
                  <path
                    d={glyphPath(mark)}
                    transform={`translate(${x(start) - 6} ${middle - 6})`}
                    class="mark"
                  />
                </g>
              );
            })}
          </g>
        );
      })}
    </g>
  );
}
