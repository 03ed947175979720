import { useRef, useState } from 'preact/hooks';
import { shortId } from '../../core/run/short-id.ts';
import { deliveryText, isOutstanding } from '../../core/delivery/state.ts';
import { api } from '../api/calls.ts';
import { may, sendingButton } from '../api/session.ts';
import type { DeliveryQuery, DeliveryView } from '../../client/types.ts';
import { address, deliveryPath, href, isKiosk, setQuery } from '../app/router.ts';
import { Dialog, Empty, Header, Loading, Trouble } from '../parts/basics.tsx';
import { Brief } from '../parts/brief.tsx';
import { Chips, type Chip } from '../parts/chips.tsx';
import { FilterFold } from '../parts/filter-fold.tsx';
import { admits, askedOf, countOn, isNarrowed } from '../parts/filters.ts';
import { eventText, plural } from '../parts/format.ts';
import { useList } from '../parts/list.ts';
import { NewsButton, useNews } from '../parts/news.tsx';
import { OtherFilters } from '../parts/other-filters.tsx';
import { Range } from '../parts/range.tsx';
import { DeliveryStatus, Glyph, toneOfEvent } from '../parts/status.tsx';
import { Table, type Column } from '../parts/table.tsx';
import { Ago, Length } from '../parts/time.tsx';
import { act, say } from '../parts/toast.tsx';
import { useLoaded, useStale } from '../parts/hooks.ts';
import { DELIVERY_FILTERS, rangeOf, STATES } from './deliveries-query.ts';

const addressOf = ({ id }: DeliveryView) => href(deliveryPath(id));

/** What a delivery is about: a workflow with a short id of its run, an alert, a batch, or runwatch itself. */
function Subject({ delivery }: { delivery: DeliveryView }) {
  const { run_id: run, workflow_name: name } = delivery;
  if (run === '') return <>{subjectWithoutRun(delivery)}</>;
  const short = <span class="mono short">{shortId(run)}</span>;
  if (name === null) return short;
  return (
    <span class="subject">
      <span class="cut">{name}</span> <span aria-hidden="true">·</span> {short}
    </span>
  );
}

function subjectWithoutRun(delivery: DeliveryView): string {
  const { alert_id: alert, alert_rule: rule, batch_id: batchId, batch } = delivery;
  if (alert !== null) return rule ?? 'alert';
  return batchId === null ? 'runwatch' : (batch ?? 'batch');
}

/** The same with whole ids. */
function subjectTitle(delivery: DeliveryView): string {
  const { run_id: run, workflow_name: name, alert_id: alert, alert_rule: rule } = delivery;
  const { batch_id: batchId, batch } = delivery;
  return [name, run, rule, alert, batch, batchId]
    .filter((part) => part !== null && part !== '')
    .join(' · ');
}

function EventOf({ delivery: { event_type: type } }: { delivery: DeliveryView }) {
  return (
    <span class={`status tone-${toneOfEvent({ type })}`}>
      <Glyph tone={toneOfEvent({ type })} />
      <span>{eventText(type)}</span>
    </span>
  );
}

/** A delivery in two lines: what it is about, and below that its state, endpoint and event. */
function deliveryBrief(delivery: DeliveryView) {
  const { state, endpoint, event_type: type, created_at: at } = delivery;
  return (
    <Brief
      name={<Subject delivery={delivery} />}
      title={subjectTitle(delivery)}
      href={addressOf(delivery)}
      aside={<Ago at={at} />}
    >
      <DeliveryStatus state={state} />
      <span class="cut" title={endpoint}>
        {endpoint}
      </span>
      <span class="cut">{eventText(type)}</span>
    </Brief>
  );
}

