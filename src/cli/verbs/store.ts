import type { Command } from 'commander';
import type { CommandLine } from '../command-line.ts';
import type { LocalVerbs } from '../local/local-verbs.ts';

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
  const store = cli.program.command('store').description('show what the store holds');
  addFlags(store)
    .option('--dry-run', 'show what a migration to the form of this version would do')
    .addHelpText('after', HELP)
    .action((flags: ShowFlags) =>
      cli.run(() => local.showStore({ ...given(flags), dryRun: flags.dryRun === true })),
    );
}

const HELP = `
It reads Redis itself, so that it needs no daemon, and disturbs none. The sizes are those of keys by the first
word of their names, which docs/design.md explains.

Examples:
  runwatch store
  runwatch store --json | jq '.sizes[0]'
  runwatch store --dry-run`;

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
