import type { CliContext } from './context.ts';
import { EXIT } from './exit.ts';
import { renderTable, type Column } from './render/table.ts';
import { note, writeJson } from './report.ts';
import { connect, daemonCommand, type DaemonFlags, type VerbHost } from './verb.ts';
import type { EndpointView } from './wire.ts';

interface EndpointFlags extends DaemonFlags {
  json?: boolean;
}

export function addEndpointsVerb(host: VerbHost): void {
  daemonCommand(host, 'endpoints')
    .description('list the configured endpoints and what they were sent')
    .option('--json', "print the API's answer")
    .addHelpText('after', HELP)
    .action((flags: EndpointFlags) => host.run((context) => endpoints(context, flags)));
}

const HELP = `
Examples:
  runwatch endpoints
  runwatch endpoints --json | jq '.data[] | select(.counts.dead > 0)'`;

async function endpoints(context: CliContext, flags: EndpointFlags): Promise<number> {
  const page = await connect(context, flags).listEndpoints();
  const { stdout, stderr } = context.io;
  if (flags.json === true) writeJson(stdout, page);
  else if (page.data.length === 0) note(stderr, 'No endpoints are configured.');
  else stdout.write(renderTable(page.data, columnsFor(context), stdout));
  return EXIT.ok;
}

function columnsFor(context: CliContext): Column<EndpointView>[] {
  const { colors } = context.io.stdout;
  return [
    { head: 'NAME', value: (endpoint) => endpoint.name },
    { head: 'TYPE', value: (endpoint) => endpoint.type },
    { head: 'DEFAULT', value: (endpoint) => (endpoint.default ? 'yes' : '-') },
    { head: 'DELIVERED', value: counted('delivered'), align: 'right' },
    { head: 'PENDING', value: counted('pending'), align: 'right' },
    {
      head: 'DEAD',
      value: counted('dead'),
      paint: (text, endpoint) => ((endpoint.counts['dead'] ?? 0) > 0 ? colors.red(text) : text),
      align: 'right',
    },
    { head: 'URL', value: (endpoint) => endpoint.url ?? '-' },
    { head: 'EVENTS', value: (endpoint) => endpoint.events?.join(' ') ?? '(default)' },
  ];
}

function counted(state: string): (endpoint: EndpointView) => string {
  return (endpoint) => String(endpoint.counts[state] ?? 0);
}
