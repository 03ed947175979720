import { percentText } from '../../core/run/snapshot.ts';
import { WATCH_STATES } from '../../core/watch/watch.ts';
import type { CliContext } from '../context.ts';
import { EXIT } from '../exit.ts';
import { noteOverdue } from '../overdue.ts';
import { knownStatuses, positiveInteger, watchStates } from '../options.ts';
import { collectPages } from '../../client/client.ts';
import type { Query } from '../../client/transport.ts';
import { paint, relative, roughly, upcoming } from '../render/text.ts';
import { renderTable, type Column } from '../render/table.ts';
import { note, writeJson } from '../report.ts';
import { connect, daemonCommand, type DaemonFlags, type VerbHost, whyNothing } from '../verb.ts';
import type { WatchView } from '../../client/types.ts';

interface ListFlags extends DaemonFlags {
  state?: string;
  status?: string;
  source?: string;
  workflow?: string;
  limit: number;
  all?: boolean;
  json?: boolean;
}

export function addListVerb(host: VerbHost): void {
  daemonCommand(host, 'list', 'read')
    .description('list watches, the newest first')
    .option(
      '--state <state>',
      `of the watch; several by comma: ${WATCH_STATES.join(', ')}`,
      watchStates,
    )
    .option('--status <status>', 'of the run, such as running; several by comma', knownStatuses)
    .option('--source <name>', 'the source that the runs belong to')
    .option('--workflow <id>', 'the workflow that the runs belong to')
    .option('--limit <n>', 'how many at most', positiveInteger, 50)
    .option('--all', 'all of them')
    .option('--json', "print the API's answer")
    .addHelpText('after', HELP)
    .action((flags: ListFlags) => host.run((context) => list(context, flags)));
}

const HELP = `
Examples:
  runwatch list
  runwatch list --state active --status awaiting_human_feedback
  runwatch list --all --json | jq -r '.data[].run_id'`;

async function list(context: CliContext, flags: ListFlags): Promise<number> {
  const client = connect(context, flags);
  const { state, status, source, workflow } = flags;
  const filters = { state, status, source, workflow_id: workflow };
  const page = await collectPages(
    (paging) => client.listWatches({ ...filters, ...paging }),
    flags.all === true ? Infinity : flags.limit,
  );
  const { stdout, stderr } = context.io;
  if (flags.json === true) {
    writeJson(stdout, page);
    return EXIT.ok;
  }
  if (page.data.length === 0) {
    const none = 'No watches. `runwatch watch <run-id>` begins one.';
    const any = (query: Query) => client.listWatches(query);
    note(stderr, await whyNothing({ what: 'watch', none, filters, list: any }));
    return EXIT.ok;
  }
  stdout.write(renderTable(page.data, columnsFor(page.data, context), stdout));
  if (page.next_cursor !== null) {
    note(stderr, 'There are more; --limit or --all shows them.');
  }
  await noteOverdue(context, client);
  return EXIT.ok;
}

function columnsFor(watches: readonly WatchView[], context: CliContext): Column<WatchView>[] {
  const now = context.now();
  const { colors } = context.io.stdout;
  const severalSources = new Set(watches.map(({ source }) => source)).size > 1;
  const columns: Column<WatchView>[] = [
    { head: 'RUN', value: (watch) => watch.run_id },
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
    {
      head: 'STATE',
      value: (watch) => (watch.error === null ? watch.state : `${watch.state}!`),
      paint: (text, watch) =>
        watch.error === null ? paint(text, watch.state, colors) : colors.red(text),
    },
    {
      head: 'AGE',
      value: (watch) => roughly(now - Date.parse(watch.registered_at)),
      align: 'right',
    },
    { head: 'LAST POLL', value: (watch) => relative(watch.last_polled_at, now) },
    { head: 'NEXT POLL', value: (watch) => upcoming(watch.next_poll_at, now) },
    { head: 'NOTIFIES', value: (watch) => String(watch.subscriptions.length), align: 'right' },
  ];
  if (!severalSources) return columns;
  return [...columns.slice(0, 1), { head: 'SOURCE', value: (w) => w.source }, ...columns.slice(1)];
}
