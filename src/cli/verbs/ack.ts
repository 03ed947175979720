import type { DaemonClient } from '../../client/client.ts';
import type { AcknowledgeBody } from '../../client/types.ts';
import { RunwatchError } from '../../core/errors.ts';
import type { CommandLine } from '../command-line.ts';
import { usageError } from '../exit.ts';
import { readFailures, resolveFailures } from '../listing.ts';
import { untilText } from '../options.ts';
import { plain } from '../render/text.ts';
import { writeJson } from '../report.ts';
import { readRun, resolveAlert, resolveRun } from '../resolve.ts';
import { changeEach, daemonCommand, type DaemonFlags } from '../verb.ts';
import { isAlertId } from './alerts.ts';

interface AckFlags extends DaemonFlags {
  source?: string;
  by?: string;
  comment?: string;
  until?: string;
  undo?: boolean;
  yes?: boolean;
  json?: boolean;
}

export function addAckVerb(cli: CommandLine): void {
  daemonCommand<
    | 'POST /v1/watches/{run_id}/acknowledge'
    | 'POST /v1/alerts/{id}/acknowledge'
    | 'POST /v1/workflows/{source}/{workflow_id}/acknowledge'
  >(cli.program, 'ack <alert-or-run-id...>', 'write')
    .description('say that alerts, runs or failures are in hand')
    .option('--by <name>', 'the user that has (default: you)')
    .option('--comment <text>', 'what others should know')
    .option('--until <time>', 'remind again then: a time, or a duration from now', untilText)
    .option('--source <name>', 'the source that the runs belong to')
    .option('--undo', 'take it back')
    .option('--yes', 'do not ask whether the beginning of an id is the one that is meant')
    .option('--json', "print the API's answers")
    .addHelpText('after', HELP)
    .action((ids: string[], flags: AckFlags) => cli.run(() => ack(cli, ids, flags)));
}

const HELP = `
Nothing reminds of it or escalates until its state changes. Alerts are named by their ids (alr_...), runs
by their ids or URLs, the failures of a workflow by workflow/ and its name or id, those of runs without a
workflow by source/ and the name of their source. The beginning of an id has 8 characters at least; on a terminal it asks whether that one
is meant. Exits 1 when there is no such alert or run.

Examples:
  runwatch ack alr_4n2k9x --comment "provider is down" --until 2h
  runwatch ack 6f1c9a52 --by ana
  runwatch ack workflow/invoices --comment "fixed, deploying"
  runwatch ack 6f1c9a52 --undo`;

async function ack(cli: CommandLine, given: string[], flags: AckFlags): Promise<number> {
  if (flags.undo === true && (flags.by ?? flags.comment ?? flags.until) !== undefined) {
    throw usageError('--undo takes no --by, --comment or --until');
  }
  const client = await cli.connect(flags);
  const body = bodyOf(flags, cli);
  const targets = given.map((text) => targetOf(text, client, { cli, flags }));
  const isUndo = flags.undo === true;
  const { stdout } = cli.io;
  // A mistake in one is found before any is changed.
  const found: Target[] = [];
  for (const find of targets) found.push(await find());
  const { results, exitCode } = await changeEach<Target, unknown>(cli, found, {
    nameOf: ({ id }) => id,
    async make({ kind, id, take, withdraw }) {
      const answer = isUndo ? await withdraw() : await take(body);
      if (answer === null) throw noSuch(kind, id);
      const done = `${isUndo ? 'no longer ' : ''}acknowledged`;
      if (flags.json !== true) stdout.write(`${done} ${kind} ${plain(id)}\n`);
      return answer;
    },
    failed: () => null,
    limit: 1,
  });
  if (flags.json === true) {
    writeJson(stdout, { results: results.filter((answer) => answer !== null) });
  }
  return exitCode;
}

function noSuch(kind: Target['kind'], id: string): RunwatchError {
  return new RunwatchError(`there is no ${kind} ${plain(id)}`, { code: 'not_found' });
}

function bodyOf({ by, comment, until }: AckFlags, { env }: CommandLine): AcknowledgeBody {
  return {
    by: by ?? env.user,
    ...(comment !== undefined && { comment }),
    ...(until !== undefined && { until }),
  };
}

/** An alert, a run or the failures of a workflow that are acknowledged. Answers are null where there is none. */
interface Target {
  kind: 'alert' | 'run' | 'failures of';
  id: string;
  take: (body: AcknowledgeBody) => Promise<unknown>;
  withdraw: () => Promise<unknown>;
}

/** Finds what a text names. Throws a usage error for one that cannot name anything. */
function targetOf(
  text: string,
  client: DaemonClient,
  { cli, flags }: { cli: CommandLine; flags: AckFlags },
): () => Promise<Target> {
  const resolver = { client, cli, source: flags.source, writes: flags };
  if (isAlertId(text)) {
    return async () => {
      const id = await resolveAlert(text, resolver);
      return {
        kind: 'alert',
        id,
        take: (body) => client.acknowledgeAlert(id, body),
        withdraw: async () =>
          (await client.withdrawAlert(id)) ? { id, acknowledged: null } : null,
      };
    };
  }
  const named = readFailures(text);
  if (named !== null) {
    return async () => {
      const failed = await resolveFailures(named, resolver);
      return {
        kind: 'failures of',
        id: text.trim(),
        take: (body) => client.acknowledgeFailures(failed, body),
        async withdraw() {
          await client.withdrawFailures(failed);
          const { source, workflowId } = failed;
          return { source, workflow_id: workflowId, acknowledged: null };
        },
      };
    };
  }
  const given = readRun(text);
  return async () => {
    const run = await resolveRun(given, resolver);
    return {
      kind: 'run',
      id: run.runId,
      take: (body) => client.acknowledge(run, body),
      withdraw: async () =>
        (await client.withdraw(run)) ? { run_id: run.runId, acknowledged: null } : null,
    };
  };
}
