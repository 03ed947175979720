import type { RunRef } from '../../client/client.ts';
import type { StopView } from '../../client/types.ts';
import type { CommandLine } from '../command-line.ts';
import { confirm } from '../confirm.ts';
import { EXIT } from '../exit.ts';
import { count, plain } from '../render/text.ts';
import { note, type RunResult, runResult, writeJson } from '../report.ts';
import { resolveRuns } from '../resolve.ts';
import { readGoodRunIds } from '../run-ids.ts';
import { changeEach, daemonCommand, type DaemonFlags } from '../verb.ts';

interface StopFlags extends DaemonFlags {
  source?: string;
  file?: string;
  yes?: boolean;
  json?: boolean;
}

export function addStopVerb(cli: CommandLine): void {
  daemonCommand<'POST /v1/watches/{run_id}/stop'>(cli.program, 'stop [run-id...]', 'admin')
    .description('have their source stop watched runs')
    .option('--source <name>', 'the source that the runs belong to')
    .option('--file <path>', 'read run ids from a file, one on a line; - is standard input')
    .option('--yes', 'do not ask')
    .option('--json', 'print what became of each run')
    .addHelpText('after', HELP)
    .action((ids: string[], flags: StopFlags) => cli.run(() => stop(cli, ids, flags)));
}

const HELP = `
Asks the source of each run once to stop it, which cannot be taken back; on a terminal it asks you first. A run
has stopped when its source says so: \`runwatch wait\` tells. To stop watching a run that goes on, see
\`runwatch unwatch\`. The beginning of an id has 8 characters at least.
Exits 1 when one of the runs was not asked to stop, or when that is not known.

Examples:
  runwatch stop run-1 && runwatch wait run-1
  runwatch stop run-1 run-2 --yes
  runwatch stop --file ids.txt --source staging --yes
  runwatch stop run-1 run-2 --yes --json | jq '.results[] | select(.error)'`;

async function stop(cli: CommandLine, args: string[], flags: StopFlags): Promise<number> {
  const given = await readGoodRunIds(args, flags.file, cli);
  const client = await cli.connect(flags);
  // One question is enough, and it names the whole id.
  const { source } = flags;
  const runs = await resolveRuns(given, { client, cli, source, writes: { yes: true } });
  const { stdin, stdout, stderr } = cli.io;
  if (runs.length === 0) note(stderr, 'there was no run id to stop');
  const isAsked = runs.length > 0 && flags.yes !== true && stdin.isTTY === true;
  if (isAsked && !(await confirm(cli, `Stop ${inWords(runs)}? This cannot be taken back.`))) {
    note(stderr, 'No run was asked to stop.');
    return EXIT.failure;
  }
  const { results, exitCode } = await changeEach<RunRef, StopResult>(cli, runs, {
    nameOf: ({ runId }) => runId,
    async make(run) {
      const answer = await client.stop(run);
      const shown = answer.status === null ? '' : ` (${plain(answer.status)})`;
      if (flags.json !== true) stdout.write(`asked to stop ${plain(run.runId)}${shown}\n`);
      return { ...runResult(run), stop: answer };
    },
    failed: (run, error) => ({ ...runResult(run, error), stop: null }),
  });
  if (results.some(({ error }) => error === null)) {
    note(stderr, 'A run has stopped when its source says so: `runwatch wait <run-id>` tells.');
  }
  if (flags.json === true) writeJson(stdout, { results });
  return exitCode;
}

function inWords(runs: readonly RunRef[]): string {
  const [only] = runs;
  if (only === undefined || runs.length > 1) return count(runs.length, 'run');
  const of = only.source === undefined ? '' : ` of source ${plain(only.source)}`;
  return `the run ${plain(only.runId)}${of}`;
}

/** What became of one run, as `--json` shows it; `stop` is the API's answer. */
type StopResult = RunResult & { stop: StopView | null };
