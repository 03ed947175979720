import type { Command } from 'commander';
import { EXIT } from '../exit.ts';
import { plain } from '../render/text.ts';
import type { CommandLine } from '../command-line.ts';

/* Verbs about the command line itself. */

export function addVersionVerb(cli: CommandLine): void {
  cli.program
    .command('version')
    .description('print the version')
    .addHelpText('after', '\nExamples:\n  runwatch version')
    .action(() =>
      cli.run(async () => {
        cli.io.stdout.write(`${cli.version}\n`);
        return EXIT.ok;
      }),
    );
}

export function addHelpVerb({ program }: CommandLine): void {
  program
    .command('help [verb...]')
    .description('explain a verb')
    .addHelpText('after', '\nExamples:\n  runwatch help watch\n  runwatch help endpoints rotate')
    .action((words: string[]) => verbNamed(program, words).help());
}

/** The verb that words name, as in `endpoints test`; ends with a usage error where there is none. */
function verbNamed(program: Command, words: readonly string[]): Command {
  let at = program;
  for (const word of words) {
    const next = at.commands.find((one) => one.name() === word);
    if (next === undefined) {
      const names = at
        .createHelp()
        .visibleCommands(at)
        .map((one) => one.name());
      return at.error(`error: there is no verb "${plain(word)}"; verbs are ${names.join(', ')}`);
    }
    at = next;
  }
  return at;
}
