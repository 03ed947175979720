import { useMemo } from 'preact/hooks';
import type { Timeline, Watch } from '../api/types.ts';
import { address, setQuery } from '../app/router.ts';
import { Section } from '../parts/basics.tsx';
import { lengthText, plural } from '../parts/format.ts';
import { now } from '../parts/hooks.ts';
import { Chart, MOST_RECEIVERS } from './run-chart.tsx';
import { delaysOf } from './run-delay.ts';
import { Delays } from './run-delays.tsx';
import { isStep, PollTables, StateTables } from './run-tables.tsx';
import { wholeSpan, zoomed, type Span } from './run-axis.ts';

/** A run, and all that is known of its course. */
export interface RunStory {
  watch: Watch;
  timeline: Timeline;
}

/** The course of a run on one time axis, its states and events, how late these were delivered, and its polls. */
export function RunTimeline({ story, reload }: { story: RunStory; reload: () => void }) {
  const { watch, timeline } = story;
  const { query } = address.value;
  const chosen = query.get('event');
  const isActive = watch.state === 'active';
  // What has ended does not move.
  const at = isActive ? now.value : 0;
  const whole = useMemo(() => wholeSpan(watch, timeline, at), [story, at]);
  const span = spanOf(query) ?? whole;
  const receivers = new Set(timeline.deliveries.map(({ endpoint }) => endpoint)).size;
  const steps = timeline.events.filter(isStep);
  const isStepChosen = steps.some(({ id }) => id === chosen);
  const hasSteps = query.has('progress') || isStepChosen;
  const delays = useMemo(
    () => delaysOf(timeline).filter(({ event }) => hasSteps || !isStep(event)),
    [timeline, hasSteps],
  );
  const progress = steps.length > 0 && !isStepChosen && (
    <Steps count={steps.length} areShown={hasSteps} />
  );
  const choose = (eventId: string) => setQuery({ event: eventId === chosen ? null : eventId });
  return (
    <>
      <Section title="Time axis" aside={<Zoom span={span} whole={whole} />}>
        <Chart
          timeline={timeline}
          span={span}
          now={isActive ? at : whole.to}
          chosen={chosen}
          onChoose={choose}
          onSpan={showSpan}
        />
        {timeline.truncated && (
          <p class="faint after">
            There are more events or deliveries than are drawn: these are the newest.
          </p>
        )}
        {receivers > MOST_RECEIVERS && (
          <p class="faint after">
            {MOST_RECEIVERS} of {plural(receivers, 'endpoint')} are drawn, those that were not
            notified first; all are listed below.
          </p>
        )}
        <Legend />
      </Section>
      <StateTables timeline={timeline} hasSteps={hasSteps} progress={progress} />
      <Delays delays={delays} chosen={chosen} onChoose={choose} reload={reload} />
      <PollTables timeline={timeline} />
    </>
  );
}

/** Steps of progress are many, and rarely what a user wants to know. */
function Steps({ count, areShown }: { count: number; areShown: boolean }) {
  return (
    <p class="faint after">
      {plural(count, 'step')} of progress {count === 1 ? 'is' : 'are'}{' '}
      {areShown ? 'shown' : 'left out'} here and below.{' '}
      <button
        type="button"
        class="small"
        aria-pressed={areShown}
        onClick={() => setQuery({ progress: areShown ? null : 'shown' })}
      >
        Show progress
      </button>
    </p>
  );
}

function spanOf(query: URLSearchParams): Span | null {
  const [from, to] = [Date.parse(query.get('from') ?? ''), Date.parse(query.get('to') ?? '')];
  return to > from ? { from, to } : null;
}

function showSpan(span: Span | null): void {
  const iso = (ms: number) => new Date(Math.round(ms)).toISOString();
  setQuery(span === null ? { from: null, to: null } : { from: iso(span.from), to: iso(span.to) });
}

const LEAST_MS = 20;

function Zoom({ span, whole }: { span: Span; whole: Span }) {
  const length = span.to - span.from;
  const isWhole = span.from === whole.from && span.to === whole.to;
  const pan = (share: number) =>
    showSpan({ from: span.from + length * share, to: span.to + length * share });
  return (
    <div class="zoom" role="group" aria-label="Range of the time axis">
      <span class="faint num">{lengthText(length)}</span>
      <button type="button" class="small" onClick={() => pan(-0.4)} aria-label="Earlier">
        ←
      </button>
      <button
        type="button"
        class="small"
        aria-label="Zoom in"
        disabled={length <= LEAST_MS}
        onClick={() => showSpan(zoomed(span, 2))}
      >
        +
      </button>
      <button
        type="button"
        class="small"
        aria-label="Zoom out"
        disabled={isWhole}
        onClick={() => showSpan(zoomed(span, 0.5))}
      >
        −
      </button>
      <button type="button" class="small" onClick={() => pan(0.4)} aria-label="Later">
        →
      </button>
      <button type="button" class="small" disabled={isWhole} onClick={() => showSpan(null)}>
        All
      </button>
    </div>
  );
}

function Legend() {
  return (
    <ul class="legend" aria-label="Marks">
      <li>
        <svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true" class="polls">
          <rect x="4" y="0" width="3" height="12" class="plain" />
        </svg>
        poll of the run
      </li>
      <li>
        <svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">
          <path d="M6 1l4 5-4 5-4-5Z" class="hollow" />
        </svg>
        poll after a hint of a list
      </li>
      <li>
        <svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">
          <circle cx="6" cy="6" r="4" class="hollow" />
        </svg>
        poll after a hint of the event stream
      </li>
      <li>
        <svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">
          <path d="M3 3l6 6m0-6l-6 6" class="cross" />
        </svg>
        no answer about the run
      </li>
    </ul>
  );
}
