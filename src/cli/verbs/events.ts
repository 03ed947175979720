import { Option } from 'commander';
import type { AnyEventView, EventQuery, EventStreamQuery } from '../../client/types.ts';
import { DEFAULT_SYSTEM_EVENTS, EVENT_TYPES } from '../../core/event/event.ts';
import type { CommandLine } from '../command-line.ts';
import { EXIT, usageError } from '../exit.ts';
import {
  addFilterFlags,
  addListingFlags,
  idTextsFor,
  OF_ONE_RUN,
  openListing,
  showListing,
  timeFilters,
  workflowIds,
  type Asking,
  type Listing,
  type ListingFlags,
} from '../listing.ts';
import { eventTypes } from '../options.ts';
import { eventColumns, eventLine } from '../render/events.ts';
import { plain } from '../render/text.ts';
import { note, writeJsonLine } from '../report.ts';
import { resolveId } from '../resolve.ts';
import { daemonCommand } from '../verb.ts';

interface EventFlags extends ListingFlags {
  type?: string;
  progress?: boolean;
  follow?: boolean;
}

const EVENTS: Listing<AnyEventView, EventQuery, EventFlags> = {
  what: ['event', 'events'],
  none: 'No events.',
  filters: {
    run_id: OF_ONE_RUN,
    type: new Option(
      '--type <type>',
      'of this type; several by comma, families as run.* or alert.*',
    ).argParser(eventTypes),
    workflow_id: {
      option: new Option('--workflow <name>', 'of the runs of a workflow, by its name or id'),
      read: (name: string, { client }: Asking) => workflowIds(name, client),
    },
    ...timeFilters('detected'),
    after: {
      option: new Option(
        '--after <id>',
        'only what came after the event of this id, or after a cursor',
      ),
      // A cursor is passed on unchanged.
      read: (after: string, asking: Asking) =>
        after.startsWith('evt_') ? resolveId(after, 'event', asking) : after,
    },
    order: new Option(
      '--order <order>',
      'the end to begin at (default: newest, with --after oldest)',
    ).choices(['newest', 'oldest']),
  },
  adapt: (query, flags) => ({
    ...query,
    type: wantsProgress(flags) ? query.type : WITHOUT_PROGRESS,
    order: query.order ?? (query.after === undefined ? 'newest' : 'oldest'),
  }),
  list: (client, query) => client.listEvents(query),
  columns: eventColumns,
  next: ({ next_cursor: cursor }, { order }) =>
    order === 'newest' ? undefined : `They come with --after ${plain(cursor ?? '')}`,
};

export function addEventsVerb(cli: CommandLine): void {
  const events = daemonCommand<'GET /v1/events' | 'GET /v1/events/stream'>(
    cli.program,
    'events',
    'read',
  ).description('list events, the newest first, or follow them');
  addFilterFlags(events, EVENTS.filters, {
    since: new Option('--progress', 'also each step of progress (run.progress)'),
    order: new Option(
      '-f, --follow',
      'print events as they happen, from now on or from --after on',
    ),
  });
  addListingFlags(events)
    .addHelpText('after', HELP)
    .action((flags: EventFlags) =>
      cli.run(() => (flags.follow === true ? follow(cli, flags) : showListing(cli, EVENTS, flags))),
    );
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

/** What a list takes and a stream does not, as flags. */
const ONLY_OF_LISTS: Record<
  Exclude<keyof EventQuery, keyof EventStreamQuery | 'cursor'>,
  string
> = { limit: '--limit', since: '--since', until: '--until', order: '--order' };

function refuseWithFollow(flags: EventFlags): void {
  for (const [name, flag] of Object.entries(ONLY_OF_LISTS)) {
    if (!(name in flags)) continue;
    throw usageError(`${flag} is of no use with --follow, which prints what comes until Ctrl-C`);
  }
}

function wantsProgress({ type, progress, all }: EventFlags): boolean {
  return type !== undefined || progress === true || all === true;
}

/** All types but steps of progress, which are many and say little. */
const WITHOUT_PROGRESS = [...EVENT_TYPES, ...DEFAULT_SYSTEM_EVENTS]
  .filter((type) => type !== 'run.progress')
  .join(',');

const CONNECTION = {
  lost: 'The daemon is away; waiting for it.',
  restored: 'The daemon is back.',
  reset: 'Redis has lost data: events may be missing.',
};

async function follow(cli: CommandLine, flags: EventFlags): Promise<number> {
  refuseWithFollow(flags);
  const { stdout, stderr } = cli.io;
  const { client, asked } = await openListing(cli, EVENTS, flags);
  const { after, ...query }: EventStreamQuery = asked;
  const { followEvents } = await import('../../client/event-stream.ts');
  const stream = followEvents({
    client,
    query,
    after: after ?? null,
    signal: cli.signal,
    random: cli.random,
    onConnection: (state) => note(stderr, CONNECTION[state]),
  });
  // What comes later may look like it; each line is of itself.
  const idText = idTextsFor(stdout, flags.wide)([]);
  for await (const event of stream) {
    if (!isShown(event, flags)) continue;
    if (flags.json === true) writeJsonLine(stdout, event);
    else stdout.write(`${eventLine(event, stdout, idText)}\n`);
  }
  return EXIT.ok;
}

function isShown({ type }: AnyEventView, flags: EventFlags): boolean {
  return type !== 'run.progress' || wantsProgress(flags);
}
