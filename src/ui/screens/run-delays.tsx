import { api } from '../api/calls.ts';
import { may, sendingButton } from '../api/session.ts';
import { groupBy } from '../../core/arrays.ts';
import { deliveryPath, href, setQuery } from '../app/router.ts';
import { ActButton } from '../parts/act-button.tsx';
import { Section } from '../parts/basics.tsx';
import { eventText, lengthText, plural } from '../parts/format.ts';
import { DeliveryStatus, Glyph, toneOfEvent } from '../parts/status.tsx';
import { Clock } from '../parts/time.tsx';
import { act } from '../parts/toast.tsx';
import { latenessText, type Delay, type Delivered, type Stretch } from './run-delay.ts';

interface DelaysProps {
  delays: readonly Delay[];
  chosen: string | null;
  onChoose: (eventId: string) => void;
  reload: () => void;
}

const CLASSES: Readonly<Record<Stretch['name'], string>> = {
  'waiting for the poll': 'stretch-wait',
  'the poll': 'stretch-poll',
  'the relay': 'stretch-relay',
  retries: 'stretch-retries',
  'the receiver': 'stretch-receiver',
};

/** Endpoints that open by themselves where an event is selected. */
const MOST_OPEN = 3;

/** How late the events arrived, and where the time went: a line for each endpoint, which opens to its events. */
export function Delays({ delays, chosen, onChoose, reload }: DelaysProps) {
  const sent = delays.filter((one): one is Delivered => one.delivery !== null);
  const most = Math.max(1, ...sent.map(lengthOf));
  const groups = [...groupBy(sent, ({ delivery }) => delivery.endpoint)];
  const ofChosen = groups.filter(([, its]) => its.some(({ event }) => event.id === chosen));
  const opened = new Set(ofChosen.slice(0, MOST_OPEN).map(([endpoint]) => endpoint));
  const unsent = delays.filter(({ delivery }) => delivery === null);
  return (
    <Section title="How late each endpoint was notified" aside={<DelayLegend />}>
      {delays.length === 0 && (
        <p class="faint">No event yet: nothing about this run has changed.</p>
      )}
      {groups.map(([endpoint, its]) => (
        <details key={endpoint} class="fold" open={opened.has(endpoint)}>
          <summary>
            {endpoint} <span class="faint delay-sum">{latenessText(its)}</span>
          </summary>
          <ol class="delays">
            {its.map((delay) => (
              <DelayRow
                key={delay.delivery.id}
                delay={delay}
                most={most}
                isChosen={delay.event.id === chosen}
                onChoose={onChoose}
                reload={reload}
              />
            ))}
          </ol>
        </details>
      ))}
      {unsent.length > 0 && (
        <p class="faint after">
          {plural(unsent.length, 'event')} {unsent.length === 1 ? 'has' : 'have'} no receiver: no
          endpoint subscribes to {unsent.length === 1 ? 'its type' : 'their types'}.
        </p>
      )}
    </Section>
  );
}

function DelayRow({
  delay,
  most,
  isChosen,
  onChoose,
  reload,
}: Pick<DelaysProps, 'onChoose' | 'reload'> & {
  delay: Delivered;
  most: number;
  isChosen: boolean;
}) {
  const { event, delivery, totalMs } = delay;
  return (
    <li class={isChosen ? 'chosen' : ''}>
      <div class="delay-head">
        <button
          type="button"
          class="quiet delay-name"
          aria-pressed={isChosen}
          onClick={() => onChoose(event.id)}
        >
          <Glyph tone={toneOfEvent(event)} />
          {eventText(event.type)}
        </button>
        <span class="faint">
          <Clock at={event.timestamp} withMs />
        </span>
        <a href={href(deliveryPath(delivery.id))}>
          <DeliveryStatus state={delivery.state} />
        </a>
        <span class="num delay-total">{totalMs === null ? '' : lengthText(totalMs)}</span>
      </div>
      <Bar delay={delay} most={most} />
      {isChosen && <Chosen delay={delay} reload={reload} />}
    </li>
  );
}

function lengthOf({ stretches }: Delay): number {
  return stretches.reduce((sum, { ms }) => sum + ms, 0);
}

/** Square roots, so that a relay of milliseconds is seen beside a poll of seconds. */
function Bar({ delay, most }: { delay: Delay; most: number }) {
  const { stretches } = delay;
  if (stretches.length === 0) return null;
  const total = lengthOf(delay);
  const roots = stretches.map(({ ms }) => Math.sqrt(ms));
  const sum = roots.reduce((all, one) => all + one, 0) || 1;
  return (
    <div class="delay-bar" style={{ width: `${Math.max(4, Math.sqrt(total / most) * 100)}%` }}>
      {stretches.map(({ name, ms }, at) => (
        <span
          key={name}
          class={CLASSES[name]}
          style={{ width: `${((roots[at] ?? 0) / sum) * 100}%` }}
          title={`${name}: ${lengthText(ms)}`}
        />
      ))}
    </div>
  );
}

function DelayLegend() {
  return (
    <ul class="legend">
      {Object.entries(CLASSES).map(([name, className]) => (
        <li key={name}>
          <span class={`swatch ${className}`} aria-hidden="true" />
          {name}
        </li>
      ))}
    </ul>
  );
}

function Chosen({ delay, reload }: { delay: Delivered; reload: () => void }) {
  const { event, delivery, stretches } = delay;
  const until = delivery.delivered_at ?? delivery.attempts.at(-1)?.at ?? event.data.detected_at;
  const room = Math.max(50, (Date.parse(until) - Date.parse(event.timestamp)) * 0.3);
  const iso = (ms: number) => new Date(ms).toISOString();
  const show = () =>
    setQuery({
      from: iso(Date.parse(event.timestamp) - room),
      to: iso(Date.parse(until) + room),
    });
  return (
    <div class="delay-detail">
      <p>{sentenceOf(delay)}</p>
      <dl class="pairs tight">
        {stretches.map(({ name, ms }) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd class="num">{lengthText(ms)}</dd>
          </div>
        ))}
        <div>
          <dt>event</dt>
          <dd class="mono id">{event.id}</dd>
        </div>
      </dl>
      <div class="actions">
        <button type="button" class="small" onClick={show}>
          Show on the axis
        </button>
        {may.write.value && (
          <ActButton
            class="small"
            {...sendingButton()}
            onAct={() =>
              act(`Sent again to ${delivery.endpoint}.`, () => api.redeliver(delivery.id)).then(
                reload,
              )
            }
          >
            Redeliver
          </ActButton>
        )}
      </div>
    </div>
  );
}

/** Why an endpoint was notified, when, and how late, as a sentence. */
function sentenceOf({ event, delivery, totalMs }: Delivered): string {
  const { previous, run } = event.data;
  const change =
    previous !== null && run !== null && previous.status !== run.status
      ? `The run went from ${previous.status.replaceAll('_', ' ')} to ${run.status.replaceAll('_', ' ')}.`
      : `The event is ${event.type}.`;
  if (totalMs === null) {
    const { error } = delivery.last ?? { error: null };
    return `${change} ${delivery.endpoint} has not been notified${error === null ? '' : `: ${error.message}`}.`;
  }
  return `${change} ${delivery.endpoint} was notified ${lengthText(totalMs)} later.`;
}
