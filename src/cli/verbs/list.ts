import { Option } from 'commander';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DaemonClient } from '../../client/client.ts';
import type { PageView, SourceView, WatchQuery, WatchView } from '../../client/types.ts';
import { messageOf, RunwatchError } from '../../core/errors.ts';
import { percentText, RUN_FIELDS, type ListedFieldName } from '../../core/run/snapshot.ts';
import { WATCH_STATES } from '../../core/watch/watch.ts';
import type { CommandLine } from '../command-line.ts';
import { usageError } from '../exit.ts';
import {
  addFilterFlags,
  addListingFlags,
  idTextsFor,
  openListing,
  showListing,
  tableOf,
  timeFilters,
  workflowIds,
  type Asking,
  type Listing,
  type ListingFlags,
  type TableView,
} from '../listing.ts';
import { collectPair, knownStatuses, watchStates } from '../options.ts';
import type { Column } from '../render/table.ts';
import { moreText, plain, paint, relative, roughly, upcoming } from '../render/text.ts';
import { note, noteDiscovery } from '../report.ts';
import { daemonCommand } from '../verb.ts';

interface ListFlags extends ListingFlags {
  watch?: boolean;
}

const WATCHES: Listing<WatchView, WatchQuery, ListFlags> = {
  what: ['watch', 'watches'],
  none: 'No watches. `runwatch watch <run-id>` begins one.',
  filters: {
    state: new Option(
      '--state <state>',
      `of the watch; several by comma: ${WATCH_STATES.join(', ')}`,
    ).argParser(watchStates),
    status: new Option(
      '--status <status>',
      'of the run, such as running; several by comma',
    ).argParser(knownStatuses),
    source: new Option('--source <name>', 'the source that the runs belong to'),
    workflow_id: {
      option: new Option('--workflow <name>', 'the name or id of the workflow; several by comma'),
      read: (name: string, { client }: Asking) => workflowIds(name, client),
    },
    batch: new Option('--batch <name>', 'in the batch of this name or id'),
    metadata: new Option(
      '--meta <key=value>',
      'with this in the metadata of the watch; may be repeated',
    ).argParser(collectPair),
    ...timeFilters('status last changed'),
    order: new Option(
      '--order <order>',
      'newest first by which time (default: registered, with --since changed)',
    ).choices(['registered', 'changed']),
  },
  adapt: (query) => {
    const isBounded = query.since !== undefined || query.until !== undefined;
    return { order: isBounded ? 'changed' : undefined, ...query };
  },
  list: (client, query) => client.listWatches(query),
  page: { path: '/runs', names: { workflow_id: 'workflow', metadata: 'q' } },
  columns: columnsFor,
  advise: noteSources,
};

export function addListVerb(cli: CommandLine): void {
  const list = daemonCommand<'GET /v1/watches'>(cli.program, 'list', 'read').description(
    'list watches, the newest first',
  );
  addListingFlags(addFilterFlags(list, WATCHES.filters), WATCHES.page)
    .option(
      '--watch',
      'show it anew until Ctrl-C: every two seconds, off a terminal at each change',
    )
    .addHelpText('after', HELP)
    .action((flags: ListFlags) => cli.run(() => listWatches(cli, flags)));
}

const HELP = `
Examples:
  runwatch list
  runwatch list --status failed,stopped --since 1h
  runwatch list --workflow invoices --meta team=ml --watch
  runwatch list --status failed --web
  runwatch list --all --json | jq -r '.data[].run_id'`;

async function listWatches(cli: CommandLine, flags: ListFlags): Promise<number> {
  if (flags.watch === true && flags.json === true) {
    throw usageError('--watch is for people; `runwatch events --follow --json` is for programs');
  }
  if (flags.watch === true) {
    const { read } = await openListing(cli, WATCHES, flags);
    return cli.io.stdout.isTty
      ? liveTable(cli, async () => renderPage(await read(), cli, flags))
      : printChanges(cli, read, flags);
  }
  return showListing(cli, WATCHES, flags);
}

/** A page as it is shown anew again and again. */
function renderPage(page: PageView<WatchView>, cli: CommandLine, flags: ListFlags): string {
  if (page.data.length === 0) return 'Nothing matches now.\n';
  const more = moreText(page, ...WATCHES.what);
  const table = tableOf(cli, page.data, columnsFor, flags.wide);
  return `${table}${more === null ? '' : `${more}\n`}`;
}

/** Between two requests to the daemon, ms. */
const EVERY_MS = 2_000;

/** Shows a text anew again and again, in place, until Ctrl-C. */
async function liveTable(
  { io: { stdout }, now, signal }: CommandLine,
  render: () => Promise<string>,
): Promise<never> {
  let shown = await render();
  // The alternate screen, without a cursor; what stood there before comes back.
  stdout.write('\u001b[?1049h\u001b[?25l');
  try {
    for (;;) {
      const time = new Date(now()).toISOString().slice(11, 19);
      stdout.write(frameOf(`${time} UTC, every 2 s; Ctrl-C ends\n\n${shown}`, stdout.rows));
      await sleep(EVERY_MS, undefined, { signal });
      shown = await render().catch(ifItMayPass);
    }
  } finally {
    stdout.write('\u001b[?25h\u001b[?1049l');
  }
}

