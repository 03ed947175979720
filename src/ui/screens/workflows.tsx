import { api } from '../api/calls.ts';
import { ApiError } from '../api/request.ts';
import type { Workflow } from '../api/types.ts';
import { address, href, setQuery } from '../app/router.ts';
import { Command, Empty, Header, Loading, Trouble } from '../parts/basics.tsx';
import { countText, percentText, plural } from '../parts/format.ts';
import { Length } from '../parts/time.tsx';
import { useLoaded } from '../parts/use.ts';
import { learnNames, workflowText } from '../parts/workflows.ts';
import { rowOf, type WorkflowRow } from './workflow-row.ts';

const RANGES = ['1h', '24h', '7d', '30d'] as const;

type Order = 'name' | 'perDay' | 'failureRate' | 'p50' | 'p90' | 'delayP50' | 'requestsPerRun';

const HEAD: readonly { order: Order; name: string; className: string }[] = [
  { order: 'name', name: 'Workflow', className: 'col-workflow' },
  { order: 'perDay', name: 'Runs a day', className: 'right' },
  { order: 'failureRate', name: 'Failure rate', className: 'right' },
  { order: 'p50', name: 'Median', className: 'right' },
  { order: 'p90', name: 'p90', className: 'right' },
  { order: 'delayP50', name: 'Detection delay', className: 'right' },
  { order: 'requestsPerRun', name: 'Requests a run', className: 'right' },
];

/** How the runs of each workflow go. */
export function Workflows() {
  const { query } = address.value;
  const since = query.get('since') ?? '24h';
  const order = (query.get('order') ?? 'perDay') as Order;
  const { value, error, reload } = useLoaded(since, (signal) => load(since, signal), {
    everyMs: 15_000,
  });
  const rows = (value?.rows ?? []).toSorted((one, other) => compare(one, other, order));
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
          {RANGES.map((range) => (
            <option key={range} value={range}>
              Last {range.replace(/(\d)([hd])/, '$1 $2')}
            </option>
          ))}
        </select>
      </Header>
      <Trouble error={error} what="workflows" retry={reload} />
      {value === null && error === null && <Loading />}
      {value?.isWhole === false && (
        <p class="notice">
          This daemon's version knows no failure rates yet; durations are of all recent runs.
        </p>
      )}
      {value !== null && rows.length === 0 && <NoWorkflows since={since} />}
      {rows.length > 0 && <Rows rows={rows} order={order} since={since} />}
    </>
  );
}

async function load(
  since: string,
  signal: AbortSignal,
): Promise<{ rows: WorkflowRow[]; isWhole: boolean }> {
  const found = await api.workflows({ since }, signal).catch((error: unknown) => {
    if (error instanceof ApiError && error.isMissing) return null;
    throw error;
  });
  const data = found?.data ?? (await api.polling(signal)).data;
  learnNames(data.map(({ workflow_id, name }) => ({ workflow_id, workflow_name: name })));
  return { rows: data.map((one: Workflow) => rowOf(one, since)), isWhole: found !== null };
}

function compare(one: WorkflowRow, other: WorkflowRow, order: Order): number {
  if (order === 'name') return one.name.localeCompare(other.name);
  return (other[order] ?? -1) - (one[order] ?? -1) || one.name.localeCompare(other.name);
}

function NoWorkflows({ since }: { since: string }) {
  return (
    <Empty title={`No run of any workflow was watched in the last ${since}.`}>
      <p>Watch runs, or have all runs of a workspace watched by `discover` in the configuration:</p>
      <Command text="npx runwatch watch <run-id>" />
    </Empty>
  );
}

function Rows({
  rows,
  order,
  since,
}: {
  rows: readonly WorkflowRow[];
  order: Order;
  since: string;
}) {
  return (
    <div class="scroll-x" tabIndex={0} role="group" aria-label="Workflows">
      <table class="plain workflows">
        <thead>
          <tr>
            {HEAD.map(({ order: by, name, className }) => (
              <th
                key={by}
                scope="col"
                class={className}
                aria-sort={by === order ? 'descending' : undefined}
              >
                <button type="button" class="quiet sort" onClick={() => setQuery({ order: by })}>
                  {name}
                  <span aria-hidden="true">{by === order ? '\u{a0}↓' : ''}</span>
                </button>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={`${row.source} ${row.id}`}>
              <td class="col-workflow">
                <a href={href('/runs', { workflow: row.id, since })} title={row.id}>
                  {workflowText(row.id)}
                </a>
                {row.active > 0 && <span class="faint num"> {countText(row.active)} active</span>}
              </td>
              <td class="right num">{row.perDay === null ? '–' : countText(row.perDay)}</td>
              <td class="right num">
                <FailureRate row={row} since={since} />
              </td>
              <td class="right">
                <Length ms={row.p50} />
              </td>
              <td class="right">
                <Length ms={row.p90} />
              </td>
              <td class="right">
                <Length ms={row.delayP50} />
                {row.delayP95 !== null && (
                  <span class="faint">
                    {' '}
                    p95 <Length ms={row.delayP95} />
                  </span>
                )}
              </td>
              <td class="right num">
                {row.requestsPerRun === null ? '–' : countText(row.requestsPerRun)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function FailureRate({ row, since }: { row: WorkflowRow; since: string }) {
  const { failureRate: rate, id } = row;
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
