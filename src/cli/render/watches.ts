import type { WatchView } from '../../client/types.ts';
import { percentText } from '../../core/run/snapshot.ts';
import type { Output } from '../context.ts';
import { renderTable, type Column } from './table.ts';
import { paint, relative, roughly, upcoming } from './text.ts';

interface Place {
  now: () => number;
  output: Output;
}

/** Watches as a table, the most useful columns first. */
export function renderWatches(watches: readonly WatchView[], { now, output }: Place): string {
  const severalSources = new Set(watches.map(({ source }) => source)).size > 1;
  const [run, ...others] = columnsFor(watches, now(), output);
  const source: Column<WatchView> = { head: 'SOURCE', value: (watch) => watch.source };
  const columns = [
    ...(run === undefined ? [] : [run]),
    ...(severalSources ? [source] : []),
    ...others,
  ];
  return renderTable(watches, columns, output);
}

/** Names may be cut, and ids may not. */
function workflowColumn(watches: readonly WatchView[]): Column<WatchView>[] {
  const isNamed = watches.some(({ workflow_name: name }) => name !== null);
  return [
    {
      head: 'WORKFLOW',
      value: ({ workflow_name: name, run }) => name ?? run?.workflow_id ?? '-',
      ...(!isNamed && { keep: 'whole' }),
    },
  ];
}

/** The state of the watch, with a mark where something is wrong or a user has taken it in hand. */
function stateText({ state, error, acknowledged }: WatchView): string {
  return `${state}${error === null ? '' : '!'}${acknowledged === null ? '' : ' (ack)'}`;
}

function columnsFor(
  watches: readonly WatchView[],
  now: number,
  { colors }: Output,
): Column<WatchView>[] {
  return [
    {
      head: 'RUN',
      value: (watch) => watch.run_id,
      keep: 'always',
      link: (watch) => watch.run_url,
    },
    {
      head: 'STATUS',
      value: (watch) => watch.run?.status ?? '-',
      paint: (text, watch) => paint(text, watch.run?.status ?? '', colors),
    },
    {
      head: 'PROGRESS',
      value: (watch) => percentText(watch.run?.progress),
      align: 'right',
    },
    ...workflowColumn(watches),
    {
      head: 'CHANGED',
      value: (watch) => relative(watch.changed_at, now),
    },
    {
      head: 'STATE',
      value: stateText,
      paint: (text, watch) =>
        watch.error === null ? paint(text, watch.state, colors) : colors.red(text),
    },
    {
      head: 'AGE',
      value: (watch) => roughly(now - Date.parse(watch.registered_at)),
      align: 'right',
    },
    { head: 'NEXT POLL', value: (watch) => upcoming(watch.next_poll_at, now) },
    { head: 'LAST POLL', value: (watch) => relative(watch.last_polled_at, now) },
    { head: 'NOTIFIES', value: (watch) => String(watch.subscriptions.length), align: 'right' },
  ];
}
