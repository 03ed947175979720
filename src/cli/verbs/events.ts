import { Option } from 'commander';
import type { DaemonClient } from '../../client/client.ts';
import { collectPages } from '../../client/pages.ts';
import type { AnyEventView, EventStreamQuery } from '../../client/types.ts';
import { DEFAULT_SYSTEM_EVENTS, EVENT_TYPES } from '../../core/event/event.ts';
import type { CommandLine } from '../command-line.ts';
import { EXIT, usageError } from '../exit.ts';
import {
  addListingFlags,
  addTimeFlags,
  limitOf,
  timeQuery,
  type ListingFlags,
  type TimeFlags,
  workflowIds,
  showListing,
} from '../listing.ts';
import { eventTypes } from '../options.ts';
import { eventLine, renderEvents } from '../render/events.ts';
import { plain } from '../render/text.ts';
import { note, writeJsonLine } from '../report.ts';
import { resolveId, resolveRun } from '../resolve.ts';
import { daemonCommand, type DaemonFlags } from '../verb.ts';

interface EventFlags extends DaemonFlags, ListingFlags, TimeFlags {
  run?: string;
  type?: string;
  workflow?: string;
  after?: string;
  order?: 'newest' | 'oldest';
  progress?: boolean;
  follow?: boolean;
}

export function addEventsVerb(cli: CommandLine): void {
  const events = daemonCommand(cli.program, 'events', 'read')
    .description('list events, the newest first, or follow them')
    .option('--run <run-id>', 'of one run')
    .option(
      '--type <type>',
      'of this type; several by comma, families as run.* or alert.*',
      eventTypes,
    )
    .option('--workflow <name>', 'of the runs of a workflow, by its name or id')
    .option('--progress', 'also each step of progress (run.progress)');
  addTimeFlags(events, 'detected')
    .option('--after <id>', 'only what came after the event of this id, or after a cursor')
    .option('-f, --follow', 'print events as they happen, from now on or from --after on')
    .addOption(
      new Option(
        '--order <order>',
        'the end to begin at (default: newest, with --after oldest)',
      ).choices(['newest', 'oldest']),
    );
  addListingFlags(events)
    .addHelpText('after', HELP)
    .action((flags: EventFlags) => cli.run(() => showEvents(cli, flags)));
}

const HELP = `
Steps of progress are left out unless --progress, --type or --all asks for them. Events of alerts
and, but for a source that cannot be reached, of runwatch itself are listed where --type names them:
alert.*, system.*. --follow outlives restarts of the daemon: it goes on after the last event that it saw.

Examples:
  runwatch events --since 1h
  runwatch events --run 6f1c9a52 --all
  runwatch events --type run.failed,run.stopped --workflow invoices
  runwatch events --type alert.*,system.* --since 1d
  runwatch events --follow --json | jq -r '[.type, .data.run_id] | @tsv'`;

async function showEvents(cli: CommandLine, flags: EventFlags): Promise<number> {
  if (flags.follow === true) refuseWithFollow(flags);
  const client = await cli.connect(flags);
  const resolver = { client, cli };
  const filters: EventStreamQuery = {
    run_id: flags.run === undefined ? undefined : await resolveRun(flags.run, resolver),
    type: flags.type,
    workflow_id: await workflowIds(flags.workflow, client),
  };
  const after = await resolveAfter(flags.after, resolver);
  return flags.follow === true
    ? follow(client, cli, { flags, filters, after })
    : listEvents(client, cli, { flags, filters, after });
}

function refuseWithFollow({ limit, since, until, order }: EventFlags): void {
  const given = { '--limit': limit, '--since': since, '--until': until, '--order': order };
  for (const [flag, value] of Object.entries(given)) {
    if (value === undefined) continue;
    throw usageError(`${flag} is of no use with --follow, which prints what comes until Ctrl-C`);
  }
}

/** The id of an event, perhaps typed in part; a cursor is passed on unchanged. */
async function resolveAfter(
  after: string | undefined,
  resolver: Parameters<typeof resolveId>[2],
): Promise<string | undefined> {
  return after?.startsWith('evt_') === true ? resolveId(after, 'event', resolver) : after;
}

interface Asked {
  flags: EventFlags;
  filters: EventStreamQuery;
  after: string | undefined;
}

function wantsProgress({ type, progress, all }: EventFlags): boolean {
  return type !== undefined || progress === true || all === true;
}

/** All types but steps of progress, which are many and say little. */
const WITHOUT_PROGRESS = [...EVENT_TYPES, ...DEFAULT_SYSTEM_EVENTS]
  .filter((type) => type !== 'run.progress')
  .join(',');

async function listEvents(
  client: DaemonClient,
  cli: CommandLine,
  { flags, filters, after }: Asked,
): Promise<number> {
  const asked = { ...filters, ...timeQuery(flags, cli.now()), after };
  const order = flags.order ?? (after === undefined ? 'newest' : 'oldest');
  const query = {
    ...asked,
    type: wantsProgress(flags) ? filters.type : WITHOUT_PROGRESS,
    order,
  };
  const page = await collectPages(
    ({ limit, cursor }) =>
      client.listEvents({ ...query, limit, ...(cursor !== undefined && { after: cursor }) }),
    limitOf(flags),
  );
  await showListing(cli.io, flags, {
    page,
    what: ['event', 'events'],
    none: 'No events.',
    filters: asked,
    list: (some) => client.listEvents(some),
    render: (events, output) => renderEvents(events, cli.now(), output),
    next:
      order === 'newest' ? undefined : `They come with --after ${plain(page.next_cursor ?? '')}`,
  });
  return EXIT.ok;
}

const CONNECTION = {
  lost: 'The daemon is away; waiting for it.',
  restored: 'The daemon is back.',
  reset: 'Redis has lost data: events may be missing.',
};

async function follow(
  client: DaemonClient,
  cli: CommandLine,
  { flags, filters, after }: Asked,
): Promise<number> {
  const { stdout, stderr } = cli.io;
  const { followEvents } = await import('../../client/event-stream.ts');
  const stream = followEvents({
    client,
    query: filters,
    after: after ?? null,
    signal: cli.signal,
    random: cli.random,
    onConnection: (state) => note(stderr, CONNECTION[state]),
  });
  for await (const event of stream) {
    if (!isShown(event, flags)) continue;
    if (flags.json === true) writeJsonLine(stdout, event);
    else stdout.write(`${eventLine(event, cli.io.stdout)}\n`);
  }
  return EXIT.ok;
}

function isShown({ type }: AnyEventView, flags: EventFlags): boolean {
  return type !== 'run.progress' || wantsProgress(flags);
}
