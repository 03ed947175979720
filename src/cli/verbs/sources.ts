import type { Command } from 'commander';
import type { CommandLine } from '../command-line.ts';
import { EXIT } from '../exit.ts';
import { showRows, type TableView } from '../listing.ts';
import type { Column } from '../render/table.ts';
import { plain, relative, upcoming } from '../render/text.ts';
import { note, noteDiscovery, writeJson } from '../report.ts';
import { daemonCommand, refuseUnknownVerb } from '../verb.ts';
import { openWeb, webFlag, type WebFlags } from '../web.ts';
import type { SourceView } from '../../client/types.ts';

interface SourceFlags extends WebFlags {
  wide?: boolean;
  json?: boolean;
}

export function addSourcesVerb(cli: CommandLine): void {
  const sources = daemonCommand<'GET /v1/sources'>(cli.program, 'sources', 'read')
    .description('list sources and whether they answer; resume one')
    .option('--wide', 'show all columns, also what each source is and can do')
    .option('--json', "print the API's answer")
    .addOption(webFlag())
    .helpCommand(false)
    .allowExcessArguments()
    .addHelpText('after', HELP)
    .action((flags: SourceFlags, command: Command) => {
      refuseUnknownVerb(command);
      return cli.run(() => listSources(cli, flags));
    });
  daemonCommand<'POST /v1/sources/{name}/resume'>(sources, 'resume <name>', 'admin')
    .description('poll its runs again at once')
    .option('--json', "print the API's answer")
    .allowExcessArguments(false)
    .addHelpText('after', '\nExamples:\n  runwatch sources resume default')
    // The list takes --url and --json as well, wherever they stand.
    .action((name: string, _flags: unknown, command: Command) =>
      cli.run(() => resumeSource(cli, name, command.optsWithGlobals<SourceFlags>())),
    );
}

const HELP = `
A source that asks for a pause, refuses the key or does not answer is tried by one request now and
then; its runs wait meanwhile. An inconsistent one answers, and its answers contradict one another.
With --wide, and in a pipe, it shows what a source can do: list (its runs are read from a list, too), stream
(of events of its runs), wait (it shows that a run waits for a person), probe (a request without a run shows
whether it answers), stop.

Examples:
  runwatch sources
  runwatch sources resume default
  runwatch sources --json | jq '.data[] | select(.state != "answering")'`;

async function listSources(cli: CommandLine, flags: SourceFlags): Promise<number> {
  if (flags.web === true) return openWeb(cli, flags, { path: '/system' });
  const client = await cli.connect(flags);
  const page = await client.listSources();
  const isWide = flags.wide === true || !cli.io.stdout.isTty;
  showRows(cli, flags, {
    page,
    none: 'No sources are configured.',
    columns: (sources, view) => [...columnsFor(sources, view), ...(isWide ? WIDE_COLUMNS : [])],
  });
  if (flags.json !== true) noteDiscovery(cli.io, page.data);
  return EXIT.ok;
}

async function resumeSource(cli: CommandLine, name: string, flags: SourceFlags): Promise<number> {
  const client = await cli.connect(flags);
  const source = await client.resumeSource(name);
  const { stdout, stderr } = cli.io;
  if (flags.json === true) writeJson(stdout, source);
  else note(stderr, `${plain(source.name)} is polled again.`);
  return EXIT.ok;
}

function columnsFor(_sources: unknown, { now, colors }: TableView): Column<SourceView>[] {
  const { green, yellow, red } = colors;
  const paints: Record<SourceView['state'], (text: string) => string> = {
    answering: green,
    unknown: yellow,
    inconsistent: yellow,
    paused: red,
    unauthorized: red,
    unreachable: red,
  };
  return [
    { head: 'SOURCE', value: ({ name }) => name },
    {
      head: 'STATE',
      value: ({ state }) => state,
      paint: (text, { state }) => paints[state](text),
    },
    { head: 'SINCE', value: ({ since }) => relative(since, now), passes: true },
    {
      head: 'NEXT TRY',
      value: ({ paused_until: until }) => upcoming(until, now),
      passes: true,
    },
    {
      head: 'LAST ANSWER',
      value: ({ last_answer_at: at }) => relative(at, now),
      passes: true,
    },
    { head: 'BUDGET', value: budgetText, align: 'right' },
    { head: 'WHY', value: ({ message }) => message ?? '-' },
  ];
}

/** What a source is, beside how it does. */
const WIDE_COLUMNS: readonly Column<SourceView>[] = [
  { head: 'TYPE', value: ({ type }) => type },
  { head: 'HOST', value: ({ host }) => host },
  { head: 'RUN ID', value: ({ id_parts: parts }) => parts.join('/') || '-' },
  { head: 'CAN', value: canText },
];

/** What it can do, by the words of the API. */
function canText({ can, can_stop: canStop }: SourceView): string {
  const words = Object.entries({ ...can, stop: canStop }).filter(([, is]) => is);
  return words.map(([word]) => word).join(', ') || '-';
}

function budgetText({ rate_limit: { requests, per, used } }: SourceView): string {
  return `${used} of ${requests}/${per}`;
}
