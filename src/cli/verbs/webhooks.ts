import { type Command, Option } from 'commander';
import type { WebhookQuery, WebhooksView } from '../../client/types.ts';
import { confirm } from '../confirm.ts';
import type { CommandLine } from '../command-line.ts';
import { EXIT, usageError } from '../exit.ts';
import {
  addFilterFlags,
  queryOf,
  showRows,
  wideFlag,
  type FilterFlags,
  type TableView,
} from '../listing.ts';
import type { Column } from '../render/table.ts';
import { count, paint, plain } from '../render/text.ts';
import { note, writeJson } from '../report.ts';
import { daemonCommand, refuseUnknownVerb, type DaemonFlags } from '../verb.ts';
import { countColumns, healthText } from './endpoints.ts';

interface WebhookFlags extends DaemonFlags {
  wide?: boolean;
  json?: boolean;
}

interface EndFlags extends WebhookFlags {
  yes?: boolean;
}

export function addWebhooksVerb(cli: CommandLine): void {
  const webhooks = withFilter(daemonCommand<'GET /v1/webhooks'>(cli.program, 'webhooks', 'read'))
    .description('list webhooks of watches and batches; end those of a token')
    .addOption(wideFlag())
    .helpCommand(false)
    .allowExcessArguments()
    .addHelpText('after', HELP)
    .action((flags: WebhookFlags, command: Command) => {
      refuseUnknownVerb(command);
      return cli.run(() => listWebhooks(cli, flags));
    });
  withFilter(daemonCommand<'DELETE /v1/webhooks'>(webhooks, 'end', 'admin'))
    .description('end all that a token registered, or all of a source')
    .option('--yes', 'do not ask')
    .allowExcessArguments(false)
    .addHelpText('after', END_HELP)
    // The list takes these flags as well, wherever they stand.
    .action((_flags: unknown, command: Command) =>
      cli.run(() => endWebhooks(cli, command.optsWithGlobals<EndFlags>())),
    );
}

const FILTERS: FilterFlags<WebhookQuery> = {
  token: new Option('--token <name>', 'only those that this token registered'),
  source: new Option('--source <name>', 'only those of watches and batches of this source'),
};

function withFilter(command: Command): Command {
  return addFilterFlags(command, FILTERS).option('--json', "print the API's answer");
}

const HELP = `
Webhooks that came with watches or batches, by their masked URL, as far as the watches are active and
the batches have not completed.

Examples:
  runwatch webhooks
  runwatch webhooks --token ci
  runwatch webhooks --json | jq '.data[] | select(.registered_by == [])'`;

const END_HELP = `
The watches go on, and deliveries that were planned before still go out. A batch without endpoints of
its own goes on with those of its runs. A webhook that another token registered too goes on for that
one.

Examples:
  runwatch webhooks end --token ci
  runwatch webhooks end --source staging --yes`;

async function listWebhooks(cli: CommandLine, flags: WebhookFlags): Promise<number> {
  const client = await cli.connect(flags);
  const query = await queryOf(FILTERS, flags, { client, cli });
  const page = await client.listWebhooks(query);
  showRows(cli, flags, { page, none: noneText(query), columns: columnsFor });
  if (flags.json !== true && page.more) {
    note(cli.io.stderr, 'There are more; --token and --source narrow the list.');
  }
  return EXIT.ok;
}

function noneText(query: WebhookQuery): string {
  return Object.keys(query).length === 0
    ? 'No active watch and no batch has a webhook.'
    : 'No webhook of an active watch or a batch matches.';
}

async function endWebhooks(cli: CommandLine, flags: EndFlags): Promise<number> {
  const client = await cli.connect(flags);
  const query = await queryOf(FILTERS, flags, { client, cli });
  if (Object.keys(query).length === 0) {
    throw usageError('name the token or the source whose webhooks are to end: --token, --source');
  }
  const { stdout, stderr } = cli.io;
  const { data, more } = flags.yes === true ? NOT_ASKED : await client.listWebhooks(query);
  if (flags.yes !== true) {
    if (data.length === 0) {
      note(stderr, noneText(query));
      return EXIT.ok;
    }
    const held = data.reduce((sum, { watches, batches }) => sum + watches + batches, 0);
    const least = more ? 'at least ' : '';
    const what = `${count(data.length, 'webhook', 'webhooks')} of ${least}${count(held, 'subscription', 'subscriptions')}`;
    if (!(await confirm(cli, `End ${what}${whoseText(query)}?`))) return EXIT.failure;
  }
  const ended = await client.endWebhooks(query);
  if (flags.json === true) writeJson(stdout, ended);
  else stdout.write(`${count(ended.count, 'webhook has', 'webhooks have')} ended\n`);
  return EXIT.ok;
}

const NOT_ASKED: WebhooksView = { data: [], more: false };

function whoseText({ token, source }: WebhookQuery): string {
  const by = token === undefined ? '' : ` that the token ${plain(token)} registered`;
  return source === undefined ? by : `${by} for the source ${plain(source)}`;
}

type Webhook = WebhooksView['data'][number];

function columnsFor(_webhooks: unknown, { now, colors }: TableView): Column<Webhook>[] {
  return [
    { head: 'URL', value: ({ url }) => url },
    { head: 'REGISTERED BY', value: (webhook) => webhook.registered_by.join(' ') || '-' },
    { head: 'SOURCE', value: ({ sources }) => sources.join(' ') },
    { head: 'WATCHES', value: ({ watches }) => String(watches), align: 'right' },
    { head: 'BATCHES', value: ({ batches }) => String(batches), align: 'right' },
    {
      head: 'HEALTH',
      value: ({ health }) => healthText(health, now),
      paint: (text, { health }) => paint(text, health.state, colors),
    },
    ...countColumns<Webhook>(colors),
  ];
}
