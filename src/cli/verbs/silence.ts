import type { Command } from 'commander';
import type { DaemonClient } from '../../client/client.ts';
import type { SilenceBody, SilenceView } from '../../client/types.ts';
import type { CommandLine } from '../command-line.ts';
import { EXIT, usageError } from '../exit.ts';
import { collectPair, untilText } from '../options.ts';
import type { Column } from '../render/table.ts';
import { count as counted, plain, relative, upcoming } from '../render/text.ts';
import { showRows, wideFlag, workflowIds, type TableView } from '../listing.ts';
import { writeJson } from '../report.ts';
import { resolveSilence } from '../resolve.ts';
import { daemonCommand, type DaemonFlags } from '../verb.ts';

import { labelsText } from '../render/alerts.ts';

interface MatcherFlags {
  rule?: string;
  workflow?: string;
  source?: string;
  event?: string;
  meta?: Record<string, string>;
}

interface SilenceFlags extends DaemonFlags, MatcherFlags {
  wide?: boolean;
  until?: string;
  by?: string;
  comment?: string;
  key?: string;
  yes?: boolean;
  json?: boolean;
}

export function addSilenceVerb(cli: CommandLine): void {
  const silence = cli.program
    .command('silence')
    .description('keep notifications of alerts back for a while')
    .helpCommand(false)
    .addHelpText('after', HELP);
  withMatchers(daemonCommand<'POST /v1/silences'>(silence, 'add', 'write'))
    .description('silence what matches all that is given')
    .requiredOption('--until <time>', 'a time, or a duration from now such as 2h', untilText)
    .requiredOption('--comment <text>', 'why')
    .option('--by <name>', 'the user that does (default: you)')
    .option('--key <text>', 'a second call with the same key creates nothing')
    .option('--json', "print the API's answer")
    .action((flags: SilenceFlags) => cli.run(() => add(cli, flags)));
  daemonCommand<'GET /v1/silences'>(silence, 'list', 'read')
    .description('list silences: in force, to come, expired')
    .addOption(wideFlag())
    .option('--json', "print the API's answer")
    .action((flags: SilenceFlags) => cli.run(() => list(cli, flags)));
  daemonCommand<'DELETE /v1/silences/{id}'>(silence, 'expire <id>', 'write')
    .description('end a silence now')
    .option('--yes', 'do not ask whether the beginning of an id is the one that is meant')
    .action((id: string, flags: SilenceFlags) => cli.run(() => expire(cli, id, flags)));
  withMatchers(daemonCommand<'POST /v1/silences/preview'>(silence, 'preview', 'read'))
    .description('show what a silence would match, now and in the last 24 hours')
    .option('--json', "print the API's answer")
    .action((flags: SilenceFlags) => cli.run(() => preview(cli, flags)));
}

const HELP = `
Alerts are recorded and counted as before; \`runwatch alerts\` lists them. \`expire\` takes 8 characters of an id
or more; on a terminal it asks whether that silence is meant.

Examples:
  runwatch silence add --workflow invoices --until 2h --comment upgrade
  runwatch silence preview --rule failed-runs
  runwatch silence expire sil_0f2a6b8c11`;

function withMatchers(command: Command): Command {
  return command
    .option('--rule <name>', 'alerts of this rule; several by comma')
    .option('--workflow <name>', 'runs of this workflow, by its name or id; several by comma')
    .option('--source <name>', 'runs of this source; several by comma')
    .option('--event <type>', 'events of this type; several by comma')
    .option('--meta <key=value>', 'with this in the metadata; may be repeated', collectPair);
}

async function matchersOf(
  { rule, workflow, source, event, meta }: MatcherFlags,
  client: DaemonClient,
) {
  const workflows = await workflowIds(workflow, client);
  const matchers = {
    ...Object.fromEntries(
      Object.entries({ rule, source, event }).flatMap(([name, text]) =>
        text === undefined ? [] : [[name, text.split(',')]],
      ),
    ),
    ...(workflows !== undefined && { workflow_id: workflows }),
    ...(meta !== undefined && { metadata: meta }),
  };
  if (Object.keys(matchers).length > 0) return matchers;
  throw usageError('name what is meant: --rule, --workflow, --source, --event or --meta');
}

async function add(cli: CommandLine, flags: SilenceFlags): Promise<number> {
  const { until = '', comment = '', by, key } = flags;
  const client = await cli.connect(flags);
  const body: SilenceBody = {
    matchers: await matchersOf(flags, client),
    until,
    comment,
    by: by ?? cli.env.user,
    ...(key !== undefined && { key }),
  };
  const silence = await client.addSilence(body);
  const { stdout } = cli.io;
  if (flags.json === true) writeJson(stdout, silence);
  else stdout.write(`silence ${plain(silence.id)} is ${plain(silence.state)}\n`);
  return EXIT.ok;
}

async function list(cli: CommandLine, flags: SilenceFlags): Promise<number> {
  const client = await cli.connect(flags);
  const page = await client.listSilences();
  showRows(cli, flags, { page, none: 'No silences.', columns: columnsFor });
  return EXIT.ok;
}

async function expire(cli: CommandLine, given: string, flags: SilenceFlags): Promise<number> {
  const client = await cli.connect(flags);
  const id = await resolveSilence(given, { client, cli, writes: flags });
  const isKnown = await client.expireSilence(id);
  const { stdout, stderr } = cli.io;
  if (isKnown) stdout.write(`silence ${plain(id)} has ended\n`);
  else stderr.write(`${stderr.colors.red('error:')} there is no silence ${plain(id)}\n`);
  return isKnown ? EXIT.ok : EXIT.failure;
}

async function preview(cli: CommandLine, flags: SilenceFlags): Promise<number> {
  const client = await cli.connect(flags);
  const found = await client.previewSilence({ matchers: await matchersOf(flags, client) });
  const { stdout } = cli.io;
  if (flags.json === true) {
    writeJson(stdout, found);
    return EXIT.ok;
  }
  const { alerts } = found.now;
  const { events, by_rule: byRule } = found.last_24h;
  stdout.write(`now: ${counted(alerts.length, 'alert')}\n`);
  for (const alert of alerts) {
    stdout.write(`  ${plain(alert.id)}  ${plain(alert.rule)}  ${plain(labelsText(alert))}\n`);
  }
  stdout.write(`last 24 hours: ${counted(events, 'event')}\n`);
  for (const [rule, count] of Object.entries(byRule)) {
    stdout.write(`  ${plain(rule)}  ${count}\n`);
  }
  return EXIT.ok;
}

function columnsFor(_silences: unknown, { now }: TableView): Column<SilenceView>[] {
  return [
    { head: 'SILENCE', value: ({ id }) => id, keep: 'always' },
    { head: 'STATE', value: ({ state }) => state },
    { head: 'MATCHES', value: ({ matchers }) => matchersText(matchers) },
    { head: 'ENDS', value: ({ until, state }) => endText(until, state, now), passes: true },
    { head: 'BY', value: ({ by }) => by },
    { head: 'COMMENT', value: ({ comment }) => comment },
  ];
}

function endText(until: string, state: SilenceView['state'], now: number): string {
  return state === 'expired' ? relative(until, now) : upcoming(until, now);
}

function matchersText({ metadata = {}, ...others }: SilenceView['matchers']): string {
  const all = { ...others, ...metadata };
  return Object.entries(all)
    .map(([name, values]) => `${name}=${values.join(',')}`)
    .join(' ');
}