const COLUMNS: readonly Column<DeliveryView>[] = [
  {
    name: 'Workflow · run',
    className: 'col-subject',
    render: (delivery) => (
      <a class="cut name" href={addressOf(delivery)} title={subjectTitle(delivery)}>
        <Subject delivery={delivery} />
      </a>
    ),
  },
  {
    name: 'Event',
    className: 'col-event',
    render: (delivery) => <EventOf delivery={delivery} />,
  },
  {
    name: 'Endpoint',
    className: 'col-endpoint',
    render: ({ endpoint }) => (
      <span class="cut" title={endpoint}>
        {endpoint}
      </span>
    ),
  },
  {
    name: 'State',
    className: 'col-state',
    render: ({ state }) => <DeliveryStatus state={state} />,
  },
  {
    name: 'Attempts',
    className: 'col-count right mid',
    render: ({ attempt_count: count }) => <span class="num">{count}</span>,
  },
  {
    name: 'Last answer',
    className: 'col-answer mid',
    render: ({ last }) => <LastAnswer last={last} />,
  },
  {
    name: 'Took',
    className: 'col-length right mid',
    render: ({ last }) => <Length ms={last?.duration_ms} />,
  },
  { name: 'Created', className: 'col-ago right', render: ({ created_at: at }) => <Ago at={at} /> },
  {
    name: 'Next try',
    className: 'col-next right widest',
    render: ({ next_attempt_at: at }) => <Ago at={at} />,
  },
];

function LastAnswer({ last }: Pick<DeliveryView, 'last'>) {
  if (last === null) return <span class="faint">–</span>;
  if (last.error === null) return <span class="num">{last.status ?? 'taken'}</span>;
  return (
    <span class="cut tone-bad" title={last.error.message}>
      {last.status ?? last.error.code}
    </span>
  );
}

export function Deliveries() {
  const { query } = address.value;
  const asked = askedOf<DeliveryQuery>(DELIVERY_FILTERS, query);
  const list = useList<DeliveryView>(
    JSON.stringify(asked),
    (paging, signal) => api.deliveries({ ...asked, ...paging }, signal),
    ({ id }) => id,
  );
  const news = useNews(list, {
    keyOf: ({ id }) => id,
    keyOfItem: ({ event_id: id }) => id,
    isWanted: (event) =>
      admits(DELIVERY_FILTERS, query, event) &&
      !/^run\.(progress|started|resumed)$/.test(event.type),
    patch: (item) => item,
    isHeld: false,
  });
  // No event says how a delivery goes on.
  useStale(
    () => void list.update(news.isHeld),
    () => false,
    5_000,
  );
  const hasRows = list.items.length > 0;
  return (
    <>
      <Header
        title="Deliveries"
        about={
          list.total === null
            ? 'One event each to one receiver'
            : plural(list.total, 'delivery', 'deliveries')
        }
      >
        {may.write.value && (
          <RedeliverMatching asked={asked} total={list.total} reload={list.reload} />
        )}
      </Header>
      {!isKiosk.value && <FilterRow />}
      <Trouble error={list.error} what="deliveries" retry={list.reload} />
      <NewsButton news={news} noun="new event" />
      {!list.isRead && <Loading />}
      {list.isRead && list.error === null && !hasRows && <NoDeliveries />}
      {hasRows && (
        <Table
          label="Deliveries"
          columns={COLUMNS}
          brief={deliveryBrief}
          items={list.items}
          keyOf={({ id }) => id}
          hrefOf={addressOf}
          total={list.total ?? list.items.length}
          onEnd={list.loadMore}
          onHold={news.hold}
        />
      )}
    </>
  );
}

const sum = (one: number, other: number) => one + other;

