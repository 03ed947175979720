import { Option } from 'commander';
import { EVENT_TYPES } from '../core/event.ts';
import type { DaemonClient } from './client.ts';
import type { CliContext } from './context.ts';
import { EXIT, usageError } from './exit.ts';
import { followEvents } from './follow.ts';
import { positiveInteger } from './options.ts';
import { collectPages } from './pages.ts';
import { notADaemon } from './problem.ts';
import { paint } from './render/paint.ts';
import { renderTable, type Column } from './render/table.ts';
import { plain } from './render/text.ts';
import { note, writeJson } from './report.ts';
import { connect, daemonCommand, type DaemonFlags, type VerbHost } from './verb.ts';
import { eventSchema, type EventView } from './wire.ts';

interface EventFlags extends DaemonFlags {
  run?: string;
  type?: string;
  after?: string;
  follow?: boolean;
  limit?: number;
  json?: boolean;
}

const DEFAULT_LIMIT = 100;

export function addEventsVerb(host: VerbHost): void {
  daemonCommand(host, 'events')
    .description('list events, the oldest first, or follow them')
    .option('--run <run-id>', 'of one run')
    .addOption(new Option('--type <type>', 'of one type').choices(EVENT_TYPES))
    .option('--after <cursor>', 'only what came after a cursor, or after the event of this id')
    .option('-f, --follow', 'print events as they happen, from now on or from --after on')
    .option('--limit <n>', `how many at most (default: ${DEFAULT_LIMIT})`, positiveInteger)
    .option('--json', "print the API's answer; with --follow, one event on a line")
    .addHelpText('after', HELP)
    .action((flags: EventFlags) => host.run((context) => events(context, flags)));
}

const HELP = `
--follow outlives restarts of the daemon: it goes on after the last event that it saw.

Examples:
  runwatch events --run run-1
  runwatch events --follow --type run.failed
  runwatch events --follow --json | jq -r '[.type, .data.run_id] | @tsv'`;

async function events(context: CliContext, flags: EventFlags): Promise<number> {
  if (flags.follow === true && flags.limit !== undefined) {
    throw usageError('--limit is of no use with --follow, which ends with Ctrl-C');
  }
  const client = connect(context, flags);
  return flags.follow === true ? follow(client, context, flags) : list(client, context, flags);
}

async function list(client: DaemonClient, context: CliContext, flags: EventFlags): Promise<number> {
  const page = await collectPages(
    ({ limit, cursor }) =>
      client.listEvents({
        run_id: flags.run,
        type: flags.type,
        after: cursor ?? flags.after,
        limit,
      }),
    flags.limit ?? DEFAULT_LIMIT,
  );
  const { stdout, stderr } = context.io;
  if (flags.json === true) {
    writeJson(stdout, page);
    return EXIT.ok;
  }
  if (page.data.length > 0) stdout.write(renderEvents(page.data, context));
  else note(stderr, 'No events.');
  if (page.next_cursor !== null) {
    note(stderr, `There are more; they come with --after ${plain(page.next_cursor)}`);
  }
  return EXIT.ok;
}

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
    onConnection: (state) =>
      note(
        stderr,
        state === 'lost' ? 'The daemon is away; waiting for it.' : 'The daemon is back.',
      ),
  });
  for await (const data of stream) {
    const event = parseEvent(data, client.url);
    stdout.write(
      flags.json === true ? `${JSON.stringify(event)}\n` : `${eventLine(event, context)}\n`,
    );
  }
  return EXIT.ok;
}

export function parseEvent(data: string, url: string): EventView {
  try {
    const event: unknown = JSON.parse(data);
    if (eventSchema.safeParse(event).success) return event as EventView;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw notADaemon(url, 'its stream holds something that is not an event');
}

export function renderEvents(list: readonly EventView[], context: CliContext): string {
  const { colors } = context.io.stdout;
  const columns: Column<EventView>[] = [
    { head: 'DETECTED', value: (event) => event.data.detected_at },
    {
      head: 'TYPE',
      value: (event) => event.type,
      paint: (text, event) => paint(text, event.type, colors),
    },
    { head: 'RUN', value: (event) => event.data.run_id },
    { head: 'WHAT', value: whatHappened },
    { head: 'EVENT', value: (event) => event.id },
  ];
  return renderTable(list, columns, context.io.stdout);
}

function eventLine(event: EventView, context: CliContext): string {
  const { colors } = context.io.stdout;
  const type = paint(plain(event.type).padEnd(27), event.type, colors);
  const time = colors.dim(plain(event.data.detected_at));
  return `${time}  ${type}  ${plain(event.data.run_id)}  ${plain(whatHappened(event))}`.trimEnd();
}

/** What the type leaves open: from where to where, how far, and why. */
function whatHappened({ data }: EventView): string {
  if (data.error !== undefined) return data.error.message;
  if (data.run === null) return '';
  const { previous, run } = data;
  const came =
    previous !== null && previous.status !== run.status
      ? `${previous.status} → ${run.status}`
      : run.status;
  return `${came}, ${run.progress}%`;
}
