import type { RunRef } from '../../client/client.ts';
import { RunwatchError } from '../../core/errors.ts';
import type { CommandLine } from '../command-line.ts';
import { usageError } from '../exit.ts';
import { plain } from '../render/text.ts';
import { runResult, writeJson } from '../report.ts';
import { resolveRuns } from '../resolve.ts';
import { readGoodRunIds } from '../run-ids.ts';
import { changeEach, daemonCommand, type DaemonFlags } from '../verb.ts';

interface UnwatchFlags extends DaemonFlags {
  source?: string;
  endpoint?: string;
  purge?: boolean;
  file?: string;
  yes?: boolean;
  json?: boolean;
}

export function addUnwatchVerb(cli: CommandLine): void {
  daemonCommand<'DELETE /v1/watches/{run_id}'>(cli.program, 'unwatch [run-id...]', 'write')
    .description('stop watching runs')
    .option('--source <name>', 'the source that the runs belong to')
    .option('--endpoint <name>', 'end only this subscription: an endpoint, or the URL of a webhook')
    .option('--purge', 'also erase their records, events and deliveries (needs the scope admin)')
    .option('--file <path>', 'read run ids from a file, one on a line; - is standard input')
    .option('--yes', 'do not ask whether the beginning of an id is the one that is meant')
    .option('--json', 'print what became of each run')
    .addHelpText('after', HELP)
    .action((ids: string[], flags: UnwatchFlags) => cli.run(() => unwatch(cli, ids, flags)));
}

const HELP = `
The runs themselves go on; they notify no endpoint any more. What is known of them is kept until
\`watches.retention\` ends; --purge erases it now, also of runs that have ended.
The beginning of an id has 8 characters at least; on a terminal it asks whether that run is meant.
Exits 1 when one of the runs is not watched, or could not be unwatched; the others are.

Examples:
  runwatch unwatch run-1 run-2
  runwatch unwatch run-1 --purge
  runwatch unwatch --file ids.txt --source staging
  runwatch unwatch --file ids.txt --json | jq '.results[] | select(.error)'
  runwatch unwatch run-1 --endpoint old-ops`;

async function unwatch(cli: CommandLine, args: string[], flags: UnwatchFlags): Promise<number> {
  const { endpoint, source, purge } = flags;
  if (purge === true && endpoint !== undefined) {
    throw usageError('--purge erases all of a watch, --endpoint ends one subscription: give one');
  }
  const given = await readGoodRunIds(args, flags.file, cli);
  const client = await cli.connect(flags);
  const runs = await resolveRuns(given, { client, cli, source, writes: flags });
  const { stdout } = cli.io;
  const done = purge === true ? 'purged' : 'no longer watched';
  const to = endpoint === undefined ? '' : ` for ${plain(endpoint)}`;
  const { results, exitCode } = await changeEach(cli, runs, {
    nameOf: ({ runId }) => runId,
    async make(run) {
      if (!(await client.unwatch(run, { endpoint, purge }))) throw notWatched(run, to);
      if (flags.json !== true) stdout.write(`${done} ${run.runId}${to}\n`);
      return runResult(run);
    },
    failed: runResult,
  });
  if (flags.json === true) writeJson(stdout, { results });
  return exitCode;
}

function notWatched({ runId, source }: RunRef, to: string): RunwatchError {
  const of = source === undefined ? '' : ` of source ${plain(source)}`;
  return new RunwatchError(`the run ${runId}${of} is not watched${to}`, {
    code: 'watch_not_found',
  });
}
