import { useEffect, useState } from 'preact/hooks';
import { groupBy } from '../../core/arrays.ts';
import { deliveryText, isOutstanding } from '../../core/delivery/state.ts';
import { api } from '../api/calls.ts';
import { sendingButton } from '../api/session.ts';
import { messageOf } from '../api/request.ts';
import type { DeliveryQuery, DeliveryView, PageView } from '../../client/types.ts';
import type { Watch } from '../api/types.ts';
import { address } from '../app/router.ts';
import { acknowledge } from '../parts/acknowledge.tsx';
import { confirmed } from '../parts/confirm.tsx';
import { countText, plural } from '../parts/format.ts';
import { useIsShown } from '../parts/hooks.ts';
import { PAGE_SIZE, type List } from '../parts/list.ts';
import type { Chosen } from '../parts/table.tsx';
import { say } from '../parts/toast.tsx';
import { keyOfRun, stateOf, workflowOf } from './runs-columns.tsx';
import { filtersText } from './runs-query.ts';

interface BulkProps {
  list: List<Watch>;
  /** How many rows the filters leave of those that were read. */
  shown: number;
  selection: Chosen<Watch>;
}

/** The most runs that are read to be filtered or selected, and the most deliveries that are read of them. */
export const MOST_RUNS = 10_000;

/** Requests at once. */
const PARALLEL = 4;

/** How far an action is. */
interface Progress {
  done: number;
  total: number;
  of: string;
}

/** What can be done to the runs that are selected. All of these are rows of the table. */
export function BulkActions({ list, shown, selection }: BulkProps) {
  const [isGathering, setGathering] = useState(false);
  const [progress, setProgress] = useState<Progress | null>(null);
  const runs = selection.items;
  const isShown = useIsShown();
  // "Select all" reads the listing to its end, then selects what the table has.
  useEffect(() => {
    if (!isGathering) return;
    if (list.hasMore && list.error === null && list.items.length < MOST_RUNS)
      return list.loadMore();
    setGathering(false);
    if (list.error === null) selection.selectAll();
  });
  const count = runs.length;
  if (count === 0) return null;
  const finish = () => {
    setProgress(null);
    selection.drop(runs);
    list.reload();
  };
  const unwatch = async () => {
    const failed = await forEach(runs, api.unwatch, (done) =>
      setProgress({ done, total: runs.length, of: 'runs' }),
    );
    sayDone('Stopped watching', plural(runs.length - failed, 'run'), failed);
    finish();
  };
  const redeliver = async (deliveries: readonly DeliveryView[]) => {
    const failed = await forEach(
      deliveries,
      ({ id }) => api.redeliver(id),
      (done) => setProgress({ done, total: deliveries.length, of: 'deliveries' }),
    );
    sayDone('Sent again', deliveriesText(deliveries.length - failed), failed);
    finish();
  };
  const askToRedeliver = async () => {
    setProgress({ done: 0, total: count, of: 'runs' });
    try {
      const lost = await lostDeliveries(runs);
      if (!isShown.current) return;
      if (lost.length === 0)
        say(`${plural(count, 'run')}: no delivery waits for an endpoint, is dead or was skipped.`);
      else confirmRedelivery(lost, count, () => void redeliver(lost));
    } catch (error) {
      say(messageOf(error), { isError: true });
    }
    setProgress(null);
  };
  const shownProgress: Progress | null = isGathering
    ? { done: list.items.length, total: list.total ?? list.items.length, of: 'runs read' }
    : progress;
  if (shownProgress !== null) {
    return (
      <div class="bulk" role="status">
        {countText(shownProgress.done)} of {countText(shownProgress.total)} {shownProgress.of}…
      </div>
    );
  }
  return (
    <div class="bulk" role="group" aria-label="Actions on the selected runs">
      <strong class="num">{plural(count, 'selected run')}</strong>
      <SelectAll list={list} shown={shown} chosen={count} onSelect={() => setGathering(true)} />
      <span class="spring" />
      <button
        type="button"
        onClick={() =>
          acknowledge({
            what: plural(count, 'run'),
            about: <Preview runs={runs} />,
            send: async (body) => {
              const failed = await forEach(runs, (watch) => api.acknowledgeRun(watch, body));
              if (failed > 0) throw new Error(`${failed} of ${plural(count, 'run')} failed.`);
            },
            onDone: finish,
          })
        }
      >
        Acknowledge
      </button>
      <button type="button" {...sendingButton()} onClick={() => void askToRedeliver()}>
        Redeliver …
      </button>
      <button
        type="button"
        class="danger"
        onClick={() => confirmUnwatch(runs, () => void unwatch())}
      >
        Unwatch …
      </button>
      <button type="button" class="quiet" onClick={selection.clear}>
        Clear
      </button>
    </div>
  );
}

interface SelectAllProps {
  list: List<Watch>;
  shown: number;
  chosen: number;
  onSelect: () => void;
}

