import { api } from '../api/calls.ts';
import { may, sendingButton } from '../api/session.ts';
import type { DeliveryView } from '../../client/types.ts';
import type { Endpoint } from '../api/types.ts';
import { deliveryPath, href } from '../app/router.ts';
import { Empty, Header, Loading, Trouble } from '../parts/basics.tsx';
import { ActButton } from '../parts/act-button.tsx';
import { Brief } from '../parts/brief.tsx';
import { countText, lengthText, plural } from '../parts/format.ts';
import { Status } from '../parts/status.tsx';
import { Ago, Clock, Since } from '../parts/time.tsx';
import { act, say } from '../parts/toast.tsx';
import { isNarrow, useLoaded } from '../parts/hooks.ts';
import { LastHour } from './endpoint-hour.tsx';
import { askToRotate } from './new-secret.tsx';

/** The receivers, how they do, and what can be done about it. */
export function Endpoints() {
  const { value, error, reload } = useLoaded('endpoints', (signal) => api.endpoints(signal), {
    on: ({ type }) => type !== 'run.progress',
    everyMs: 5_000,
  });
  const endpoints = value?.data ?? [];
  return (
    <>
      <Header
        title="Endpoints"
        about={value === null ? undefined : plural(endpoints.length, 'receiver')}
      />
      <Trouble error={error} what="endpoints" retry={reload} />
      {value === null && error === null && <Loading />}
      {value !== null && endpoints.length === 0 && <NoEndpoints />}
      <div class="cards">
        {endpoints.map((endpoint) => (
          <Card key={endpoint.name} endpoint={endpoint} reload={reload} />
        ))}
      </div>
    </>
  );
}

function NoEndpoints() {
  return (
    <Empty title="No endpoint is configured.">
      <p>
        Events are written to the log. To have them sent, name an endpoint in the configuration:
      </p>
      <pre class="snippet" tabIndex={0}>
        {
          'endpoints:\n  ops:\n    type: webhook\n    url: https://example.com/hooks\n    secret: "${WEBHOOK_SECRET}"'
        }
      </pre>
    </Empty>
  );
}

function Card({ endpoint, reload }: { endpoint: Endpoint; reload: () => void }) {
  const { name, type, url, events, counts, health } = endpoint;
  const { value } = useLoaded(
    `hour ${name}`,
    (signal) => api.deliveries({ endpoint: name, limit: 200 }, signal),
    { on: (event) => event.type !== 'run.progress', everyMs: 15_000 },
  );
  const recent = value?.data ?? [];
  const failed = recent.find(({ last }) => last !== null && last.error !== null);
  const waiting = counts.pending + counts.parked;
  const body = (
    <>
      <p class="faint cut" title={url ?? ''}>
        {type === 'log' ? 'one JSON line for each event, on standard output' : addressOf(endpoint)}
      </p>
      {/* Above all that comes and goes: a button that moves while it is pressed is not clicked. */}
      {may.admin.value && type !== 'unconfigured' && (
        <Actions endpoint={endpoint} reload={reload} />
      )}
      <Health endpoint={endpoint} />
      <LastHour deliveries={recent} />
      <dl class="facts small">
        <div>
          <dt>Backlog</dt>
          <dd>
            <a class="num" href={href('/deliveries', { endpoint: name, state: 'pending,parked' })}>
              {countText(waiting)}
            </a>
            <Age at={endpoint.oldest_pending_at} />
          </dd>
        </div>
        {(['delivered', 'dead', 'skipped'] as const).map((state) => (
          <div key={state}>
            <dt>{state}</dt>
            <dd>
              <a class="num" href={href('/deliveries', { endpoint: name, state })}>
                {countText(counts[state])}
              </a>
            </dd>
          </div>
        ))}
      </dl>
      <p class="faint events" title={events.join(', ')}>
        {events.slice(0, FEW).join(', ')}
        {events.length > FEW && `, and ${events.length - FEW} more types`}
      </p>
      {failed !== undefined && <LastError delivery={failed} />}
    </>
  );
  const tags = (
    <>
      <span class="tag">{type}</span>
      {endpoint.default && <span class="tag">default</span>}
    </>
  );
  if (isNarrow.value) {
    return (
      <details class="card">
        <summary>
          <Brief name={name} title={name} aside={<Status state={health.state} />}>
            <span class="num">{countText(waiting)} waiting</span>
            <Age at={endpoint.oldest_pending_at} />
            <span class="spring" />
            {tags}
          </Brief>
        </summary>
        {body}
      </details>
    );
  }
  return (
    <section class="card" aria-label={name}>
      <div class="card-head">
        <h2 class="cut" title={name}>
          {name}
        </h2>
        <Status state={health.state} />
        <span class="spring" />
        {tags}
      </div>
      {body}
    </section>
  );
}

