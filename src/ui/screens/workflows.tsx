import { api } from '../api/calls.ts';
import type { Workflow } from '../api/types.ts';
import { address, href, setQuery } from '../app/router.ts';
import { Command, Empty, Header, Loading, Trouble } from '../parts/basics.tsx';
import { Brief } from '../parts/brief.tsx';
import { countText, percentText, plural } from '../parts/format.ts';
import { Statuses } from '../parts/statuses.tsx';
import { Length } from '../parts/time.tsx';
import { isNarrow, useLoaded } from '../parts/hooks.ts';
import { learnNames, workflowText } from '../parts/workflow-names.ts';

/** Ranges of time that can be chosen, in hours. */
const RANGES: Readonly<Record<string, number>> = { '1h': 1, '24h': 24, '7d': 168, '30d': 720 };

/** What a column shows of a workflow, for its order; null where nothing is known. */
const VALUES = {
  runs: ({ watched }: Workflow) => watched,
  failure_rate: ({ failure_rate: rate }: Workflow) => rate,
  median: ({ duration }: Workflow) => duration?.p50_ms ?? null,
  p90: ({ duration }: Workflow) => duration?.p90_ms ?? null,
  delay: ({ detection_delay: delay }: Workflow) => delay?.p50_ms ?? null,
  requests: ({ requests_per_run: requests }: Workflow) => requests,
};

type Order = 'name' | keyof typeof VALUES;

const HEAD: readonly { order: Order; name: string; className: string }[] = [
  { order: 'name', name: 'Workflow', className: 'col-workflow' },
  { order: 'runs', name: 'Runs a day', className: 'right' },
  { order: 'failure_rate', name: 'Failure rate', className: 'right' },
  { order: 'median', name: 'Median', className: 'right' },
  { order: 'p90', name: 'p90', className: 'right' },
  { order: 'delay', name: 'Detection delay', className: 'right' },
  { order: 'requests', name: 'Requests a run', className: 'right' },
];

/** Columns before that of the statuses, which has no order. */
const BEFORE_STATUSES = 3;

/** How the runs of each workflow go. */
export function Workflows() {
  const { query } = address.value;
  const since = query.get('since') ?? '24h';
  const order = HEAD.find((one) => one.order === query.get('order'))?.order ?? 'runs';
  const { value, error, reload } = useLoaded(since, (signal) => load(since, signal), {
    everyMs: 15_000,
  });
  const rows = (value ?? []).toSorted((one, other) => compare(one, other, order));
  return (
    <>
      <Header
        title="Workflows"
        about={value === null ? undefined : plural(rows.length, 'workflow')}
      >
        <select
          aria-label="Time range"
          value={since}
          onChange={({ currentTarget }) =>
            setQuery({ since: currentTarget.value }, { replace: false })
          }
        >
          {Object.keys(RANGES).map((range) => (
            <option key={range} value={range}>
              Last {range.replace(/(\d)([hd])/, '$1 $2')}
            </option>
          ))}
        </select>
        {isNarrow.value && (
          <select
            aria-label="Order"
            value={order}
            onChange={({ currentTarget }) => setQuery({ order: currentTarget.value })}
          >
            {HEAD.map((column) => (
              <option key={column.order} value={column.order}>
                By {column.name.toLowerCase()}
              </option>
            ))}
          </select>
        )}
      </Header>
      <Trouble error={error} what="workflows" retry={reload} />
      {value === null && error === null && <Loading />}
      {value !== null && rows.length === 0 && <NoWorkflows since={since} />}
      {rows.length > 0 && <Rows rows={rows} order={order} since={since} />}
    </>
  );
}

async function load(since: string, signal: AbortSignal): Promise<Workflow[]> {
  const { data } = await api.workflows({ since }, signal);
  learnNames(data.map(({ workflow_id, name }) => ({ workflow_id, workflow_name: name })));
  return data;
}

function compare(one: Workflow, other: Workflow, order: Order): number {
  const byName = nameOf(one).localeCompare(nameOf(other));
  if (order === 'name') return byName;
  const valueOf = VALUES[order];
  return (valueOf(other) ?? -1) - (valueOf(one) ?? -1) || byName;
}

function nameOf({ name, workflow_id: id }: Workflow): string {
  return name ?? id;
}

function perDayText(watched: number, since: string): string {
  const runs = (watched * 24) / (RANGES[since] ?? 24);
  return countText(runs >= 10 ? Math.round(runs) : runs);
}

