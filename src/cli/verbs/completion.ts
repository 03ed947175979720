import { Argument } from 'commander';
import type { DaemonClient } from '../../client/client.ts';
import { completionScript, SHELLS, type Shell, NAME_KINDS } from '../completion.ts';
import { EXIT } from '../exit.ts';
import { plain } from '../render/text.ts';
import { type VerbHost, connectQuietly } from '../verb.ts';

const COMPLETION_HELP = `
Verbs, flags and their values are part of the script; names of endpoints and sources and ids of active
runs are asked from the daemon.

Examples:
  source <(runwatch completion bash)                              in ~/.bashrc
  source <(runwatch completion zsh)                               in ~/.zshrc, after compinit
  runwatch completion fish > ~/.config/fish/completions/runwatch.fish`;

export function addCompletionVerb({ program, run }: VerbHost): void {
  program
    .command('completion')
    .description('print a script that completes verbs, flags and names in a shell')
    .addArgument(new Argument('<shell>', 'the shell').choices(SHELLS))
    .addHelpText('after', COMPLETION_HELP)
    .action((shell: Shell) =>
      run(async ({ io }) => {
        io.stdout.write(completionScript(shell, program));
        return EXIT.ok;
      }),
    );
}

/** Most runs that a shell is given to complete. */
const MOST_RUNS = 200;

const NAMES: Record<(typeof NAME_KINDS)[number], (client: DaemonClient) => Promise<string[]>> = {
  endpoints: async (client) => (await client.listEndpoints()).data.map(({ name }) => name),
  sources: async (client) => (await client.listSources()).data.map(({ name }) => name),
  runs: async (client) =>
    (await client.listWatches({ state: 'active', limit: MOST_RUNS })).data.map(
      ({ run_id: runId }) => runId,
    ),
};

/**
 * Adds the hidden verb by which completion scripts ask for names, one on a line. A shell waits for it
 * at each press of a key, so that it neither waits for a daemon that is starting nor complains.
 */
export function addNamesVerb({ program, run }: VerbHost): void {
  program
    .command('complete', { hidden: true })
    .addArgument(new Argument('<kind>').choices(NAME_KINDS))
    .action((kind: (typeof NAME_KINDS)[number]) =>
      run(async (context) => {
        const client = await connectQuietly({ ...context, startupMs: 0 }, {});
        const names = await NAMES[kind](client).catch(() => []);
        context.io.stdout.write(names.map((name) => `${plain(name)}\n`).join(''));
        return EXIT.ok;
      }),
    );
}
