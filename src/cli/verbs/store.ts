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

interface BackupFlags extends Flags {
  force?: boolean;
}

export function addStoreVerb(cli: CommandLine, local: LocalVerbs): void {
  const store = cli.program
    .command('store')
    .description('show what the store holds; verify, back up, restore')
    .helpCommand(false)
    .allowExcessArguments();
  addFlags(store)
    .option('--dry-run', 'show what a migration to the form of this version would do')
    .addHelpText('after', HELP)
    .action((flags: ShowFlags, command: Command) => {
      refuseUnknownVerb(command);
      return cli.run(() => local.showStore({ ...given(flags), dryRun: flags.dryRun === true }));
    });
  addFlags(store.command('verify [file]'))
    .description(
      'read every record, of a backup if one is given, and compare it with what points to it',
    )
    .addHelpText('after', VERIFY_HELP)
    .action((file: string | undefined, _flags: Flags, command: Command) =>
      cli.run(() => local.verifyStore(file ?? null, given(command.optsWithGlobals<Flags>()))),
    );
  addFlags(store.command('backup <path>'))
    .description('write all that Redis holds into a file, while daemons go on')
    .option('--force', 'replace a file that is there')
    .addHelpText('after', BACKUP_HELP)
    .action((path: string, { force }: BackupFlags, command: Command) =>
      cli.run(() => {
        const flags = given(command.optsWithGlobals<Flags>());
        return local.backUpStore(path, { ...flags, force: force === true });
      }),
    );
  addFlags(store.command('restore <file>'))
    .description('make a data directory of a backup: an empty one, named by --data-dir')
    .addHelpText('after', RESTORE_HELP)
    .action((file: string, _flags: Flags, command: Command) =>
      cli.run(() => local.restoreStore(file, given(command.optsWithGlobals<Flags>()))),
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
  misplaced    a record that is not at the time or place that it says
  miscounted   a counter that does not add up
A daemon derives what is missing, stray or miscounted from the records again, within minutes. What is misplaced it
mostly leaves as it is.

Examples:
  runwatch store verify
  runwatch store verify /backup/runwatch.rdb
  runwatch store verify --json | jq '.problems[].count'`;

const BACKUP_HELP = `
The file has its name only once it is whole and on disk; in a directory it is named by the time. It is what a
replica of Redis gets, so that it needs no file of the server, and the right to SYNC. Of a Redis that others use,
it holds their keys, too. Keep encryption-key and signing-secret of the data directory with it, unless
RUNWATCH_ENCRYPTION_KEY and RUNWATCH_SIGNING_SECRET are set: the secrets in the backup are encrypted.

Examples:
  runwatch store backup /backup
  runwatch store backup /backup/runwatch.rdb --force`;

const RESTORE_HELP = `
Put the files encryption-key and signing-secret of the store into the directory before or after. A restored store
begins a new epoch: cursors of before answer 410. Deliveries that were pending in it are sent again, under their
ids. Look at it with \`runwatch serve --no-deliver\` first. Exits 1 where the backup has problems; it is restored
all the same. Records of an earlier form are read only once the daemon has migrated them, when it starts.

Examples:
  runwatch store restore /backup/runwatch.rdb --data-dir /var/lib/runwatch`;

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
