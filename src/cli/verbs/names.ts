import { Argument } from 'commander';
import type { DaemonClient } from '../../client/client.ts';
import { NAME_KINDS } from '../completion.ts';
import { EXIT } from '../exit.ts';
import { plain } from '../render/text.ts';
import { connectQuietly, type VerbHost } from '../verb.ts';

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
        const client = connectQuietly({ ...context, startupMs: 0 }, {});
        const names = await NAMES[kind](client).catch(() => []);
        context.io.stdout.write(names.map((name) => `${plain(name)}\n`).join(''));
        return EXIT.ok;
      }),
    );
}
