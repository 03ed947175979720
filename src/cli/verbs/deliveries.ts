import type { DaemonClient } from '../../client/client.ts';
import { collectPages } from '../../client/pages.ts';
import { DELIVERY_STATES } from '../../core/delivery/delivery.ts';
import { RunwatchError } from '../../core/errors.ts';
import type { CommandLine } from '../command-line.ts';
import { EXIT } from '../exit.ts';
import {
  addListingFlags,
  addTimeFlags,
  limitOf,
  timeQuery,
  type ListingFlags,
  type TimeFlags,
  showListing,
} from '../listing.ts';
import { deliveryStates } from '../options.ts';
import { renderDeliveries, renderDelivery } from '../render/deliveries.ts';
import { plain } from '../render/text.ts';
import { writeJson } from '../report.ts';
import { resolveId, resolveRun } from '../resolve.ts';
import { daemonCommand, type DaemonFlags } from '../verb.ts';

interface DeliveryFlags extends DaemonFlags, ListingFlags, TimeFlags {
  state?: string;
  endpoint?: string;
  run?: string;
  source?: string;
  event?: string;
}

export function addDeliveriesVerb(cli: CommandLine): void {
  const deliveries = daemonCommand(cli.program, 'deliveries [id]', 'read')
    .description('list deliveries, the newest first, or show one with its attempts')
    .option(
      '--state <state>',
      `in this state; several by comma: ${DELIVERY_STATES.join(', ')}`,
      deliveryStates,
    )
    .option('--endpoint <name>', 'to one endpoint, or to one webhook by its URL')
    .option('--run <run-id>', 'of one run')
    .option('--source <name>', 'the source that the run belongs to')
    .option('--event <id>', 'of one event');
  addTimeFlags(deliveries, 'created');
  addListingFlags(deliveries)
    .addHelpText('after', HELP)
    .action((id: string | undefined, flags: DeliveryFlags) =>
      cli.run(async () => {
        const client = await cli.connect(flags);
        return id === undefined
          ? listDeliveries(client, cli, flags)
          : showDelivery(client, cli, { id, flags });
      }),
    );
}

const HELP = `
Examples:
  runwatch deliveries --state dead --since 1d
  runwatch deliveries --run 6f1c9a52 --json
  runwatch deliveries dlv_0f3a9c21b7d4`;

async function listDeliveries(
  client: DaemonClient,
  cli: CommandLine,
  flags: DeliveryFlags,
): Promise<number> {
  const { state, endpoint, run, source, event } = flags;
  const resolver = { client, cli };
  const filters = {
    state,
    endpoint,
    run_id: run === undefined ? undefined : await resolveRun(run, resolver),
    source,
    event_id: event === undefined ? undefined : await resolveId(event, 'event', resolver),
    ...timeQuery(flags, cli.now()),
  };
  const page = await collectPages(
    (paging) => client.listDeliveries({ ...filters, ...paging }),
    limitOf(flags),
  );
  await showListing(cli.io, flags, {
    page,
    what: ['delivery', 'deliveries'],
    none: 'No deliveries.',
    filters,
    list: (query) => client.listDeliveries(query),
    render: (deliveries, output) => renderDeliveries(deliveries, cli.now(), output),
  });
  return EXIT.ok;
}

async function showDelivery(
  client: DaemonClient,
  cli: CommandLine,
  { id: given, flags }: { id: string; flags: DeliveryFlags },
): Promise<number> {
  const id = await resolveId(given, 'delivery', { client, cli });
  const delivery = await client.getDelivery(id);
  if (delivery === null) {
    throw new RunwatchError(`there is no delivery ${plain(id)}`, { code: 'delivery_not_found' });
  }
  const { stdout } = cli.io;
  if (flags.json === true) writeJson(stdout, delivery);
  else stdout.write(renderDelivery(delivery, cli));
  return EXIT.ok;
}
