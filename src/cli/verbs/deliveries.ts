import { Option } from 'commander';
import type { DeliveryQuery, DeliveryView } from '../../client/types.ts';
import { RunwatchError } from '../../core/errors.ts';
import type { CommandLine } from '../command-line.ts';
import { EXIT } from '../exit.ts';
import {
  addFilterFlags,
  addListingFlags,
  OF_ONE_RUN,
  showListing,
  timeFilters,
  type Asking,
  type Listing,
  type ListingFlags,
} from '../listing.ts';
import { DELIVERY_STATE_WORDS, deliveryStates } from '../options.ts';
import { deliveryColumns, renderDelivery } from '../render/deliveries.ts';
import { plain } from '../render/text.ts';
import { writeJson } from '../report.ts';
import { resolveId } from '../resolve.ts';
import { daemonCommand } from '../verb.ts';
import { openWeb } from '../web.ts';

const DELIVERIES: Listing<DeliveryView, DeliveryQuery, ListingFlags> = {
  what: ['delivery', 'deliveries'],
  none: 'No deliveries.',
  filters: {
    state: new Option(
      '--state <state>',
      `in this state; several by comma: ${DELIVERY_STATE_WORDS.join(', ')}`,
    ).argParser(deliveryStates),
    endpoint: new Option('--endpoint <name>', 'to one endpoint, or to one webhook by its URL'),
    run_id: OF_ONE_RUN,
    source: new Option('--source <name>', 'the source that the run belongs to'),
    event_id: {
      option: new Option('--event <id>', 'of one event'),
      read: (event: string, asking: Asking) => resolveId(event, 'event', asking),
    },
    ...timeFilters('created'),
  },
  list: (client, query) => client.listDeliveries(query),
  page: { path: '/deliveries', names: { run_id: 'run', event_id: 'event' } },
  columns: deliveryColumns,
};

export function addDeliveriesVerb(cli: CommandLine): void {
  const deliveries = daemonCommand<'GET /v1/deliveries' | 'GET /v1/deliveries/{id}'>(
    cli.program,
    'deliveries [id]',
    'read',
  ).description('list deliveries, or show one with its attempts');
  addListingFlags(addFilterFlags(deliveries, DELIVERIES.filters), DELIVERIES.page)
    .addHelpText('after', HELP)
    .action((id: string | undefined, flags: ListingFlags) =>
      cli.run(() =>
        id === undefined ? showListing(cli, DELIVERIES, flags) : showDelivery(cli, id, flags),
      ),
    );
}

const HELP = `
Examples:
  runwatch deliveries --state dead --since 1d
  runwatch deliveries --run 6f1c9a52 --json
  runwatch deliveries dlv_0f3a9c21b7d4`;

async function showDelivery(cli: CommandLine, given: string, flags: ListingFlags): Promise<number> {
  const client = await cli.connect(flags);
  const id = await resolveId(given, 'delivery', { client, cli });
  if (flags.web === true) return openWeb(cli, flags, { path: `/deliveries/${id}` });
  const delivery = await client.getDelivery(id);
  if (delivery === null) {
    throw new RunwatchError(`there is no delivery ${plain(id)}`, { code: 'delivery_not_found' });
  }
  const { stdout } = cli.io;
  if (flags.json === true) writeJson(stdout, delivery);
  else stdout.write(renderDelivery(delivery, cli));
  return EXIT.ok;
}