function NoWorkflows({ since }: { since: string }) {
  return (
    <Empty title={`No run of any workflow was watched in the last ${since}.`}>
      <p>
        Watch runs, or have every run of a source watched by <code>discover</code> in the
        configuration:
      </p>
      <Command text="runwatch watch <run-id>" />
    </Empty>
  );
}

interface RowsProps {
  rows: readonly Workflow[];
  order: Order;
  since: string;
}

function Rows({ rows, order, since }: RowsProps) {
  if (isNarrow.value) return <Briefs rows={rows} since={since} />;
  return (
    <div class="scroll-x" tabIndex={0} role="group" aria-label="Workflows">
      <table class="plain workflows">
        <thead>
          <tr>
            {HEAD.slice(0, BEFORE_STATUSES).map((column) => (
              <SortHead key={column.order} {...column} isOrder={column.order === order} />
            ))}
            <th scope="col" class="mid">
              By status
            </th>
            {HEAD.slice(BEFORE_STATUSES).map((column) => (
              <SortHead key={column.order} {...column} isOrder={column.order === order} />
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={`${row.source} ${row.workflow_id}`}>
              <td class="col-workflow">
                <span class="subject">
                  <a
                    class="cut name"
                    href={href('/runs', { workflow: row.workflow_id, since })}
                    title={titleOf(row)}
                  >
                    {workflowText(row.workflow_id)}
                  </a>
                  {row.active > 0 && <span class="faint num">{countText(row.active)} active</span>}
                </span>
              </td>
              <td class="right num">{perDayText(row.watched, since)}</td>
              <td class="right num">
                <FailureRate row={row} since={since} />
              </td>
              <td class="mid">
                <Statuses counts={row.by_status} />
              </td>
              <td class="right">
                <Length ms={row.duration?.p50_ms} />
              </td>
              <td class="right">
                <Length ms={row.duration?.p90_ms} />
              </td>
              <td class="right">
                <Length ms={row.detection_delay?.p50_ms} />
                {row.detection_delay !== null && (
                  <span class="faint widest">
                    {' '}
                    p95 <Length ms={row.detection_delay.p95_ms} />
                  </span>
                )}
              </td>
              <td class="right num">
                {row.requests_per_run === null ? '–' : countText(row.requests_per_run)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Each workflow in two lines, on a narrow screen. */
function Briefs({ rows, since }: Pick<RowsProps, 'rows' | 'since'>) {
  return (
    <ul class="briefs" aria-label="Workflows">
      {rows.map((row) => (
        <li key={`${row.source} ${row.workflow_id}`}>
          <Brief
            name={workflowText(row.workflow_id)}
            title={titleOf(row)}
            href={href('/runs', { workflow: row.workflow_id, since })}
            aside={<span class="num">{perDayText(row.watched, since)} a day</span>}
          >
            <span>
              <FailureRate row={row} since={since} /> failed
            </span>
            <span>
              median <Length ms={row.duration?.p50_ms} />
            </span>
            {row.active > 0 && <span class="num">{countText(row.active)} active</span>}
          </Brief>
        </li>
      ))}
    </ul>
  );
}

/** The whole name of a workflow, with its id. */
function titleOf({ name, workflow_id: id }: Workflow): string {
  return name === null ? id : `${name} (${id})`;
}

interface SortHeadProps {
  order: Order;
  name: string;
  className: string;
  isOrder: boolean;
}

/** The head of a column, which sorts by it. */
function SortHead({ order, name, className, isOrder }: SortHeadProps) {
  return (
    <th scope="col" class={className} aria-sort={isOrder ? 'descending' : undefined}>
      <button type="button" class="quiet sort" onClick={() => setQuery({ order })}>
        {name}
        <span aria-hidden="true">{isOrder ? '\u{a0}↓' : ''}</span>
      </button>
    </th>
  );
}

function FailureRate({ row, since }: { row: Workflow; since: string }) {
  const { failure_rate: rate, workflow_id: id } = row;
  if (rate === null) return <span class="faint">–</span>;
  return (
    <a class="rate" href={href('/runs', { workflow: id, status: 'failed', since })}>
      <span class="rate-track" aria-hidden="true">
        <span class="tone-bad" style={{ width: `${rate * 100}%` }} />
      </span>
      {percentText(rate)}
    </a>
  );
}
