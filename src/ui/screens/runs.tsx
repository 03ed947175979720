import { useEffect, useMemo } from 'preact/hooks';
import { api } from '../api/calls.ts';
import { may } from '../api/session.ts';
import type { EventView, PageView, WatchQuery } from '../../client/types.ts';
import type { Watch } from '../api/types.ts';
import { address, href, isKiosk, runPath } from '../app/router.ts';
import { acknowledgeRun } from '../parts/acknowledge.tsx';
import { Header, Loading, Trouble } from '../parts/basics.tsx';
import { admits, askedOf } from '../parts/filters.ts';
import { countText, plural } from '../parts/format.ts';
import { PAGE_SIZE, useList, type List } from '../parts/list.ts';
import { NewsButton, useNews } from '../parts/news.tsx';
import { Table } from '../parts/table.tsx';
import { useSelection } from '../parts/table.tsx';
import { useLoaded } from '../parts/hooks.ts';
import { learnNames } from '../parts/workflow-names.ts';
import { BulkActions, MOST_RUNS } from './runs-bulk.tsx';
import { keyOfRun, RUN_COLUMNS, runBrief } from './runs-columns.tsx';
import { NoRuns } from './runs-empty.tsx';
import { Filters } from './runs-filters.tsx';
import { matchingText, RUN_FILTERS, STATES, stillMatches, subjectOf } from './runs-query.ts';

export function Runs() {
  const { query } = address.value;
  const asked = askedOf<WatchQuery>(RUN_FILTERS, query);
  const text = query.get('q') ?? '';
  const list = useRunList(asked);
  const items = useMemo(() => matchingText(list.items, text), [list.items, text]);
  const head = useLoaded(
    `total ${JSON.stringify(asked)}`,
    (signal) => api.watches({ ...asked, limit: newestOf(list) }, signal),
    { everyMs: 5_000 },
  );
  useFirstStates(list, head.value);
  const selection = useSelection(items, keyOfRun);
  const news = useNews(list, {
    keyOf: ({ data }) => keyOfRun({ run_id: data.run_id, source: data.watch.source }),
    keyOfItem: keyOfRun,
    isWanted: (event) => admits(RUN_FILTERS, query, subjectOf(event)),
    patch: patched,
    isHeld: selection.keys.size > 0,
    total: head.value?.total,
  });
  return (
    <>
      <Header title="Runs" about={<Total list={list} shown={items.length} />} />
      {!isKiosk.value && <Filters />}
      {may.write.value && <BulkActions list={list} shown={items.length} selection={selection} />}
      <Trouble error={list.error} what="runs" retry={list.reload} />
      <NewsButton news={news} noun="new run" />
      {!list.isRead && <Loading />}
      {list.isRead && list.error === null && items.length === 0 && !list.hasMore && <NoRuns />}
      {(items.length > 0 || list.hasMore) && (
        <Table
          label="Runs"
          columns={RUN_COLUMNS}
          brief={runBrief}
          items={items}
          keyOf={keyOfRun}
          hrefOf={(watch) => href(runPath(watch))}
          rowClass={(watch) => (stillMatches(watch, query) ? '' : 'past')}
          total={list.total ?? items.length}
          read={list.items.length}
          onEnd={() => {
            // A word that matches few runs does not read a whole store.
            const isFiltered = items.length < list.items.length;
            if (!isFiltered || list.items.length < MOST_RUNS) list.loadMore();
          }}
          selection={may.write.value ? selection : undefined}
          onHold={news.hold}
          onKey={may.write.value ? { a: (watch) => acknowledgeRun(watch) } : {}}
        />
      )}
    </>
  );
}

/** The runs that a query finds, page by page. */
export function useRunList(asked: Parameters<typeof api.watches>[0]): List<Watch> {
  return useList<Watch>(
    JSON.stringify(asked),
    async (paging, signal) => {
      const page = await api.watches({ ...asked, ...paging }, signal);
      learnNames(page.data.map(namedOf));
      return page;
    },
    keyOfRun,
  );
}

/** Before the first poll of its run, which causes no event. */
const isUnseen = ({ run, state }: Watch) => run === null && state === 'active';

/** How many of the newest are read with the total: a row that was not seen yet is read again. */
const newestOf = ({ items }: List<Watch>) => (items.some(isUnseen) ? PAGE_SIZE : 1);

/** Gives rows of before the first poll of their run what the newest page says of them. */
function useFirstStates(list: List<Watch>, newest: PageView<Watch> | null): void {
  useEffect(() => {
    if (newest === null || !list.items.some(isUnseen)) return;
    const seen = new Map(newest.data.map((watch) => [keyOfRun(watch), watch]));
    list.patch((watch) => (isUnseen(watch) ? (seen.get(keyOfRun(watch)) ?? watch) : watch));
  }, [newest]);
}

/** How many runs the filters admit: the text filter only sees those that were read. */
function Total({ list, shown }: { list: List<Watch>; shown: number }) {
  const { total, isCapped, items, hasMore, isRead } = list;
  if (!isRead) return <>&nbsp;</>;
  if (shown < items.length || total === null) {
    return (
      <>
        {plural(shown, 'run')}
        {hasMore ? ` of ${countText(items.length)} read` : ''}
      </>
    );
  }
  return (
    <>
      {isCapped ? 'more than ' : ''}
      {plural(total, 'run')}
    </>
  );
}

export function namedOf({ run, workflow_name: name }: Watch) {
  return { workflow_id: run?.workflow_id, workflow_name: name };
}

/** The row after an event about its run; the same object where it changes nothing. */
export function patched(watch: Watch, { type, data }: EventView): Watch {
  const state = STATES[type] ?? (data.run === null ? watch.state : 'active');
  const isOlder = data.sequence < watch.sequence;
  if (isOlder || (state === watch.state && data.run === watch.run)) return watch;
  return {
    ...watch,
    state,
    run: data.run ?? watch.run,
    sequence: data.sequence,
    changed_at: data.detected_at,
  };
}
