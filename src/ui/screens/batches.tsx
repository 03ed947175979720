import { ACTIVE_MEMBERS, BATCH_STATES, countMembers, FAILED_MEMBERS } from '../../core/batch.ts';
import type { BatchQuery } from '../../client/types.ts';
import { api } from '../api/calls.ts';
import type { Batch } from '../api/types.ts';
import { address, batchPath, href, isKiosk } from '../app/router.ts';
import { Command, Empty, Header, Loading, Trouble } from '../parts/basics.tsx';
import { Brief } from '../parts/brief.tsx';
import { Chips } from '../parts/chips.tsx';
import { FilterFold } from '../parts/filter-fold.tsx';
import { askedOf, countOn, isNarrowed } from '../parts/filters.ts';
import { countText, plural } from '../parts/format.ts';
import { useStale } from '../parts/hooks.ts';
import { useList, type List } from '../parts/list.ts';
import { OtherFilters } from '../parts/other-filters.tsx';
import { Status } from '../parts/status.tsx';
import { Statuses } from '../parts/statuses.tsx';
import { Table, type Column } from '../parts/table.tsx';
import { Ago, Length, Since } from '../parts/time.tsx';
import { BATCH_FILTERS } from './batches-query.ts';

/** Their meaning, as that of a run that is in such a state. */
const SHOWN_AS = { open: 'running', closed: 'queued', completed: 'completed' } as const;

export function BatchState({ batch: { state } }: { batch: Batch }) {
  return <Status state={SHOWN_AS[state]} text={state} />;
}

export function activeRuns({ by_status: counts }: Batch): number {
  return countMembers(counts, ACTIVE_MEMBERS);
}

function failedRuns({ by_status: counts }: Batch): number {
  return countMembers(counts, FAILED_MEMBERS);
}

/** How many runs have ended, of those that it has or is to have. */
export function endedText(batch: Batch): string {
  const { total, expected } = batch;
  const ended = countText(total - activeRuns(batch));
  return `${ended} of ${countText(Math.max(total, expected ?? 0))}`;
}

/** How many runs have failed; more than may are said so. */
export function Failed({ batch }: { batch: Batch }) {
  const { failed_at: at, max_failed: most } = batch;
  const failed = failedRuns(batch);
  if (failed === 0) return <span class="faint">–</span>;
  if (at === null) return <span class="num">{countText(failed)}</span>;
  return (
    <span class="num tag warn" title={`More than ${plural(most ?? 0, 'run')} failed`}>
      {countText(failed)}, too many
    </span>
  );
}

/** How long it took, or has taken so far. */
export function BatchLength({ batch }: { batch: Batch }) {
  const { created_at: from, completed_at: until } = batch;
  if (until === null) return <Since at={from} />;
  return <Length ms={Date.parse(until) - Date.parse(from)} />;
}

const linkOf = ({ id }: Batch) => href(batchPath(id));

const COLUMNS: readonly Column<Batch>[] = [
  {
    name: 'Batch',
    className: 'col-batch',
    render: (batch) => (
      <a class="cut name" href={linkOf(batch)} title={`${batch.name} (${batch.id})`}>
        {batch.name}
      </a>
    ),
  },
  { name: 'State', className: 'col-state', render: (batch) => <BatchState batch={batch} /> },
  {
    name: 'Runs',
    className: 'col-statuses mid',
    render: ({ by_status: counts }) => <Statuses counts={counts} />,
  },
  {
    name: 'Ended',
    className: 'col-ended right',
    render: (batch) => <span class="num">{endedText(batch)}</span>,
  },
  { name: 'Failed', className: 'col-failed right', render: (batch) => <Failed batch={batch} /> },
  {
    name: 'Duration',
    className: 'col-length right',
    render: (batch) => <BatchLength batch={batch} />,
  },
  {
    name: 'Began',
    className: 'col-ago right',
    render: ({ created_at: at }) => <Ago at={at} />,
  },
];

/** A batch in two lines: its name, and below that its state and how its runs stand. */
function batchBrief(batch: Batch) {
  const failed = failedRuns(batch);
  return (
    <Brief
      name={batch.name}
      title={`${batch.name} (${batch.id})`}
      href={linkOf(batch)}
      aside={<Ago at={batch.created_at} />}
    >
      <BatchState batch={batch} />
      <span class="num">{endedText(batch)} ended</span>
      {failed > 0 && <span class="num">{countText(failed)} failed</span>}
      <Statuses counts={batch.by_status} />
    </Brief>
  );
}

/** Runs that are waited for together, the newest first. */
export function Batches() {
  const { query } = address.value;
  const asked = askedOf<BatchQuery>(BATCH_FILTERS, query);
  const list = useList<Batch>(
    JSON.stringify(asked),
    (paging, signal) => api.batches({ ...asked, ...paging }, signal),
    ({ id }) => id,
  );
  useStale(
    () => void list.update(list.isScrolledOn),
    ({ type }) => type !== 'run.progress',
    5_000,
  );
  const chips = [
    { name: 'All', fields: {} },
    ...BATCH_STATES.map((state) => ({
      name: `${state.charAt(0).toUpperCase()}${state.slice(1)}`,
      fields: { state },
      state: SHOWN_AS[state],
    })),
  ];
  const isEmpty = list.isRead && list.error === null && list.items.length === 0 && !list.hasMore;
  return (
    <>
      <Header
        title="Batches"
        about={
          list.isRead && list.error === null ? countOf(list) : 'Runs that are waited for together'
        }
      />
      {!isKiosk.value && (
        <FilterFold count={countOn(BATCH_FILTERS, query)}>
          <Chips label="State" chips={chips} names={['state']} />
          <div class="filter-row">
            <OtherFilters filters={BATCH_FILTERS} />
          </div>
        </FilterFold>
      )}
      <Trouble error={list.error} what="batches" retry={list.reload} />
      {!list.isRead && <Loading />}
      {isEmpty && <NoBatches />}
      {(list.items.length > 0 || list.hasMore) && (
        <Table
          label="Batches"
          columns={COLUMNS}
          brief={batchBrief}
          items={list.items}
          keyOf={({ id }) => id}
          hrefOf={linkOf}
          total={list.items.length}
          onEnd={list.loadMore}
        />
      )}
    </>
  );
}

/** The API does not count batches: as many as were read. */
function countOf({ items, hasMore }: List<Batch>): string {
  return `${hasMore ? 'more than ' : ''}${plural(items.length, 'batch', 'batches')}`;
}

function NoBatches() {
  const { query } = address.value;
  if (isNarrowed(BATCH_FILTERS, query)) {
    return (
      <Empty title={`No batch is ${query.get('state') ?? 'as you asked'}.`}>
        <a href={href('/batches')}>Show all batches</a>
      </Empty>
    );
  }
  return (
    <Empty title="No batch.">
      <p>
        A batch is runs that are waited for together: one event says that all of them have ended,
        and which of them failed. Runs join one by its name as they are registered:
      </p>
      <Command text="runwatch watch --batch nightly '<run-id>' '<run-id>'" />
    </Empty>
  );
}
