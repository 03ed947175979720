import { Option } from 'commander';
import type { DaemonClient } from '../../client/client.ts';
import { collectPages } from '../../client/client.ts';
import type { Query } from '../../client/transport.ts';
import type { PageView, WatchView } from '../../client/types.ts';
import { WATCH_STATES } from '../../core/watch/watch.ts';
import { widened, type CliContext } from '../context.ts';
import { EXIT, usageError } from '../exit.ts';
import {
  addListingFlags,
  addMetaFlag,
  addTimeFlags,
  limitOf,
  metaQuery,
  timeQuery,
  type ListingFlags,
  type Meta,
  type TimeFlags,
} from '../filters.ts';
import { liveTable } from '../live.ts';
import { knownStatuses, watchStates } from '../options.ts';
import { noteOverdue } from '../overdue.ts';
import { renderWatches } from '../render/watches.ts';
import { moreText } from '../render/text.ts';
import { note, writeJson } from '../report.ts';
import { connect, daemonCommand, type DaemonFlags, type VerbHost, whyNothing } from '../verb.ts';
import { workflowIds } from '../workflows.ts';

interface ListFlags extends DaemonFlags, ListingFlags, TimeFlags {
  state?: string;
  status?: string;
  source?: string;
  workflow?: string;
  meta?: Meta;
  order?: string;
  watch?: boolean;
}

export function addListVerb(host: VerbHost): void {
  const list = daemonCommand(host, 'list', 'read')
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
    .option('--watch', 'show it anew every two seconds, until Ctrl-C')
    .addHelpText('after', HELP)
    .action((flags: ListFlags) => host.run((context) => listWatches(context, flags)));
}

const HELP = `
Examples:
  runwatch list
  runwatch list --status failed,stopped --since 1h
  runwatch list --workflow invoices --meta team=ml --watch
  runwatch list --all --json | jq -r '.data[].run_id'`;

async function listWatches(context: CliContext, flags: ListFlags): Promise<number> {
  if (flags.watch === true && flags.json === true) {
    throw usageError('--watch is for people; `runwatch events --follow --json` is for programs');
  }
  const client = connect(context, flags);
  const filters = await filtersOf(client, context, flags);
  const read = () => readWatches(client, filters, limitOf(flags));
  if (flags.watch === true) {
    return liveTable(context, async () => renderPage(await read(), context, flags));
  }
  const page = await read();
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
  stdout.write(renderWatches(page.data, { ...context, output: widened(stdout, flags.wide) }));
  const more = moreText(page, 'watch', 'watches');
  if (more !== null) note(stderr, more);
  await noteOverdue(context, client);
  return EXIT.ok;
}

async function filtersOf(
  client: DaemonClient,
  context: CliContext,
  flags: ListFlags,
): Promise<Query> {
  const { state, status, source, workflow, meta, order } = flags;
  const times = timeQuery(flags, context.now());
  const isBounded = times.since !== undefined || times.until !== undefined;
  return {
    state,
    status,
    source,
    workflow_id: await workflowIds(workflow, client),
    ...metaQuery(meta),
    ...times,
    order: order ?? (isBounded ? 'changed' : undefined),
  };
}

function readWatches(
  client: DaemonClient,
  filters: Query,
  limit: number,
): Promise<PageView<WatchView>> {
  return collectPages((paging) => client.listWatches({ ...filters, ...paging }), limit);
}

/** A page as it is shown anew again and again. */
function renderPage(page: PageView<WatchView>, context: CliContext, flags: ListFlags): string {
  if (page.data.length === 0) return 'Nothing matches now.\n';
  const output = widened(context.io.stdout, flags.wide);
  const more = moreText(page, 'watch', 'watches');
  return `${renderWatches(page.data, { ...context, output })}${more === null ? '' : `${more}\n`}`;
}
