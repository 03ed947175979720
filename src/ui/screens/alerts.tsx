import { useState } from 'preact/hooks';
import { sum } from '../../core/arrays.ts';
import { api } from '../api/calls.ts';
import { may } from '../api/session.ts';
import type { AlertPageView, AlertQuery } from '../../client/types.ts';
import type { Alert, AlertRun, Asked } from '../api/types.ts';
import { address, alertPath, href, isKiosk } from '../app/router.ts';
import { acknowledgeAlert } from '../parts/acknowledge.tsx';
import { Empty, Header, Loading, Section, Trouble } from '../parts/basics.tsx';
import { Brief } from '../parts/brief.tsx';
import { Chips } from '../parts/chips.tsx';
import { FilterFold } from '../parts/filter-fold.tsx';
import { askedOf, countOn, isNarrowed } from '../parts/filters.ts';
import { countText, plural } from '../parts/format.ts';
import { PAGE_SIZE, useList, type List } from '../parts/list.ts';
import { OtherFilters } from '../parts/other-filters.tsx';
import { AlertState, SuppressedTags } from '../parts/suppressed.tsx';
import { Table, type Column } from '../parts/table.tsx';
import { Ago, Length, Since } from '../parts/time.tsx';
import { useStale } from '../parts/hooks.ts';
import { learnNames, workflowText } from '../parts/workflow-names.ts';
import { ALERT_FILTERS } from './alerts-query.ts';
import { isSilenceShown, Silences } from './silences.tsx';

/** The workflow of a run of an alert, with its name. */
export const namedOf = ({ workflow_id, name }: AlertRun) => ({ workflow_id, workflow_name: name });

/** What a label says: a workflow by its name. */
export function labelText(name: string, value: string): string {
  return name === 'workflow_id' ? workflowText(value) : value;
}

/** The source last: most daemons have one. */
function labelsOf(labels: Record<string, string>): [string, string][] {
  return Object.entries(labels).sort(
    ([one], [other]) => Number(one === 'source') - Number(other === 'source'),
  );
}

const COLUMNS: readonly Column<Alert>[] = [
  {
    name: 'Alert',
    className: 'col-alert',
    render: ({ id, rule }) => (
      <a class="cut name" href={href(alertPath(id))} title={rule}>
        {rule}
      </a>
    ),
  },
  {
    name: 'Of',
    className: 'col-labels',
    render: ({ labels, suppressed_by: suppressors }) => (
      <span class="tags">
        {labelsOf(labels).map(([name, value]) => (
          <span
            key={name}
            class={`tag of-${name}`}
            title={`${name}=${value}: ${labelText(name, value)}`}
          >
            {labelText(name, value)}
          </span>
        ))}
        <SuppressedTags suppressors={suppressors} />
      </span>
    ),
  },
  { name: 'State', className: 'col-state', render: (alert) => <AlertState alert={alert} /> },
  {
    name: 'Severity',
    className: 'col-severity mid',
    render: ({ severity }) => <Severity severity={severity} />,
  },
  {
    name: 'Runs',
    className: 'col-count right',
    render: ({ count }) => <span class="num">{countText(count)}</span>,
  },
  {
    name: 'Owner',
    className: 'col-owner mid',
    render: ({ owner }) => (
      <span class="cut" title={owner ?? undefined}>
        {owner ?? '–'}
      </span>
    ),
  },
  {
    name: 'For',
    className: 'col-length right',
    render: (alert) => <AlertLength alert={alert} />,
  },
  {
    name: 'Updated',
    className: 'col-ago right wide',
    render: ({ updated_at: at }) => <Ago at={at} />,
  },
];

function Severity({ severity }: Pick<Alert, 'severity'>) {
  return <span class={`severity severity-${severity}`}>{severity}</span>;
}

/** How long an alert has fired, or did. */
function AlertLength({ alert }: { alert: Alert }) {
  const { started_at: started, resolved_at: resolved } = alert;
  if (resolved === null) return <Since at={started} />;
  return <Length ms={Date.parse(resolved) - Date.parse(started)} />;
}

/** The rule of an alert, and what it is of. */
export function alertName({ rule, labels }: Alert): string {
  const of = labelsOf(labels).filter(([name]) => name !== 'source');
  return [rule, ...of.map(([label, value]) => labelText(label, value))].join(' · ');
}

/** An alert in two lines: its rule and what it is of, and below that how it stands. */
function alertBrief(alert: Alert) {
  const { id, severity, count } = alert;
  const name = alertName(alert);
  return (
    <Brief
      name={name}
      title={name}
      href={href(alertPath(id))}
      aside={<AlertLength alert={alert} />}
    >
      <Severity severity={severity} />
      <AlertState alert={alert} />
      <span class="num">{plural(count, 'run')}</span>
    </Brief>
  );
}