/** Offers the rest of what the filters admit. A number only where it is known. */
function SelectAll({ list, shown, chosen, onSelect }: SelectAllProps) {
  const { hasMore, items, total } = list;
  if (!hasMore && chosen >= shown) return null;
  if (hasMore && items.length >= MOST_RUNS) return null;
  const isFiltered = shown < items.length;
  const matching = hasMore ? (isFiltered ? null : total) : shown;
  const most = matching === null ? '' : `${countText(Math.min(matching, MOST_RUNS))} `;
  return (
    <button type="button" class="quiet" onClick={onSelect}>
      Select all {most}matching
    </button>
  );
}

function sayDone(verb: string, what: string, failed: number): void {
  say(`${verb} ${what}${failed > 0 ? `; ${failed} failed` : ''}.`, { isError: failed > 0 });
}

function confirmUnwatch(runs: readonly Watch[], onYes: () => void): void {
  confirmed({
    title: `Unwatch ${plural(runs.length, 'run')}?`,
    text: <Preview runs={runs} />,
    verb: 'Unwatch',
    isDangerous: true,
    onYes,
  });
}

/** Says how many deliveries go out again, where to, and why they had not arrived. */
function confirmRedelivery(
  deliveries: readonly DeliveryView[],
  runs: number,
  onYes: () => void,
): void {
  const groups = new Map<string, number>();
  for (const { endpoint, state } of deliveries) {
    const group = isOutstanding(state) ? deliveryText(state, endpoint) : `${state}, to ${endpoint}`;
    groups.set(group, (groups.get(group) ?? 0) + 1);
  }
  const shown = [...groups].sort(([, one], [, other]) => other - one).slice(0, 8);
  confirmed({
    title: `Redeliver ${deliveriesText(deliveries.length)}?`,
    text: (
      <>
        <p>
          Of {plural(runs, 'run')}, these did not arrive. They go out again with the same event ids.
        </p>
        <ul class="preview">
          {shown.map(([group, count]) => (
            <li key={group}>
              <span class="num">{countText(count)}</span> {group}
            </li>
          ))}
        </ul>
      </>
    ),
    verb: 'Redeliver',
    onYes,
  });
}

const deliveriesText = (count: number) => plural(count, 'delivery', 'deliveries');

/** A run has a line of its own only among so few. */
const NAMED = 6;

/** What an action is about to touch: a few runs by name and id, more of them by workflow and status. */
function Preview({ runs }: { runs: readonly Watch[] }) {
  const filters = filtersText(address.value.query);
  const groups = groupBy(runs, (watch) => `${workflowOf(watch)} · ${stateOf(watch)}`);
  return (
    <>
      {filters !== '' && <p>Shown are {filters}.</p>}
      <ul class="preview">
        {runs.length <= NAMED
          ? runs.map((watch) => (
              <li key={keyOfRun(watch)}>
                {workflowOf(watch)} · {stateOf(watch)} <span class="mono">{watch.run_id}</span>
              </li>
            ))
          : [...groups].map(([group, { length }]) => (
              <li key={group}>
                <span class="num">{countText(length)}</span> {group}
              </li>
            ))}
      </ul>
    </>
  );
}

/** The states of deliveries that did not arrive, and will not without a user. */
const LOST = 'dead,parked,skipped';

/** Fewer runs than this are asked for one by one. */
const FEW = 20;

/** What did not arrive of some runs: of few, read by run; of many, out of all that did not arrive. */
async function lostDeliveries(runs: readonly Watch[]): Promise<DeliveryView[]> {
  const read = (query: DeliveryQuery) =>
    allPages((paging) => api.deliveries({ ...query, state: LOST, ...paging }));
  if (runs.length <= FEW) {
    const found = runs.map(({ run_id, source }) => read({ run_id, source }));
    return (await Promise.all(found)).flat();
  }
  const found = [...groupBy(runs, ({ source }) => source)].map(async ([source, ofSource]) => {
    const ids = new Set(ofSource.map(({ run_id: id }) => id));
    return (await read({ source })).filter(({ run_id: id }) => ids.has(id));
  });
  return (await Promise.all(found)).flat();
}

async function allPages<Item>(
  read: (paging: { limit: number; cursor: string | undefined }) => Promise<PageView<Item>>,
): Promise<Item[]> {
  const all: Item[] = [];
  let cursor: string | undefined;
  do {
    const page = await read({ limit: PAGE_SIZE, cursor });
    all.push(...page.data);
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined && all.length < MOST_RUNS);
  return all;
}

/** @returns how many failed */
async function forEach<Item>(
  items: readonly Item[],
  change: (item: Item) => Promise<unknown>,
  onProgress: (done: number) => void = () => undefined,
): Promise<number> {
  const left = [...items];
  let failed = 0;
  const work = async () => {
    for (let item = left.pop(); item !== undefined; item = left.pop()) {
      await change(item).catch(() => (failed += 1));
      onProgress(items.length - left.length);
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, work));
  return failed;
}
