import { Option } from 'commander';
import { EVENT_TYPES } from '../../core/event/event.ts';
import { type DaemonClient, collectPages } from '../../client/client.ts';
import type { CliContext } from '../context.ts';
import { EXIT, usageError } from '../exit.ts';
import { followEvents } from '../../client/event-stream.ts';
import { positiveInteger } from '../options.ts';
import type { Query } from '../../client/transport.ts';
import { eventLine, renderEvents } from '../render/events.ts';
import { plain } from '../render/text.ts';
import { note, writeJson, writeJsonLine } from '../report.ts';
import { connect, daemonCommand, type DaemonFlags, type VerbHost, whyNothing } from '../verb.ts';

interface EventFlags extends DaemonFlags {
  run?: string;
  type?: string;
  after?: string;
  follow?: boolean;
  latest?: boolean;
  limit?: number;
  json?: boolean;
}

const DEFAULT_LIMIT = 100;

export function addEventsVerb(host: VerbHost): void {
  daemonCommand(host, 'events', 'read')
    .description('list events, the oldest first, or follow them')
    .option('--run <run-id>', 'of one run')
    .addOption(new Option('--type <type>', 'of one type').choices(EVENT_TYPES))
    .option('--after <cursor>', 'only what came after a cursor, or after the event of this id')
    .option('-f, --follow', 'print events as they happen, from now on or from --after on')
    .option('--latest', 'begin at the latest instead of the oldest')
    .option('--limit <n>', `how many at most (default: ${DEFAULT_LIMIT})`, positiveInteger)
    .option('--json', "print the API's answer; with --follow, one event on a line")
    .addHelpText('after', HELP)
    .action((flags: EventFlags) => host.run((context) => events(context, flags)));
}

const HELP = `
--follow outlives restarts of the daemon: it goes on after the last event that it saw.

Examples:
  runwatch events --run run-1
  runwatch events --latest --limit 20
  runwatch events --follow --type run.failed
  runwatch events --follow --json | jq -r '[.type, .data.run_id] | @tsv'`;

async function events(context: CliContext, flags: EventFlags): Promise<number> {
  if (flags.follow === true && flags.limit !== undefined) {
    throw usageError('--limit is of no use with --follow, which ends with Ctrl-C');
  }
  const client = connect(context, flags);
  return flags.follow === true
    ? follow(client, context, flags)
    : listEvents(client, context, flags);
}

async function listEvents(
  client: DaemonClient,
  context: CliContext,
  flags: EventFlags,
): Promise<number> {
  const filters = { run_id: flags.run, type: flags.type, after: flags.after };
  const page = await collectPages(
    ({ limit, cursor }) =>
      client.listEvents({
        ...filters,
        ...(cursor !== undefined && { after: cursor }),
        limit,
        ...(flags.latest === true && { order: 'newest' }),
      }),
    flags.limit ?? DEFAULT_LIMIT,
  );
  const { stdout, stderr } = context.io;
  if (flags.json === true) {
    writeJson(stdout, page);
    return EXIT.ok;
  }
  // People read down to the latest, whichever end the listing began at.
  const data = flags.latest === true ? page.data.toReversed() : page.data;
  const any = (query: Query) => client.listEvents(query);
  const nothing = { what: 'event', none: 'No events.', list: any };
  if (data.length > 0) stdout.write(renderEvents(data, context));
  else note(stderr, await whyNothing({ ...nothing, filters }));
  if (page.next_cursor !== null && flags.latest !== true) {
    note(stderr, `There are more; they come with --after ${plain(page.next_cursor)}`);
  }
  return EXIT.ok;
}

const CONNECTION = {
  lost: 'The daemon is away; waiting for it.',
  restored: 'The daemon is back.',
  reset: 'Redis has lost data: events may be missing.',
};

async function follow(
  client: DaemonClient,
  context: CliContext,
  flags: EventFlags,
): Promise<number> {
  const { stdout, stderr } = context.io;
  const stream = followEvents({
    client,
    query: { run_id: flags.run, type: flags.type },
    after: flags.after ?? null,
    signal: context.signal,
    random: context.random,
    onConnection: (state) => note(stderr, CONNECTION[state]),
  });
  for await (const event of stream) {
    if (flags.json === true) writeJsonLine(stdout, event);
    else stdout.write(`${eventLine(event, context.io.stdout)}\n`);
  }
  return EXIT.ok;
}
