import { useState } from 'preact/hooks';
import { api } from '../api/calls.ts';
import { messageOf } from '../api/request.ts';
import type { DeliveryView, PageView } from '../../client/types.ts';
import type { Watch } from '../api/types.ts';
import type { Query } from '../app/router.ts';
import { acknowledge } from '../parts/acknowledge.tsx';
import { confirmed } from '../parts/confirm.tsx';
import { countText, plural } from '../parts/format.ts';
import { PAGE_SIZE, type List } from '../parts/list.ts';
import type { Chosen } from '../parts/table.tsx';
import { say } from '../parts/toast.tsx';

interface BulkProps {
  list: List<Watch>;
  selection: Chosen<Watch>;
  query: Query;
}

/** The most runs that one action of the dashboard takes. */
const MOST = 10_000;

/** Requests at once. */
const PARALLEL = 4;

/** How far an action is. */
interface Progress {
  done: number;
  total: number;
  of: string;
}

/** What can be done to the runs that are selected, or to all that match the filters. */
export function BulkActions({ list, selection, query }: BulkProps) {
  const [isAll, setAll] = useState(false);
  const [progress, setProgress] = useState<Progress | null>(null);
  const chosen = selection.items.length;
  if (chosen === 0) return null;
  const total = list.total ?? list.items.length;
  const count = isAll ? Math.min(total, MOST) : chosen;
  const finish = () => {
    setProgress(null);
    setAll(false);
    selection.clear();
    list.reload();
  };
  const gather = () => (isAll ? allMatching(query) : Promise.resolve(selection.items));
  const unwatch = async () => {
    const runs = await gather();
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
      const lost = await lostDeliveries(await gather());
      if (lost.length === 0)
        say(`${plural(count, 'run')}: no delivery is dead, parked or skipped.`);
      else confirmRedelivery(lost, count, () => void redeliver(lost));
    } catch (error) {
      say(messageOf(error), { isError: true });
    }
    setProgress(null);
  };
  if (progress !== null) {
    return (
      <div class="bulk" role="status">
        {countText(progress.done)} of {countText(progress.total)} {progress.of}…
      </div>
    );
  }
  return (
    <div class="bulk" role="group" aria-label="Actions on the selected runs">
      <strong class="num">{plural(count, isAll ? 'matching run' : 'selected run')}</strong>
      {total > chosen && !isAll && (
        <button type="button" class="quiet" onClick={() => setAll(true)}>
          Select all {countText(Math.min(total, MOST))} matching
        </button>
      )}
      <span class="spring" />
      <button
        type="button"
        onClick={() =>
          acknowledge({
            what: plural(count, 'run'),
            send: async (body) =>
              forEach(await gather(), (watch) => api.acknowledgeRun(watch, body)),
            onDone: finish,
          })
        }
      >
        Acknowledge
      </button>
      <button type="button" onClick={() => void askToRedeliver()}>
        Redeliver …
      </button>
      <button
        type="button"
        class="danger"
        onClick={() => confirmUnwatch(selection.items, count, () => void unwatch())}
      >
        Unwatch …
      </button>
      <button type="button" class="quiet" onClick={selection.clear}>
        Clear
      </button>
    </div>
  );
}

function sayDone(verb: string, what: string, failed: number): void {
  say(`${verb} ${what}${failed > 0 ? `; ${failed} failed` : ''}.`, { isError: failed > 0 });
}

function confirmUnwatch(items: readonly Watch[], count: number, onYes: () => void): void {
  confirmed({
    title: `Unwatch ${plural(count, 'run')}?`,
    text: <Preview items={items} count={count} />,
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
    const group = `${state}, to ${endpoint}`;
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

function Preview({ items, count }: { items: readonly Watch[]; count: number }) {
  const shown = items.slice(0, 5);
  return (
    <ul class="preview">
      {shown.map(({ run_id: id }) => (
        <li key={id} class="mono">
          {id}
        </li>
      ))}
      {count > shown.length && <li class="faint">and {countText(count - shown.length)} more</li>}
    </ul>
  );
}

/** The states of deliveries that did not arrive, and will not without a user. */
const LOST = 'dead,parked,skipped';

/** Fewer runs than this are asked for one by one. */
const FEW = 20;

/** What did not arrive of some runs: of few, read by run; of many, out of all that did not arrive. */
async function lostDeliveries(runs: readonly Watch[]): Promise<DeliveryView[]> {
  if (runs.length > FEW) {
    const ids = new Set(runs.map(({ run_id: id }) => id));
    const all = await allPages((paging) => api.deliveries({ state: LOST, ...paging }));
    return all.filter(({ run_id: id }) => ids.has(id));
  }
  const found = await Promise.all(
    runs.map(({ run_id: id }) =>
      allPages((paging) => api.deliveries({ run_id: id, state: LOST, ...paging })),
    ),
  );
  return found.flat();
}

function allMatching(query: Query): Promise<Watch[]> {
  return allPages((paging) => api.watches({ ...query, ...paging }));
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
  } while (cursor !== undefined && all.length < MOST);
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
