import { api } from '../api/calls.ts';
import { may } from '../api/session.ts';
import type { AuditQuery } from '../../client/types.ts';
import type { Audited } from '../api/types.ts';
import { address, alertPath, batchPath, deliveryPath, href, runPath } from '../app/router.ts';
import { Empty, Header, Loading, Trouble } from '../parts/basics.tsx';
import { Brief } from '../parts/brief.tsx';
import { FilterFold } from '../parts/filter-fold.tsx';
import { askedOf, countOn, isNarrowed, type Filter, type Filters } from '../parts/filters.ts';
import { plural } from '../parts/format.ts';
import { useList, type List } from '../parts/list.ts';
import { OtherFilters } from '../parts/other-filters.tsx';
import { Ago } from '../parts/time.tsx';
import { isNarrow } from '../parts/hooks.ts';

const FILTERS: Filters<AuditQuery, Filter<never>> = {
  by: { name: 'by', narrows: true, admits: () => true },
  since: { name: 'since', narrows: true, admits: () => true },
  until: { name: 'until', narrows: true, admits: () => true },
};

/** What users did, newest first. */
export function AuditLog() {
  if (!may.inspect.value) {
    return (
      <Empty title="This token may not read the audit log.">
        <p>Sign in with one that has the scope admin.</p>
      </Empty>
    );
  }
  return <Records />;
}

function Records() {
  const { query } = address.value;
  const asked = askedOf<AuditQuery>(FILTERS, query);
  const list = useList<Audited>(
    JSON.stringify(asked),
    (paging, signal) => api.audit({ ...asked, ...paging }, signal),
    ({ id }) => id,
  );
  const isEmpty = list.isRead && list.error === null && list.items.length === 0;
  return (
    <>
      <Header title="Audit log" about={list.isRead ? countOf(list) : undefined}>
        <button type="button" onClick={list.reload}>
          Reload
        </button>
        <a class="button" href={href('/system')}>
          System
        </a>
      </Header>
      {isNarrowed(FILTERS, query) && (
        <FilterFold count={countOn(FILTERS, query)}>
          <div class="filter-row">
            <OtherFilters filters={FILTERS} />
          </div>
        </FilterFold>
      )}
      <Trouble error={list.error} what="the audit log" retry={list.reload} />
      {!list.isRead && <Loading />}
      {isEmpty && <Nothing />}
      {list.items.length > 0 && <RecordTable records={list.items} />}
      {list.hasMore && (
        <button type="button" class="quiet" onClick={list.loadMore}>
          Show more
        </button>
      )}
    </>
  );
}

/** The API does not count records: as many as were read. */
function countOf({ items, hasMore }: List<Audited>): string {
  return `${hasMore ? 'more than ' : ''}${plural(items.length, 'record')}`;
}

function Nothing() {
  if (isNarrowed(FILTERS, address.value.query)) {
    return (
      <Empty title="No record is as you asked.">
        <a href={href('/system/audit')}>Show all records</a>
      </Empty>
    );
  }
  return (
    <Empty title="Nothing was done so far.">
      <p>
        Whoever acknowledges, silences, resolves, pauses, resumes, retries, rotates, redelivers,
        stops, closes, deletes or purges something stands here, by the name of the token.
      </p>
    </Empty>
  );
}

function RecordTable({ records }: { records: readonly Audited[] }) {
  if (isNarrow.value) return <Briefs records={records} />;
  return (
    <div class="scroll-x" tabIndex={0} role="group" aria-label="Audit log">
      <table class="plain">
        <thead>
          <tr>
            <th scope="col">Action</th>
            <th scope="col">Target</th>
            <th scope="col">By</th>
            <th scope="col">Via</th>
            <th scope="col">Details</th>
            <th scope="col" class="right">
              When
            </th>
          </tr>
        </thead>
        <tbody>
          {records.map((record) => (
            <tr key={record.id}>
              <td>{record.action}</td>
              <td class="mono cell-cut" title={record.target}>
                <Target record={record} />
              </td>
              <td class="cell-cut" title={record.by ?? undefined}>
                <By record={record} />
              </td>
              <td>{record.via}</td>
              <td class="faint cell-cut wide-cut" title={detailsText(record)}>
                {detailsText(record)}
              </td>
              <td class="num right">
                <Ago at={record.at} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Each record in two lines, on a narrow screen. */
function Briefs({ records }: { records: readonly Audited[] }) {
  return (
    <ul class="briefs" aria-label="Audit log">
      {records.map((record) => (
        <li key={record.id}>
          <Brief
            name={<Target record={record} />}
            title={record.target}
            aside={<Ago at={record.at} />}
          >
            <span>{record.action}</span>
            {record.by !== null && (
              <span class="cut" title={record.by}>
                by <By record={record} />
              </span>
            )}
            <span class="cut" title={detailsText(record)}>
              {detailsText(record)}
            </span>
          </Brief>
        </li>
      ))}
    </ul>
  );
}

function By({ record: { by } }: { record: Audited }) {
  if (by === null) return <span class="faint">–</span>;
  return <a href={href('/system/audit', { by })}>{by}</a>;
}

function Target({ record: { action, target } }: { record: Audited }) {
  const to = addressOf(action, target);
  return to === null ? <>{target}</> : <a href={href(to)}>{target}</a>;
}

/** Where the target of an action is shown; null where it has no page. */
function addressOf(action: Audited['action'], target: string): string | null {
  const [kind] = action.split('.');
  if (kind === 'alert') return alertPath(target);
  if (action === 'batch.close') return batchPath(target);
  if (kind === 'delivery') return deliveryPath(target);
  if (kind !== 'run' || action === 'run.purge') return null;
  const slash = target.indexOf('/');
  return runPath({ source: target.slice(0, slash), run_id: target.slice(slash + 1) });
}

function detailsText({ details }: Audited): string {
  return Object.entries(details)
    .map(([name, value]) => `${name}: ${value}`)
    .join(', ');
}
