import type { DaemonClient, RunRef } from '../../client/client.ts';
import type { StopView } from '../../client/types.ts';
import { messageOf } from '../../core/errors.ts';
import type { CommandLine } from '../command-line.ts';
import { confirm } from '../confirm.ts';
import { EXIT, exitCodeOf } from '../exit.ts';
import type { Output } from '../output.ts';
import { count, plain } from '../render/text.ts';
import { note, type RunResult, runResult, writeJson } from '../report.ts';
import { resolveRuns } from '../resolve.ts';
import { readGoodRunIds } from '../run-ids.ts';
import { daemonCommand, mapConcurrently, MAX_REQUESTS, type DaemonFlags } from '../verb.ts';

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
  const given = await readGoodRunIds(args, flags.file, cli.io);
  const client = await cli.connect(flags);
  // One question is enough, and it names the whole id.
  const { source } = flags;
  const runs = await resolveRuns(given, { client, cli, source, writes: { yes: true } });
  const { stdin, stderr } = cli.io;
  const isAsked = flags.yes !== true && stdin.isTTY === true;
  if (isAsked && !(await confirm(cli, `Stop ${inWords(runs)}? This cannot be taken back.`))) {
    note(stderr, 'No run was asked to stop.');
    return EXIT.failure;
  }
  const lines = flags.json === true ? null : cli.io.stdout;
  const outcomes = await mapConcurrently(runs, MAX_REQUESTS, (run) =>
    stopOne(client, run, { lines, stderr }),
  );
  if (outcomes.some(({ exitCode }) => exitCode === EXIT.ok)) {
    note(stderr, 'A run has stopped when its source says so: `runwatch wait <run-id>` tells.');
  }
  if (flags.json === true) {
    writeJson(cli.io.stdout, { results: outcomes.map(({ result }) => result) });
  }
  return Math.max(...outcomes.map(({ exitCode }) => exitCode));
}

function inWords(runs: readonly RunRef[]): string {
  const [only] = runs;
  if (only === undefined || runs.length > 1) return count(runs.length, 'run');
  const of = only.source === undefined ? '' : ` of source ${plain(only.source)}`;
  return `the run ${plain(only.runId)}${of}`;
}

/** What became of one run, as `--json` shows it; `stop` is the API's answer. */
interface StopOutcome {
  exitCode: number;
  result: RunResult & { stop: StopView | null };
}

/**
 * One run that cannot be stopped does not keep the others from being asked.
 * @param lines where runs that were asked are named; null for nowhere
 */
async function stopOne(
  client: DaemonClient,
  run: RunRef,
  { lines, stderr }: { lines: Output | null; stderr: Output },
): Promise<StopOutcome> {
  try {
    const answer = await client.stop(run);
    const shown = answer.status === null ? '' : ` (${plain(answer.status)})`;
    lines?.write(`asked to stop ${plain(run.runId)}${shown}\n`);
    return { exitCode: EXIT.ok, result: { ...runResult(run), stop: answer } };
  } catch (error) {
    const message = messageOf(error);
    // What the daemon says of a run most often names it.
    const text = message.includes(run.runId) ? message : `${run.runId}: ${message}`;
    stderr.write(`${stderr.colors.red('error:')} ${plain(text)}\n`);
    const exitCode = exitCodeOf(error, EXIT.failure);
    return { exitCode, result: { ...runResult(run, error), stop: null } };
  }
}
