import { Command, CommanderError } from 'commander';
import type { CliHost, CliDependencies } from './context.ts';
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
import { EXIT, exitCodeOf } from './exit.ts';
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
import { reportError } from './report.ts';
import { addShowVerb } from './verbs/show.ts';
import { addSourcesVerb } from './verbs/sources.ts';
import { addUnwatchVerb } from './verbs/unwatch.ts';
import { addWebhooksVerb } from './verbs/webhooks.ts';
import { addWorkflowsVerb } from './verbs/workflows.ts';
import { guard, type VerbHost } from './verb.ts';
import { addWaitVerb } from './verbs/wait.ts';
import { addWatchVerb } from './verbs/watch.ts';

/**
 * Runs the command line.
 * @param args without the node binary and the script
 * @returns the exit code; never throws for what a user or a daemon did
 */
export async function runProgram(
  args: readonly string[],
  host: CliHost,
  dependencies: CliDependencies,
): Promise<number> {
  const { program, exitCode } = buildProgram(host, dependencies);
  try {
    await program.parseAsync([...args], { from: 'user' });
    return exitCode();
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  }
}

function buildProgram(host: CliHost, dependencies: CliDependencies) {
  let exitCode: number = EXIT.ok;
  const program = newProgram(host);
  const isVerbose = () => program.opts<{ verbose?: boolean }>().verbose === true;
  const verbHost: VerbHost = {
    program,
    dependencies,
    async run(verb, failure) {
      exitCode = await guard(verb, { host, failure, isVerbose });
    },
    async runUnguarded(verb) {
      try {
        exitCode = await verb();
      } catch (error) {
        reportError(host.io.stderr, error, { verbose: isVerbose() });
        exitCode = exitCodeOf(error, EXIT.failure);
      }
    },
  };
  addVerbs(verbHost, host.version);
  return { program, exitCode: () => exitCode };
}

function newProgram({ io, version }: CliHost): Command {
  const { stdout, stderr } = io;
  return new Command('runwatch')
    .description('Watches runs of the Noxus AI platform and notifies you of what becomes of them.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .option('--verbose', 'print where an error comes from')
    .addHelpText('after', OVERVIEW)
    .helpCommand(false)
    .showHelpAfterError('`runwatch --help` lists the verbs, `runwatch <verb> --help` explains one.')
    .configureHelp({ showGlobalOptions: false })
    .configureOutput({
      writeOut: stdout.write,
      writeErr: stderr.write,
      outputError: (text, write) =>
        write(text.replace(/^error:/, stderr.colors.red('error:')).replace(/\n\n$/, '\n')),
      getOutHelpWidth: () => Math.min(stdout.columns, 100),
      getErrHelpWidth: () => Math.min(stderr.columns, 100),
      getOutHasColors: () => stdout.colors.isColorSupported,
      getErrHasColors: () => stderr.colors.isColorSupported,
    })
    .exitOverride();
}

function addVerbs(host: VerbHost, version: string): void {
  host.program.commandsGroup('Watching:');
  addWatchVerb(host);
  addWaitVerb(host);
  addUnwatchVerb(host);
  addAckVerb(host);
  addSilenceVerb(host);
  host.program.commandsGroup('Reading:');
  addAttentionVerb(host);
  addListVerb(host);
  addShowVerb(host);
  addEventsVerb(host);
  addAlertsVerb(host);
  addWorkflowsVerb(host);
  addPollingVerb(host);
  addSourcesVerb(host);
  host.program.commandsGroup('Delivering:');
  addDeliveriesVerb(host);
  addRedeliverVerb(host);
  addEndpointsVerb(host);
  addWebhooksVerb(host);
  addRulesVerb(host);
  host.program.commandsGroup('Running:');
  addServeVerb(host);
  addConfigVerb(host);
  addDoctorVerb(host);
  addReencryptVerb(host);
  addMcpVerb(host);
  host.program.commandsGroup('Trying out:');
  addDemoVerb(host);
  addSimulateVerb(host);
  addListenVerb(host);
  host.program.commandsGroup('About:');
  addHelpVerb(host);
  addVersionVerb(host, version);
  addCompletionVerb(host);
  addNamesVerb(host);
}

const OVERVIEW = `
Environment:
  RUNWATCH_URL        where the daemon answers (else RUNWATCH_HOST and RUNWATCH_PORT)
  RUNWATCH_API_TOKEN  its token; also as RUNWATCH_API_TOKEN_FILE
  NOXUS_API_KEY       for \`serve\`, and for \`wait\` without a daemon

Examples:
  runwatch demo                             see it at work
  NOXUS_API_KEY=... runwatch serve          start the daemon
  runwatch watch <run-id> --endpoint ops    be notified of what becomes of a run
  runwatch wait <run-id> && echo completed  wait for it in a script

\`runwatch <verb> --help\` explains a verb. Exit codes: 0 done, 1 not done, 2 called wrongly; wait has more.`;
