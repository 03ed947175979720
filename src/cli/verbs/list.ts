import { setTimeout as sleep } from 'node:timers/promises';
import { Option } from 'commander';
import type { DaemonClient } from '../../client/client.ts';
import { collectPages } from '../../client/pages.ts';
import type { PageView, WatchQuery, WatchView } from '../../client/types.ts';
import { messageOf, RunwatchError } from '../../core/errors.ts';
import { percentText, RUN_FIELDS, type ListedFieldName } from '../../core/run/snapshot.ts';
import { WATCH_STATES } from '../../core/watch/watch.ts';
import type { CommandLine } from '../command-line.ts';
import { widened, type Output } from '../output.ts';
import { EXIT, usageError } from '../exit.ts';
import {
  addListingFlags,
  addMetaFlag,
  addTimeFlags,
  limitOf,
  timeQuery,
  type ListingFlags,
  type Meta,
  type TimeFlags,
  workflowIds,
  showListing,
} from '../listing.ts';
import { knownStatuses, watchStates } from '../options.ts';
import { renderTable, type Column } from '../render/table.ts';
import { moreText, plain, paint, relative, roughly, upcoming } from '../render/text.ts';
import { note } from '../report.ts';
import { daemonCommand, type DaemonFlags } from '../verb.ts';

interface ListFlags extends DaemonFlags, ListingFlags, TimeFlags {
  state?: string;
  status?: string;
  source?: string;
  workflow?: string;
  meta?: Meta;
  order?: WatchQuery['order'];
  watch?: boolean;
}

export function addListVerb(cli: CommandLine): void {
  const list = daemonCommand(cli.program, 'list', 'read')
    .description('list watches, the newest first')
    .option(
      '--state <state>',
      `of the watch; several by comma: ${WATCH_STATES.join(', ')}`,
      watchStates,
    )
    .option('--status <status>', 'of the run, such as running; several by comma', knownStatuses)
    .option('--source <name>', 'the source that the runs belong to')
    .option('--workflow <name>', 'the name or id of the workflow; several by comma');
  addMetaFlag(list);
  addTimeFlags(list, 'status last changed');
  list.addOption(
    new Option(
      '--order <order>',
      'newest first by which time (default: registered, with --since changed)',
    ).choices(['registered', 'changed']),
  );
  addListingFlags(list)
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
  runwatch list --all --json | jq -r '.data[].run_id'`;

async function listWatches(cli: CommandLine, flags: ListFlags): Promise<number> {
  if (flags.watch === true && flags.json === true) {
    throw usageError('--watch is for people; `runwatch events --follow --json` is for programs');
  }
  const client = await cli.connect(flags);
  const filters = await filtersOf(client, cli, flags);
  const read = () => readWatches(client, filters, limitOf(flags));
  if (flags.watch === true) {
    const render = (page: PageView<WatchView>) => renderPage(page, cli, flags);
    return cli.io.stdout.isTty
      ? liveTable(cli, async () => render(await read()))
      : printChanges(cli, read, render);
  }
  const page = await read();
  await showListing(cli.io, flags, {
    page,
    what: ['watch', 'watches'],
    none: 'No watches. `runwatch watch <run-id>` begins one.',
    filters,
    list: (query) => client.listWatches(query),
    render: (watches, output) => renderWatches(watches, cli.now(), output),
  });
  if (flags.json !== true && page.data.length > 0) await noteOverdue(cli, client);
  return EXIT.ok;
}

async function filtersOf(
  client: DaemonClient,
  cli: CommandLine,
  flags: ListFlags,
): Promise<WatchQuery> {
  const { state, status, source, workflow, meta, order } = flags;
  const times = timeQuery(flags, cli.now());
  const isBounded = times.since !== undefined || times.until !== undefined;
  return {
    state,
    status,
    source,
    workflow_id: await workflowIds(workflow, client),
    metadata: meta,
    ...times,
    order: order ?? (isBounded ? 'changed' : undefined),
  };
}

function readWatches(
  client: DaemonClient,
  filters: WatchQuery,
  limit: number,
): Promise<PageView<WatchView>> {
  return collectPages((paging) => client.listWatches({ ...filters, ...paging }), limit);
}

/** A page as it is shown anew again and again. */
function renderPage(page: PageView<WatchView>, cli: CommandLine, flags: ListFlags): string {
  if (page.data.length === 0) return 'Nothing matches now.\n';
  const output = widened(cli.io.stdout, flags.wide);
  const more = moreText(page, 'watch', 'watches');
  return `${renderWatches(page.data, cli.now(), output)}${more === null ? '' : `${more}\n`}`;
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
  { io: { stdout, stderr }, now, signal }: CommandLine,
  read: () => Promise<PageView<WatchView>>,
  render: (page: PageView<WatchView>) => string,
): Promise<never> {
  let page: PageView<WatchView> | string = await read();
  let printed = '';
  for (;;) {
    const state = typeof page === 'string' ? page : stateOf(page);
    if (state !== printed) {
      if (typeof page === 'string') note(stderr, page.trimEnd());
      else stdout.write(`${new Date(now()).toISOString()}\n${render(page)}\n`);
    }
    printed = state;
    await sleep(EVERY_MS, undefined, { signal });
    page = await read().catch(ifItMayPass);
  }
}

/** What makes another page: all that a table shows, but for what only time or a poll changes. */
function stateOf({ data, total }: PageView<WatchView>): string {
  const rows = data.map((watch) => [
    watch.run_id,
    watch.source,
    watch.run?.status,
    watch.run?.progress,
    watch.workflow_name,
    stateText(watch),
    watch.subscriptions.length,
  ]);
  return JSON.stringify([total, rows]);
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

/** Watches as a table, the most useful columns first. */
function renderWatches(watches: readonly WatchView[], now: number, output: Output): string {
  const severalSources = new Set(watches.map(({ source }) => source)).size > 1;
  const [run, ...others] = columnsFor(watches, now, output);
  const source: Column<WatchView> = { head: 'SOURCE', value: (watch) => watch.source };
  const columns = [
    ...(run === undefined ? [] : [run]),
    ...(severalSources ? [source] : []),
    ...others,
  ];
  return renderTable(watches, columns, output);
}

/** Names may be cut, and ids may not. */
function workflowColumn(watches: readonly WatchView[]): Column<WatchView> {
  const isNamed = watches.some(({ workflow_name: name }) => name !== null);
  return {
    head: RUN_FIELDS.workflow_id.column,
    value: ({ workflow_name: name, run }) => name ?? run?.workflow_id ?? '-',
    ...(!isNamed && { keep: 'whole' }),
  };
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
  const { id, status, progress } = RUN_FIELDS;
  const ofRun: Record<ListedFieldName, Column<WatchView>> = {
    id: {
      head: id.column,
      value: (watch) => watch.run_id,
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
    workflow_id: workflowColumn(watches),
  };
  return [
    ...Object.values(ofRun),
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

/**
 * Says on stderr which polls are overdue, or which runs are read too rarely, and what would help; nothing
 * where that cannot be known.
 */
async function noteOverdue(
  { io }: CommandLine,
  client: Pick<DaemonClient, 'listSources'>,
): Promise<void> {
  const page = await client.listSources().catch(() => null);
  for (const { overdue, reads } of page?.data ?? []) {
    // Both are absent from a daemon that does not know them.
    const isRare = (reads?.beyond_max_interval ?? 0) > 0;
    const message = overdue?.message ?? (isRare ? reads?.message : undefined);
    if (message !== undefined) note(io.stderr, plain(message));
  }
}
