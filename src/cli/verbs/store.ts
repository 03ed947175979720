import type { Command } from 'commander';
import type { CommandLine } from '../command-line.ts';
import type { LocalVerbs } from '../local/local-verbs.ts';
import { refuseUnknownVerb } from '../verb.ts';

/** Options of all verbs about the store. */
interface Flags {
  config?: string;
  dataDir?: string;
  json?: boolean;
}

interface ShowFlags extends Flags {
  dryRun?: boolean;
}

export function addStoreVerb(cli: CommandLine, local: LocalVerbs): void {
  const store = cli.program
    .command('store')
    .description('show what the store holds; verify it')
    .helpCommand(false)
    .allowExcessArguments();
  addFlags(store)
    .option('--dry-run', 'show what a migration to the form of this version would do')
    .addHelpText('after', HELP)
    .action((flags: ShowFlags, command: Command) => {
      refuseUnknownVerb(command);
      return cli.run(() => local.showStore({ ...given(flags), dryRun: flags.dryRun === true }));
    });
  addFlags(store.command('verify'))
    .description('read every record, and compare it with what points to it')
    .addHelpText('after', VERIFY_HELP)
    .action((_flags: Flags, command: Command) =>
      cli.run(() => local.verifyStore(given(command.optsWithGlobals<Flags>()))),
    );
}

const HELP = `
It reads Redis itself, so that it needs no daemon, and disturbs none. The sizes are those of keys by the first
word of their names, which docs/design.md explains.

Examples:
  runwatch store
  runwatch store --json | jq '.sizes[0]'
  runwatch store --dry-run`;

const VERIFY_HELP = `
It writes nothing, and daemons may go on meanwhile: what it finds is read several times, so that what they write
in between is no problem. Exits 1 where something is wrong, and shows it by kind of record, with examples:
  unreadable   a record that cannot be read
  missing      a record that is not where it belongs, as in an index
  stray        an entry that stands for no record
  miscounted   a counter that does not add up
A daemon derives what is missing, stray or miscounted from the records again, within minutes.

Examples:
  runwatch store verify
  runwatch store verify --json | jq '.problems[].count'`;

/** Adds the options of all verbs about the store. */
function addFlags(command: Command): Command {
  return command
    .option('--config <path>', 'the configuration file')
    .option('--data-dir <path>', 'where the own Redis keeps its data')
    .option('--json', 'print the result as JSON');
}

function given({ config, dataDir, json }: Flags) {
  return {
    json: json === true,
    ...(config !== undefined && { configPath: config }),
    ...(dataDir !== undefined && { dataDir }),
  };
}
