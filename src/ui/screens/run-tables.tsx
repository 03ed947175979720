import type { ComponentChildren } from 'preact';
import type { Timeline, TimelineDelivery } from '../api/types.ts';
import { href } from '../app/router.ts';
import { eventText, lengthText, statusText } from '../parts/format.ts';
import { Glyph, Status, toneOfEvent } from '../parts/status.tsx';
import { Clock, Length } from '../parts/time.tsx';
import { segmentsOf } from './run-axis.ts';

/** All that the time axis shows, as tables. */
export function RunTables({ timeline }: { timeline: Timeline }) {
  const { states, polls, events, deliveries } = timeline;
  const hasProgress = states.some(({ progress }) => progress !== null);
  return (
    <>
      <Fold
        title="States"
        count={states.length}
        head={['Since', 'State', ...(hasProgress ? ['Progress'] : []), 'Lasted']}
      >
        {segmentsOf(states, Date.now()).map(({ from, to, status, progress }) => (
          <tr key={from}>
            <td>
              <Clock at={new Date(from).toISOString()} withMs />
            </td>
            <td>
              <Status state={status} />
            </td>
            {hasProgress && <td class="num right">{progress === null ? '–' : `${progress} %`}</td>}
            <td class="num right">{to > from ? lengthText(to - from) : '–'}</td>
          </tr>
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
      <Fold
        title="Events"
        count={events.length}
        head={['Happened', 'Event', 'Detected', 'Delay', 'Id']}
      >
        {events.map((event) => (
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
            <td class="mono id">{event.id}</td>
          </tr>
        ))}
      </Fold>
      <Fold
        title="Deliveries and attempts"
        count={deliveries.length}
        head={['At', 'Event', 'Endpoint', 'Result', 'Took']}
      >
        {deliveries.map((delivery) => (
          <DeliveryRows key={delivery.id} delivery={delivery} />
        ))}
      </Fold>
    </>
  );
}

function DeliveryRows({ delivery }: { delivery: TimelineDelivery }) {
  const { id, endpoint, event_type: type, state, created_at: created, attempts } = delivery;
  return (
    <>
      <tr>
        <td>
          <Clock at={created} withMs />
        </td>
        <td>{eventText(type)}</td>
        <td>
          <a href={href(`/deliveries/${encodeURIComponent(id)}`)}>{endpoint}</a>
        </td>
        <td>
          <Status state={state} />
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
  return (
    <details class="fold" open={count > 0 && count <= 12}>
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
