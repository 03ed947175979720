import { CommanderError, Help } from 'commander';
import type { CommandLine } from './command-line.ts';
import { addAuditVerb } from './verbs/audit.ts';
import { addBatchesVerb } from './verbs/batches.ts';
import { addAttentionVerb } from './verbs/attention.ts';
import { addHelpVerb, addVersionVerb } from './verbs/about.ts';
import { addCompletionVerb, addNamesVerb } from './verbs/completion.ts';
import { addAlertsVerb } from './verbs/alerts.ts';
import { addRulesVerb } from './verbs/rules.ts';
import { addSilenceVerb } from './verbs/silence.ts';
import { addAckVerb } from './verbs/ack.ts';
import { addDeliveriesVerb } from './verbs/deliveries.ts';
import { addDoctorVerb } from './verbs/doctor.ts';
import { addEndpointsVerb } from './verbs/endpoints.ts';
import { addEventsVerb } from './verbs/events.ts';
import { EXIT } from './exit.ts';
import type { Output } from './output.ts';
import { reflowed } from './render/text.ts';
import type { LocalVerbs } from './local/local-verbs.ts';
import { addListVerb } from './verbs/list.ts';
import {
  addConfigVerb,
  addDemoVerb,
  addListenVerb,
  addReencryptVerb,
  addServeVerb,
  addSimulateVerb,
} from './verbs/local.ts';
import { addMcpVerb } from './verbs/mcp.ts';
import { addPollingVerb } from './verbs/polling.ts';
import { addRedeliverVerb } from './verbs/redeliver.ts';
import { addShowVerb } from './verbs/show.ts';
import { addSourcesVerb } from './verbs/sources.ts';
import { addStoreVerb } from './verbs/store.ts';
import { addStopVerb } from './verbs/stop.ts';
import { addTryVerb } from './verbs/try.ts';
import { addUnwatchVerb } from './verbs/unwatch.ts';
import { addWebhooksVerb } from './verbs/webhooks.ts';
import { addWorkflowsVerb } from './verbs/workflows.ts';
import { addWaitVerb } from './verbs/wait.ts';
import { addWatchVerb } from './verbs/watch.ts';

/**
 * Runs the command line.
 * @param args without the node binary and the script
 * @returns the exit code; never throws for what a user or a daemon did
 */
export async function runProgram(
  args: readonly string[],
  cli: CommandLine,
  local: LocalVerbs,
): Promise<number> {
  describeProgram(cli);
  addVerbs(cli, local);
  try {
    await cli.program.parseAsync([...args], { from: 'user' });
    return cli.exitCode;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  }
}

function describeProgram({ program, io, version }: CommandLine): void {
  const { stdout, stderr } = io;
  program
    .description('Watches runs of APIs, and notifies people and systems of what becomes of them.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .option('--verbose', 'print where an error comes from')
    .addHelpText('after', OVERVIEW)
    .helpCommand(false)
    .showHelpAfterError('`runwatch --help` lists the verbs, `runwatch <verb> --help` explains one.')
    .configureHelp({
      showGlobalOptions: false,
      subcommandTerm: (command) => new Help().subcommandTerm(command).replace(' [options]', ''),
      commandDescription: (command) => capitalized(command.description()),
    })
    .configureOutput({
      writeOut: (text) => stdout.write(reflowed(text, helpWidth(stdout))),
      writeErr: stderr.write,
      outputError: (text, write) =>
        write(text.replace(/^error:/, stderr.colors.red('error:')).replace(/\n\n$/, '\n')),
      getOutHelpWidth: () => helpWidth(stdout),
      getErrHelpWidth: () => helpWidth(stderr),
      getOutHasColors: () => stdout.colors.isColorSupported,
      getErrHasColors: () => stderr.colors.isColorSupported,
    })
    .exitOverride();
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A line longer than that is hard to read, however wide the terminal is. */
function helpWidth({ columns }: Output): number {
  return Math.min(columns, 80);
}

function addVerbs(cli: CommandLine, local: LocalVerbs): void {
  const { program } = cli;
  program.commandsGroup('Watching:');
  addWatchVerb(cli);
  addWaitVerb(cli, local);
  addUnwatchVerb(cli);
  addStopVerb(cli);
  addAckVerb(cli);
  addSilenceVerb(cli);
  program.commandsGroup('Reading:');
  addAttentionVerb(cli);
  addListVerb(cli);
  addShowVerb(cli);
  addEventsVerb(cli);
  addAlertsVerb(cli);
  addWorkflowsVerb(cli);
  addPollingVerb(cli);
  addSourcesVerb(cli);
  program.commandsGroup('Delivering:');
  addDeliveriesVerb(cli);
  addRedeliverVerb(cli);
  addEndpointsVerb(cli);
  addWebhooksVerb(cli);
  addRulesVerb(cli, local);
  program.commandsGroup('Running:');
  addServeVerb(cli, local);
  addConfigVerb(cli, local);
  addDoctorVerb(cli, local);
  addAuditVerb(cli);
  addBatchesVerb(cli);
  addStoreVerb(cli, local);
  addReencryptVerb(cli, local);
  addMcpVerb(cli);
  program.commandsGroup('Trying out:');
  addTryVerb(cli, local);
  addDemoVerb(cli, local);
  addSimulateVerb(cli, local);
  addListenVerb(cli, local);
  program.commandsGroup('About:');
  addHelpVerb(cli);
  addVersionVerb(cli);
  addCompletionVerb(cli);
  addNamesVerb(cli);
}

const OVERVIEW = `
Environment:
  RUNWATCH_URL        where the daemon answers (else RUNWATCH_HOST and _PORT)
  RUNWATCH_API_TOKEN  its token; also as RUNWATCH_API_TOKEN_FILE
  NOXUS_API_KEY       for \`serve\`, and for \`wait\` without a daemon

Examples:
  runwatch demo                             see it at work
  NOXUS_API_KEY=... runwatch serve          start the daemon, with a workspace
  runwatch serve --config runwatch.yaml     start it with the sources of a file
  runwatch watch <run-id> --endpoint ops    be notified of what becomes of a run
  runwatch wait <run-id> && echo completed  wait for it in a script

\`runwatch <verb> --help\` explains a verb. Exit codes: 0 done, 1 not done, 2 called wrongly; wait has more.`;