/** Types of events that a card names. */
const FEW = 3;

/** Where an endpoint is; a webhook of a watch has its masked address as its name. */
function addressOf({ name, url }: Endpoint): string {
  return url === name ? 'webhook that was given with a watch' : (url ?? '\u00a0');
}

/** Of the oldest delivery that waits. */
function Age({ at }: { at: string | null }) {
  if (at === null) return null;
  return (
    <span class="faint">
      {' '}
      oldest <Since at={at} />
    </span>
  );
}

function Health({ endpoint: { health } }: { endpoint: Endpoint }) {
  const {
    state,
    reason,
    failing_since: since,
    next_probe_at: probe,
    throttled_until: until,
  } = health;
  if (state === 'active' && since === null && until === null) return null;
  return (
    <p class={state === 'active' ? 'notice' : 'notice warn'}>
      {state === 'disabled' &&
        `Disabled: ${reason === 'gone' ? 'it answered 410' : 'it has failed for five days'}. `}
      {state === 'paused' && 'Paused: events are kept until it is resumed. '}
      {since !== null && (
        <>
          Failing for <Since at={since} />.{' '}
        </>
      )}
      {probe !== null && (
        <>
          Probed again <Ago at={probe} />.{' '}
        </>
      )}
      {until !== null && (
        <>
          It asked for no requests before <Clock at={until} />.
        </>
      )}
    </p>
  );
}

function LastError({ delivery }: { delivery: DeliveryView }) {
  const { id, last, created_at: at } = delivery;
  return (
    <p class="last-error">
      <a href={href(deliveryPath(id))}>Last error</a> <Ago at={at} />:{' '}
      <span class="faint">{last?.error?.message}</span>
    </p>
  );
}

function Actions({ endpoint, reload }: { endpoint: Endpoint; reload: () => void }) {
  const { name, type, health, counts } = endpoint;
  const isOff = health.state === 'disabled';
  const isHeld = isOff || health.state === 'paused';
  const waiting = counts.pending + counts.parked;
  const change = (done: string, action: () => Promise<unknown>) => act(done, action).then(reload);
  const retry = async () => {
    const { count } = await api.retryEndpoint(name);
    say(`${plural(count, 'delivery is', 'deliveries are')} due now.`);
  };
  return (
    <div class="actions">
      <ActButton class="small" {...sendingButton()} onAct={() => test(name).then(reload)}>
        Test
      </ActButton>
      {isHeld ? (
        <ActButton
          class="small"
          onAct={() => change(`${name} is resumed.`, () => api.switchEndpoint(name, 'resume'))}
        >
          {isOff ? 'Enable' : 'Resume'}
        </ActButton>
      ) : (
        <ActButton
          class="small"
          onAct={() => change(`${name} is paused.`, () => api.switchEndpoint(name, 'pause'))}
        >
          Pause
        </ActButton>
      )}
      <ActButton
        class="small"
        {...sendingButton(waiting === 0)}
        onAct={() => act(null, retry).then(reload)}
      >
        Retry now
      </ActButton>
      {type === 'webhook' && (
        <button type="button" class="small" onClick={() => askToRotate(name, reload)}>
          Rotate secret
        </button>
      )}
    </div>
  );
}

async function test(name: string): Promise<void> {
  await act(null, async () => {
    const { delivered, attempt } = await api.testEndpoint(name);
    const { error, status, duration_ms: took } = attempt;
    const result = delivered ? `took the test in ${lengthText(took)}` : 'refused the test';
    if (delivered && error === null) say(`${name} ${result}.`);
    else say(`${name} ${result}: ${error?.message ?? status}`, { isError: true });
  });
}