/** Prints a page below the one before whenever another one is due, for a pipe or a log, until Ctrl-C. */
async function printChanges(
  cli: CommandLine,
  read: () => Promise<PageView<WatchView>>,
  flags: ListFlags,
): Promise<never> {
  const { io, now, signal } = cli;
  const { stdout, stderr } = io;
  let page: PageView<WatchView> | string = await read();
  let printed = '';
  for (;;) {
    const state =
      typeof page === 'string'
        ? page
        : stateOf(page, { now: now(), colors: stdout.colors, idTexts: idTextsFor(stdout) });
    if (state !== printed) {
      if (typeof page === 'string') note(stderr, page.trimEnd());
      else stdout.write(`${new Date(now()).toISOString()}\n${renderPage(page, cli, flags)}\n`);
    }
    printed = state;
    await sleep(EVERY_MS, undefined, { signal });
    page = await read().catch(ifItMayPass);
  }
}

/** What makes another page: all that a table shows, but for what only time or a poll changes. */
function stateOf({ data, total }: PageView<WatchView>, view: TableView): string {
  const columns = columnsFor(data, view).filter(({ passes }) => passes !== true);
  return JSON.stringify([total, data.map((watch) => columns.map(({ value }) => value(watch)))]);
}

/** A daemon that restarts is waited for. */
function ifItMayPass(error: unknown): string {
  if (error instanceof RunwatchError && error.retriable) return `${plain(messageOf(error))}\n`;
  throw error;
}

/** Overwrites what stands on the screen line by line, so that nothing flickers. */
function frameOf(text: string, rows: number): string {
  const lines = text.trimEnd().split('\n');
  const fitting = lines.length < rows ? lines : [...lines.slice(0, rows - 2), '…'];
  return `\u001b[H${fitting.map((line) => `${line}\u001b[K`).join('\n')}\u001b[J`;
}

/** Names may be cut, and ids may not. */
function workflowColumn(
  watches: readonly WatchView[],
  idTexts: TableView['idTexts'],
): Column<WatchView> {
  const idText = idTexts(watches.flatMap(({ run }) => run?.workflow_id ?? []));
  const isNamed = watches.some(({ workflow_name: name }) => name !== null);
  return {
    head: RUN_FIELDS.workflow_id.column,
    value: ({ workflow_name: name, run }) =>
      name ?? (run?.workflow_id ? idText(run.workflow_id) : '-'),
    ...(!isNamed && { keep: 'whole' }),
  };
}

/** The state of the watch, with a mark where something is wrong or a user has taken it in hand. */
function stateText({ state, error, acknowledged }: WatchView): string {
  return `${state}${error === null ? '' : '!'}${acknowledged === null ? '' : ' (ack)'}`;
}

function columnsFor(
  watches: readonly WatchView[],
  { now, colors, idTexts }: TableView,
): readonly Column<WatchView>[] {
  const idText = idTexts(watches.map(({ run_id: runId }) => runId));
  const severalSources = new Set(watches.map(({ source }) => source)).size > 1;
  const { id, status, progress } = RUN_FIELDS;
  const ofRun: Record<ListedFieldName, Column<WatchView>> = {
    id: {
      head: id.column,
      value: (watch) => idText(watch.run_id),
      keep: 'always',
      link: (watch) => watch.run_url,
    },
    status: {
      head: status.column,
      value: (watch) => watch.run?.status ?? '-',
      paint: (text, watch) => paint(text, watch.run?.status ?? '', colors),
    },
    progress: {
      head: progress.column,
      value: (watch) => percentText(watch.run?.progress),
      align: 'right',
    },
    workflow_id: workflowColumn(watches, idTexts),
  };
  const { id: run, ...others } = ofRun;
  return [
    run,
    ...(severalSources ? [{ head: 'SOURCE', value: ({ source }: WatchView) => source }] : []),
    ...Object.values(others),
    {
      head: 'CHANGED',
      value: (watch) => relative(watch.changed_at, now),
      passes: true,
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
      passes: true,
    },
    { head: 'NEXT POLL', value: (watch) => upcoming(watch.next_poll_at, now), passes: true },
    { head: 'LAST POLL', value: (watch) => relative(watch.last_polled_at, now), passes: true },
    { head: 'NOTIFIES', value: (watch) => String(watch.subscriptions.length), align: 'right' },
  ];
}

/**
 * Says on stderr which polls are overdue, or which runs are read too rarely, and what would help; where nothing is
 * watched, what discovery has done. Nothing where that cannot be known.
 */
async function noteSources(
  { io }: CommandLine,
  client: Pick<DaemonClient, 'listSources'>,
  { isEmpty }: { isEmpty: boolean },
): Promise<void> {
  const page = await client.listSources().catch(() => null);
  if (isEmpty) return noteDiscovery(io, page?.data ?? []);
  for (const source of page?.data ?? []) {
    const message = latenessOf(source);
    if (message !== undefined) note(io.stderr, plain(message));
  }
}

/** Both are absent from a daemon that does not know them. */
function latenessOf({ overdue, reads }: SourceView): string | undefined {
  const isRare = (reads?.beyond_max_interval ?? 0) > 0;
  return overdue?.message ?? (isRare ? reads?.message : undefined);
}
