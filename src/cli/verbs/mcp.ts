import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { untilAborted, type CommandLine } from '../command-line.ts';
import { EXIT } from '../exit.ts';
import { daemonCommand, type DaemonFlags } from '../verb.ts';

export function addMcpVerb(cli: CommandLine): void {
  daemonCommand<'GET /v1/watches' | 'GET /v1/alerts' | 'GET /v1/attention'>(
    cli.program,
    'mcp',
    'read',
  )
    .description('serve tools to AI clients over stdio (MCP)')
    .addHelpText('after', HELP)
    .action((flags: DaemonFlags) =>
      cli.run(async () => {
        // Loaded here: no other verb pays for it.
        const { StdioServerTransport } = await import('@modelcontextprotocol/sdk/server/stdio.js');
        const { rightsOf, serveMcp } = await import('../mcp/server.ts');
        const client = await cli.connect(flags, { program: 'mcp' });
        const { stdin, stdout } = cli.io;
        const transport = new StdioServerTransport(stdin, stdout.stream as Writable);
        const closed = Promise.race([once(stdin, 'end'), untilAborted(cli.signal)]);
        const can = await rightsOf(client, cli);
        await serveMcp(client, cli, transport, { can, closed });
        return EXIT.ok;
      }),
    );
}

const HELP = `
Tools: list_attention, list_runs, list_batches, list_alerts, list_workflows, list_deliveries, list_endpoints, list_silences,
show_run, show_alert, show_delivery, explain_run, wait_run and wait_batch. With a token that may write also watch_run,
redeliver, acknowledge, unacknowledge, resolve_alert, silence and expire_silence; with one that has the scope
admin also stop_run. These only say what they would touch unless they are called with confirm: true.
Runs are resources, too: run://<source>/<run id>; those that changed last are listed.
A silence lasts 24 h at most. Without a token nothing can be changed.

Examples:
  claude mcp add runwatch -- runwatch mcp
  RUNWATCH_URL=https://runwatch.example.com \\
    RUNWATCH_API_TOKEN_FILE=~/token runwatch mcp`;
