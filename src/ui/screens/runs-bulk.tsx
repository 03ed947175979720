import { useState } from 'preact/hooks';
import { api } from '../api/calls.ts';
import type { Query } from '../api/request.ts';
import type { Watch } from '../api/types.ts';
import { acknowledge } from '../parts/acknowledge.tsx';
import { confirmed } from '../parts/confirm.tsx';
import { countText, plural } from '../parts/format.ts';
import { PAGE_SIZE, type List } from '../parts/list.ts';
import type { Chosen } from '../parts/selection.ts';
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

/** What can be done to the runs that are selected, or to all that match the filters. */
export function BulkActions({ list, selection, query }: BulkProps) {
  const [isAll, setAll] = useState(false);
  const [done, setDone] = useState<number | null>(null);
  const chosen = selection.items.length;
  if (chosen === 0) return null;
  const total = list.total ?? list.items.length;
  const count = isAll ? Math.min(total, MOST) : chosen;
  const finish = () => {
    setDone(null);
    setAll(false);
    selection.clear();
    list.reload();
  };
  const gather = () => (isAll ? allMatching(query) : Promise.resolve(selection.items));
  const run = async (verb: string, change: (watch: Watch) => Promise<unknown>) => {
    setDone(0);
    const failed = await forEach(await gather(), change, setDone);
    say(`${verb} ${plural(count - failed, 'run')}${failed > 0 ? `; ${failed} failed` : ''}.`, {
      isError: failed > 0,
    });
    finish();
  };
  const ask = (verb: string, done_: string, change: (watch: Watch) => Promise<unknown>) =>
    confirmed({
      title: `${verb} ${plural(count, 'run')}?`,
      text: <Preview items={selection.items} count={count} />,
      verb,
      isDangerous: verb === 'Unwatch',
      onYes: () => void run(done_, change),
    });
  if (done !== null) {
    return (
      <div class="bulk" role="status">
        {countText(done)} of {countText(count)} done…
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
      <button
        type="button"
        onClick={() => ask('Redeliver', 'Sent again the events of', redeliverOf)}
      >
        Redeliver
      </button>
      <button
        type="button"
        class="danger"
        onClick={() => ask('Unwatch', 'Stopped watching', (watch) => api.unwatch(watch))}
      >
        Unwatch
      </button>
      <button type="button" class="quiet" onClick={selection.clear}>
        Clear
      </button>
    </div>
  );
}

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

/** Sends again what did not arrive. */
async function redeliverOf({ run_id: id }: Watch): Promise<void> {
  const { data } = await api.deliveries({ run_id: id, limit: PAGE_SIZE });
  const lost = data.filter(({ state }) => /^(dead|parked|skipped)$/.test(state));
  for (const { id: delivery } of lost) await api.redeliver(delivery);
}

async function allMatching(query: Query): Promise<Watch[]> {
  const all: Watch[] = [];
  let cursor: string | undefined;
  do {
    const page = await api.watches({ ...query, limit: PAGE_SIZE, cursor });
    all.push(...page.data);
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined && all.length < MOST);
  return all;
}

/** @returns how many failed */
async function forEach(
  items: readonly Watch[],
  change: (watch: Watch) => Promise<unknown>,
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
