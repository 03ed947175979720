import { useState } from 'preact/hooks';
import { isOutstanding } from '../../core/delivery/state.ts';
import { api } from '../api/calls.ts';
import { may, sendingButton } from '../api/session.ts';
import type { DeliveryDetail } from '../api/types.ts';
import { alertPath, batchPath, href, runPath } from '../app/router.ts';
import { ActButton } from '../parts/act-button.tsx';
import { Copy, Dialog, Header, Loading, Section, Trouble } from '../parts/basics.tsx';
import { Fact, Facts } from '../parts/basics.tsx';
import { plural } from '../parts/format.ts';
import { DeliveryStatus } from '../parts/status.tsx';
import { Ago, Clock, Length } from '../parts/time.tsx';
import { act } from '../parts/toast.tsx';
import { now, useLoaded } from '../parts/hooks.ts';
import { Attempts } from './delivery-attempts.tsx';

/** One event to one receiver, with every attempt. */
export function Delivery({ values }: { values: Record<string, string> }) {
  const id = values['id'] ?? '';
  const { value, error, reload } = useLoaded(id, (signal) => api.delivery(id, signal), {
    everyMs: 3_000,
  });
  if (value === null) {
    return error === null ? (
      <Loading />
    ) : (
      <Trouble error={error} what="the delivery" retry={reload} />
    );
  }
  return (
    <>
      <Header
        title={
          <>
            <span class="title-sub">{value.endpoint}</span>
            <span class="mono id">{value.event_type}</span>
          </>
        }
      >
        {may.write.value && <Actions delivery={value} reload={reload} />}
        <Copy text={value.id} label="Copy id" />
      </Header>
      <Trouble error={error} what="the newest state" retry={reload} />
      <DeliveryFacts delivery={value} />
      <StateNotice delivery={value} />
      <Attempts delivery={value} />
      <SentEvent delivery={value} />
    </>
  );
}

/** The event of a delivery, as webhooks get it. */
function SentEvent({ delivery }: { delivery: DeliveryDetail }) {
  const { event_id: id, event_type: type, run_id: run } = delivery;
  const { value, error } = useLoaded(`event ${id}`, async (signal) => {
    const { data } = await api.events({ run_id: run, type, order: 'newest', limit: 200 }, signal);
    return { event: data.find((event) => event.id === id) };
  });
  if (value?.event === undefined && error === null) return null;
  const text = JSON.stringify(value?.event, null, 2);
  return (
    <Section title="Event" aside={value !== null && <Copy text={text} label="Copy" />}>
      <Trouble error={error} what="the event" />
      {value !== null && (
        <pre class="snippet" tabIndex={0} aria-label="The event as JSON">
          {text}
        </pre>
      )}
    </Section>
  );
}

/** When it is tried next, or why it is not; nothing of one that was delivered. */
function StateNotice({ delivery }: { delivery: DeliveryDetail }) {
  const { state, endpoint: name, attempt_count: attempts } = delivery;
  const ended = attempts === 0 ? 'Never tried' : 'Tried no more';
  switch (state) {
    case 'pending':
    case 'parked':
      return <Waits delivery={delivery} />;
    case 'dead':
      return (
        <p class="notice warn">
          Given up after {plural(attempts, 'attempt')}. Redeliver it where it still matters.
        </p>
      );
    case 'skipped':
      return (
        <p class="notice">
          {ended}: {name} was disabled, or is not configured any more. Redeliver it where it still
          matters.
        </p>
      );
    case 'superseded':
      return (
        <p class="notice">
          {ended}: the run had moved on before {name} took deliveries again.
        </p>
      );
    case 'delivered':
      return null;
  }
}

/** Whether an endpoint takes nothing now, so that what is sent to it waits, pending or parked. */
const HOLDS: ReadonlySet<string> = new Set(['failing', 'paused', 'disabled']);

