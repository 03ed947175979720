import type { Command } from 'commander';
import type { CliContext } from './context.ts';
import { addEndpointActions } from './endpoint-actions.ts';
import { EXIT } from './exit.ts';
import { renderEndpoints } from './render/endpoints.ts';
import { plain } from './render/text.ts';
import { note, writeJson } from './report.ts';
import { connect, daemonCommand, type DaemonFlags, type VerbHost } from './verb.ts';

interface EndpointFlags extends DaemonFlags {
  json?: boolean;
}

export function addEndpointsVerb(host: VerbHost): void {
  const endpoints = daemonCommand(host, 'endpoints', 'read')
    .description('list endpoints and how they do; test, pause, retry or rotate one')
    .option('--json', "print the API's answer")
    .helpCommand(false)
    .allowExcessArguments()
    .addHelpText('after', HELP)
    .action((flags: EndpointFlags, command: Command) => {
      refuseUnknown(command);
      return host.run((context) => listEndpoints(context, flags));
    });
  addEndpointActions(host, endpoints);
}

const HELP = `
An endpoint that is failing is probed now and then, and its deliveries wait. One that is disabled is
sent nothing until it is resumed.

Examples:
  runwatch endpoints
  runwatch endpoints test ops && echo works
  runwatch endpoints --json | jq '.data[] | select(.health.state != "active")'`;

/** The command takes no arguments: what stands there was meant as one of its own verbs. */
function refuseUnknown(command: Command): void {
  const [word] = command.args;
  if (word === undefined) return;
  const verbs = command.commands.map((one) => one.name()).join(', ');
  command.error(`error: endpoints has no verb "${plain(word)}"; expected one of: ${verbs}`);
}

async function listEndpoints(context: CliContext, flags: EndpointFlags): Promise<number> {
  const page = await connect(context, flags).listEndpoints();
  const { stdout, stderr } = context.io;
  if (flags.json === true) writeJson(stdout, page);
  else if (page.data.length === 0) note(stderr, 'No endpoints are configured.');
  else stdout.write(renderEndpoints(page.data, context));
  return EXIT.ok;
}
