import type { ComponentChildren } from 'preact';
import { useRef } from 'preact/hooks';
import type { Timeline, TimelineDelivery } from '../api/types.ts';
import { deliveryPath, href } from '../app/router.ts';
import { eventText, lengthText, statusText } from '../parts/format.ts';
import { DeliveryStatus, Glyph, Status, toneOfEvent } from '../parts/status.tsx';
import { Clock, Length } from '../parts/time.tsx';
import { segmentsOf } from './run-axis.ts';

/** Whether an event is one of many that lead to the next state. */
export const isStep = ({ type }: { type: string }) => type === 'run.progress';

/** The states and events of a run. */
export function StateTables({
  timeline: { states, events },
  hasSteps,
  progress,
}: {
  timeline: Timeline;
  hasSteps: boolean;
  progress: ComponentChildren;
}) {
  const hasProgress = states.some(({ progress: share }) => share !== null);
  const segments = segmentsOf(states, Date.now());
  const shown = hasSteps ? events : events.filter((event) => !isStep(event));
  return (
    <>
      <Fold
        title="States"
        count={segments.length}
        head={['Since', 'State', ...(hasProgress ? ['Progress'] : []), 'Lasted']}
      >
        {segments.map(({ from, to, status, progress: share }) => (
          <tr key={from}>
            <td>
              <Clock at={new Date(from).toISOString()} withMs />
            </td>
            <td>
              <Status state={status} />
            </td>
            {hasProgress && <td class="num right">{share === null ? '–' : `${share} %`}</td>}
            <td class="num right">{to > from ? lengthText(to - from) : '–'}</td>
          </tr>
        ))}
      </Fold>
      <Fold
        title="Events"
        count={shown.length}
        head={['Happened', 'Event', 'Detected', 'Delay', 'Id']}
      >
        {shown.map((event) => (
          <tr key={event.id}>
            <td>
              <Clock at={event.timestamp} withMs />
            </td>
            <td>
              <span class={`status tone-${toneOfEvent(event)}`}>
                <Glyph tone={toneOfEvent(event)} />
                <span>{eventText(event.type)}</span>
              </span>
            </td>
            <td>
              <Clock at={event.data.detected_at} withMs />
            </td>
            <td class="right">
              <Length ms={event.data.detection_delay_ms} />
            </td>
            <td class="mono id whole">{event.id}</td>
          </tr>
        ))}
      </Fold>
      {progress}
    </>
  );
}

/** The deliveries of a run with their attempts, and its polls. */
export function PollTables({ timeline: { polls, deliveries } }: { timeline: Timeline }) {
  return (
    <>
      <Fold
        title="Deliveries and attempts"
        count={deliveries.length}
        head={['At', 'Event', 'Endpoint', 'Result', 'Took']}
      >
        {deliveries.map((delivery) => (
          <DeliveryRows key={delivery.id} delivery={delivery} />
        ))}
      </Fold>
      <Fold
        title="Polls"
        count={polls.length}
        head={['At', 'Kind', 'Outcome', 'Took', 'After it was due']}
      >
        {polls.map(({ at, kind, outcome, duration_ms: took, lag_ms: lag }, index) => (
          <tr key={`${at} ${index}`}>
            <td>
              <Clock at={at} withMs />
            </td>
            <td>{kind}</td>
            <td>{statusText(outcome)}</td>
            <td class="right">
              <Length ms={took} />
            </td>
            <td class="right">
              <Length ms={lag} />
            </td>
          </tr>
        ))}
      </Fold>
    </>
  );
}

function DeliveryRows({ delivery }: { delivery: TimelineDelivery }) {
  const { id, endpoint, event_type: type, created_at: created, attempts } = delivery;
  return (
    <>
      <tr>
        <td>
          <Clock at={created} withMs />
        </td>
        <td>{eventText(type)}</td>
        <td>
          <a href={href(deliveryPath(id))}>{endpoint}</a>
        </td>
        <td>
          <DeliveryStatus state={delivery.state} />
        </td>
        <td />
      </tr>
      {attempts.map(({ at, status, error, duration_ms: took }, index) => (
        <tr key={at} class="sub">
          <td>
            <Clock at={at} withMs />
          </td>
          <td>attempt {index + 1}</td>
          <td />
          <td>{error === null ? `answered ${status ?? 'ok'}` : error.message}</td>
          <td class="right">
            <Length ms={took} />
          </td>
        </tr>
      ))}
    </>
  );
}

/** Rows of a table that is open at first. */
const MOST_UNFOLDED = 12;

function Fold({
  title,
  count,
  head,
  children,
}: {
  title: string;
  count: number;
  head: readonly string[];
  children: ComponentChildren;
}) {
  const wasOpened = useRef(false);
  wasOpened.current ||= count > 0 && count <= MOST_UNFOLDED;
  return (
    <details class="fold" open={wasOpened.current}>
      <summary>
        {title} <span class="num faint">{count}</span>
      </summary>
      <div class="scroll-x" tabIndex={0} role="group" aria-label={title}>
        <table class="plain">
          <thead>
            <tr>
              {head.map((name) => (
                <th
                  key={name}
                  scope="col"
                  class={/^(Progress|Lasted|Took|After|Delay)/.test(name) ? 'right' : ''}
                >
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>{children}</tbody>
        </table>
      </div>
    </details>
  );
}