/** What a delivery waits for: its endpoint where that takes no deliveries, else the time of its next attempt. */
function Waits({ delivery }: { delivery: DeliveryDetail }) {
  const { state, endpoint: name, next_attempt_at: next } = delivery;
  const { value, error } = useLoaded('endpoints', (signal) => api.endpoints(signal), {
    everyMs: 5_000,
  });
  if (value === null && error === null) return null;
  const health = value?.data.find((endpoint) => endpoint.name === name)?.health;
  const isHeld = health !== undefined && HOLDS.has(health.state);
  const quietUntil = health?.throttled_until ?? null;
  const isQuiet = quietUntil !== null && Date.parse(quietUntil) > now.value;
  if (state === 'pending' && !isHeld && !isQuiet) return <NextAttempt at={next} />;
  return (
    <p class="notice warn">
      Waiting for <a href={href('/endpoints')}>{name}</a> to take deliveries again
      {isHeld && `: it is ${health.state}`}.
      {health !== undefined && health.next_probe_at !== null && (
        <>
          {' '}
          It is tried next <Ago at={health.next_probe_at} />.
        </>
      )}
      {isQuiet && (
        <>
          {' '}
          It asked for no requests until <Clock at={quietUntil} />.
        </>
      )}
    </p>
  );
}

function NextAttempt({ at }: { at: string | null }) {
  if (at === null) return null;
  return (
    <p class="notice">
      {Date.parse(at) > now.value ? (
        <>
          Next attempt <Ago at={at} />.
        </>
      ) : (
        'The next attempt is due.'
      )}
    </p>
  );
}

function DeliveryFacts({ delivery }: { delivery: DeliveryDetail }) {
  const { created_at: created, delivered_at: delivered, event_id: event, run_id: run } = delivery;
  const { alert_id: alert, alert_rule: rule, batch_id: batchId, batch } = delivery;
  return (
    <Facts>
      <Fact name="State">
        <DeliveryStatus state={delivery.state} endpoint={delivery.endpoint} />
      </Fact>
      <Fact name="Created">
        <Ago at={created} />
      </Fact>
      <Fact name="Delivered">
        {delivered === null ? (
          <span class="faint">not yet</span>
        ) : (
          <>
            <Length ms={Date.parse(delivered) - Date.parse(created)} /> later
          </>
        )}
      </Fact>
      <Fact name="Event" className="mono id">
        {event}
      </Fact>
      {run !== '' && (
        <Fact name="Run" className="mono id">
          <a href={href(runPath({ run_id: run }))}>{run}</a>
        </Fact>
      )}
      {alert !== null && (
        <Fact name="Alert">
          <a href={href(alertPath(alert))}>{rule ?? alert}</a>
        </Fact>
      )}
      {batchId !== null && (
        <Fact name="Batch">
          <a href={href(batchPath(batchId))}>{batch ?? batchId}</a>
        </Fact>
      )}
    </Facts>
  );
}

function Actions({ delivery, reload }: { delivery: DeliveryDetail; reload: () => void }) {
  const [isOpen, setOpen] = useState(false);
  const isWaiting = isOutstanding(delivery.state);
  return (
    <>
      <ActButton
        class="primary"
        {...sendingButton()}
        onAct={() =>
          act(isWaiting ? 'Due now.' : 'Goes out again.', () => api.redeliver(delivery.id)).then(
            reload,
          )
        }
      >
        {isWaiting ? 'Retry now' : 'Redeliver'}
      </ActButton>
      {may.admin.value && (
        <button type="button" {...sendingButton()} onClick={() => setOpen(true)}>
          Redeliver to …
        </button>
      )}
      {isOpen && <Elsewhere delivery={delivery} onClose={() => setOpen(false)} />}
    </>
  );
}

function Elsewhere({ delivery, onClose }: { delivery: DeliveryDetail; onClose: () => void }) {
  const { value } = useLoaded('endpoints', (signal) => api.endpoints(signal));
  const names = (value?.data ?? [])
    .filter(({ type }) => type !== 'unconfigured')
    .map(({ name }) => name);
  const [to, setTo] = useState('');
  const send = () => {
    onClose();
    void act(`Goes to ${to}.`, () => api.redeliver(delivery.id, to));
  };
  return (
    <Dialog title="Redeliver to another endpoint" onClose={onClose}>
      <h2>Redeliver to another endpoint</h2>
      <label>
        Endpoint
        <select value={to} onChange={({ currentTarget }) => setTo(currentTarget.value)}>
          <option value="">Choose one</option>
          {names.map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <div class="dialog-foot">
        <button type="button" onClick={onClose}>
          Cancel
        </button>
        <button type="button" class="primary" disabled={to === ''} onClick={send}>
          Send
        </button>
      </div>
    </Dialog>
  );
}