function FilterRow() {
  const { query } = address.value;
  const { value } = useLoaded('endpoints', (signal) => api.endpoints(signal), { everyMs: 10_000 });
  const endpoints = value?.data ?? [];
  const asked = query.get('endpoint') ?? '';
  const names = new Set([...endpoints.map(({ name }) => name), ...(asked === '' ? [] : [asked])]);
  // The counts of the endpoints are of all their deliveries.
  const isCounted = value !== null && !isNarrowed(DELIVERY_FILTERS, query, ['state']);
  const countOf = (...states: DeliveryView['state'][]) =>
    isCounted
      ? endpoints.flatMap(({ counts }) => states.map((state) => counts[state])).reduce(sum, 0)
      : null;
  const chips: Chip[] = [
    { name: 'All', fields: {}, count: countOf(...STATES) },
    { name: 'Waiting', fields: { state: 'pending,parked' }, count: countOf('pending', 'parked') },
    ...STATES.filter((state) => !isOutstanding(state)).map((state) => ({
      name: `${state.charAt(0).toUpperCase()}${state.slice(1)}`,
      fields: { state },
      state,
      count: countOf(state),
    })),
  ];
  return (
    <FilterFold count={countOn(DELIVERY_FILTERS, query)}>
      <Chips label="State" chips={chips} names={['state']} />
      <div class="filter-row">
        <select
          aria-label="Endpoint"
          value={asked}
          onChange={({ currentTarget }) =>
            setQuery({ endpoint: currentTarget.value }, { replace: false })
          }
        >
          <option value="">All endpoints</option>
          {[...names].map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
        <RunFilter />
        <Range />
        <OtherFilters filters={DELIVERY_FILTERS} />
      </div>
    </FilterFold>
  );
}

/** A field for the id of a run, or for its beginning or last part where that means one run alone. */
function RunFilter() {
  const asked = address.value.query.get('run') ?? '';
  const last = useRef(0);
  const choose = async (text: string) => {
    last.current += 1;
    const turn = last.current;
    const wanted = text.trim();
    if (wanted === asked) return;
    const { path } = address.peek();
    const found = wanted === '' ? [] : (await api.lookup({ q: wanted }).catch(() => null))?.data;
    // Another run was asked for meanwhile, or another screen.
    if (turn !== last.current || address.peek().path !== path) return;
    const [run, other] = found ?? [];
    const id = run !== undefined && other === undefined ? run.id : wanted;
    setQuery({ run: id }, { replace: false });
  };
  return (
    <input
      type="search"
      class="run-filter"
      aria-label="Run"
      placeholder="Run id"
      value={asked}
      onChange={({ currentTarget }) => void choose(currentTarget.value)}
    />
  );
}

function NoDeliveries() {
  const { query } = address.value;
  const isAll = !isNarrowed(DELIVERY_FILTERS, query);
  return (
    <Empty title={isAll ? 'Nothing was sent yet.' : 'No delivery is as you asked.'}>
      {isAll ? (
        <p>
          An event of a watched run becomes one delivery for each endpoint that asks for its type.{' '}
          <a href={href('/endpoints')}>Endpoints</a> lists the types of each.
        </p>
      ) : (
        <a href={href('/deliveries')}>Show all deliveries</a>
      )}
    </Empty>
  );
}

interface RedeliverProps {
  asked: ReturnType<typeof askedOf<DeliveryQuery>>;
  total: number | null;
  reload: () => void;
}

/** Sends again all that the filters show, once a user has seen how many that are. */
function RedeliverMatching({ asked, total, reload }: RedeliverProps) {
  const [isOpen, setOpen] = useState(false);
  const range = rangeOf(asked);
  if (range === null) return null;
  const { state, endpoint } = range;
  const states = [state ?? ['dead', 'skipped']].flat().map((one) => deliveryText(one));
  const words = [...new Set(states)].join(' and ');
  const send = async () => {
    setOpen(false);
    await act(null, async () => {
      const { count } = await api.redeliverMatching(range);
      say(`${plural(count, 'delivery', 'deliveries')} ${count === 1 ? 'goes' : 'go'} out again.`);
    });
    reload();
  };
  const matching =
    state !== undefined && total !== null
      ? plural(total, `${words} delivery`, `${words} deliveries`)
      : `All ${words} deliveries`;
  return (
    <>
      <button type="button" {...sendingButton(total === 0)} onClick={() => setOpen(true)}>
        Redeliver matching
      </button>
      {isOpen && (
        <Dialog title="Redeliver matching" onClose={() => setOpen(false)}>
          <h2>Redeliver matching</h2>
          <p>
            {matching}
            {endpoint === undefined ? '' : ` to ${endpoint}`} go out again with the same event id,
            due at once.
          </p>
          <div class="dialog-foot">
            <button type="button" onClick={() => setOpen(false)}>
              Cancel
            </button>
            <button type="button" class="primary" onClick={() => void send()}>
              Redeliver
            </button>
          </div>
        </Dialog>
      )}
    </>
  );
}
