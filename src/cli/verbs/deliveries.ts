import { Option } from 'commander';
import { DELIVERY_STATES } from '../../core/delivery/delivery.ts';
import { RunwatchError } from '../../core/errors.ts';
import { type DaemonClient, collectPages } from '../../client/client.ts';
import type { CliContext } from '../context.ts';
import { EXIT } from '../exit.ts';
import { positiveInteger } from '../options.ts';
import type { Query } from '../../client/transport.ts';
import { renderDeliveries, renderDelivery } from '../render/deliveries.ts';
import { plain } from '../render/text.ts';
import { note, writeJson } from '../report.ts';
import { connect, daemonCommand, type DaemonFlags, type VerbHost, whyNothing } from '../verb.ts';

interface DeliveryFlags extends DaemonFlags {
  state?: string;
  endpoint?: string;
  run?: string;
  event?: string;
  limit: number;
  json?: boolean;
}

export function addDeliveriesVerb(host: VerbHost): void {
  daemonCommand(host, 'deliveries [id]', 'read')
    .description('list deliveries, the newest first, or show one with its attempts')
    .addOption(new Option('--state <state>', 'in one state').choices(DELIVERY_STATES))
    .option('--endpoint <name>', 'to one endpoint, or to one webhook by its URL')
    .option('--run <run-id>', 'of one run')
    .option('--event <id>', 'of one event')
    .option('--limit <n>', 'how many at most', positiveInteger, 50)
    .option('--json', "print the API's answer")
    .addHelpText('after', HELP)
    .action((id: string | undefined, flags: DeliveryFlags) =>
      host.run((context) => {
        const client = connect(context, flags);
        return id === undefined
          ? listDeliveries(client, context, flags)
          : showDelivery(client, context, { id, flags });
      }),
    );
}

const HELP = `
Examples:
  runwatch deliveries --state dead
  runwatch deliveries --run run-1 --json
  runwatch deliveries dlv_0f3a9c21b7d4_failed_Ww8vXowfSlOaOQ9vCj9_EQ`;

async function listDeliveries(
  client: DaemonClient,
  context: CliContext,
  flags: DeliveryFlags,
): Promise<number> {
  const { state, endpoint, run, event } = flags;
  const filters = { state, endpoint, run_id: run, event_id: event };
  const page = await collectPages(
    (paging) => client.listDeliveries({ ...filters, ...paging }),
    flags.limit,
  );
  const { stdout, stderr } = context.io;
  const any = (query: Query) => client.listDeliveries(query);
  const nothing = { what: 'delivery', none: 'No deliveries.', list: any };
  if (flags.json === true) writeJson(stdout, page);
  else if (page.data.length === 0) note(stderr, await whyNothing({ ...nothing, filters }));
  else stdout.write(renderDeliveries(page.data, context));
  if (flags.json !== true && page.next_cursor !== null) {
    note(stderr, 'There are more; --limit shows them.');
  }
  return EXIT.ok;
}

async function showDelivery(
  client: DaemonClient,
  context: CliContext,
  { id, flags }: { id: string; flags: DeliveryFlags },
): Promise<number> {
  const delivery = await client.getDelivery(id);
  if (delivery === null) {
    throw new RunwatchError(`there is no delivery ${plain(id)}`, { code: 'delivery_not_found' });
  }
  const { stdout } = context.io;
  if (flags.json === true) writeJson(stdout, delivery);
  else stdout.write(renderDelivery(delivery, context));
  return EXIT.ok;
}