const OPEN_STATES = ['firing', 'acknowledged', 'pending'] as const;

const STATES = [...OPEN_STATES, 'resolved'] as const;

/** Begins the cursor of an alert that is over, in the listing of all. */
const OVER = 'resolved ';

/** All alerts: those that fire first, those that are over last; else those of one state. */
async function loadAlerts(
  asked: Asked<AlertQuery>,
  { limit, cursor }: { limit: number; cursor: string | undefined },
  signal: AbortSignal,
): Promise<AlertPageView> {
  if (asked.state != null) return api.alerts({ ...asked, limit, cursor }, signal);
  const isOver = cursor?.startsWith(OVER) === true;
  const state = OPEN_STATES.join(',');
  const open = isOver ? null : await api.alerts({ ...asked, state, limit, cursor }, signal);
  const data = OPEN_STATES.flatMap(
    (one) => open?.data.filter((alert) => alert.state === one) ?? [],
  );
  if (open !== null && open.next_cursor !== null) return { ...open, data };
  const from = isOver ? cursor.slice(OVER.length) : undefined;
  const over = await api.alerts({ ...asked, state: 'resolved', limit, cursor: from }, signal);
  const next = over.next_cursor;
  return {
    data: [...data, ...over.data],
    next_cursor: next === null ? null : OVER + next,
    counts: over.counts,
  };
}

/** What the rules made of the events, and what is silenced. */
export function Alerts() {
  const { query } = address.value;
  const [counts, setCounts] = useState<AlertPageView['counts'] | null>(null);
  const asked = askedOf<AlertQuery>(ALERT_FILTERS, query);
  const list = useList<Alert>(
    JSON.stringify(asked),
    async (paging, signal) => {
      const page = await loadAlerts(asked, paging, signal);
      setCounts(page.counts);
      learnNames(page.data.flatMap(({ runs }) => runs.map(namedOf)));
      return page;
    },
    ({ id }) => id,
  );
  useStale(
    () => void list.update(list.isScrolledOn),
    ({ type }) => type !== 'run.progress',
    5_000,
  );
  const chips = [
    { name: 'All', fields: {}, count: counts && sum(Object.values(counts)) },
    ...STATES.map((state) => ({
      name: `${state.charAt(0).toUpperCase()}${state.slice(1)}`,
      fields: { state },
      state,
      count: counts?.[state] ?? null,
    })),
  ];
  return (
    <>
      <Header
        title="Alerts"
        about={
          list.isRead && list.error === null ? alertsText(list) : 'What the rules made of events'
        }
      >
        {may.write.value && (
          <button type="button" onClick={() => (isSilenceShown.value = true)}>
            Silence …
          </button>
        )}
      </Header>
      {!isKiosk.value && (
        <FilterFold count={countOn(ALERT_FILTERS, query)}>
          <Chips label="State" chips={chips} names={['state']} />
          <div class="filter-row">
            <OtherFilters filters={ALERT_FILTERS} />
          </div>
        </FilterFold>
      )}
      <Trouble error={list.error} what="alerts" retry={list.reload} />
      {!list.isRead && <Loading />}
      {list.isRead && list.error === null && list.items.length === 0 && <NoAlerts />}
      {list.items.length > 0 && (
        <Table
          label="Alerts"
          columns={COLUMNS}
          brief={alertBrief}
          items={list.items}
          keyOf={({ id }) => id}
          hrefOf={({ id }) => href(alertPath(id))}
          total={list.items.length}
          onEnd={list.loadMore}
          onKey={
            may.write.value ? { a: ({ id, rule }) => acknowledgeAlert(id, rule, list.reload) } : {}
          }
        />
      )}
      <div class={list.hasMore || list.items.length > PAGE_SIZE ? 'below-pages' : ''}>
        <Section title="Silences">
          <Silences />
        </Section>
      </div>
    </>
  );
}

/** As many as were read. */
function alertsText({ items, hasMore }: List<Alert>): string {
  return `${hasMore ? 'more than ' : ''}${plural(items.length, 'alert')}`;
}

function NoAlerts() {
  const { query } = address.value;
  if (isNarrowed(ALERT_FILTERS, query)) {
    return (
      <Empty title={`No alert is ${query.get('state') ?? 'as you asked'}.`}>
        <a href={href('/alerts')}>Show all alerts</a>
      </Empty>
    );
  }
  return (
    <Empty title="No alert.">
      <p>
        A rule of the configuration makes one alert of many events, notifies once, and again when it
        ends:
      </p>
      <pre class="snippet" tabIndex={0}>
        {
          'rules:\n  - name: failed-runs\n    events: [run.failed]\n    group_by: [source, workflow_id]\n    notify: [ops]'
        }
      </pre>
    </Empty>
  );
}
