import { Option } from 'commander';
import { DELIVERY_STATES } from '../core/delivery.ts';
import { RunwatchError } from '../core/errors.ts';
import type { DaemonClient } from './client.ts';
import type { CliContext } from './context.ts';
import { EXIT } from './exit.ts';
import { positiveInteger } from './options.ts';
import { collectPages } from './pages.ts';
import { paint } from './render/paint.ts';
import { renderFields, renderTable, type Column } from './render/table.ts';
import { exactly, plain, relative } from './render/text.ts';
import { note, writeJson } from './report.ts';
import { connect, daemonCommand, type DaemonFlags, type VerbHost } from './verb.ts';
import type { DeliveryDetailView, DeliveryView } from './wire.ts';

interface DeliveryFlags extends DaemonFlags {
  state?: string;
  endpoint?: string;
  run?: string;
  event?: string;
  limit: number;
  json?: boolean;
}

export function addDeliveriesVerb(host: VerbHost): void {
  daemonCommand(host, 'deliveries [id]')
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
          ? list(client, context, flags)
          : one(client, context, { id, flags });
      }),
    );
}

const HELP = `
Examples:
  runwatch deliveries --state dead
  runwatch deliveries --run run-1 --json
  runwatch deliveries dlv_0123456789abcdef0123456789abcdef`;

async function list(
  client: DaemonClient,
  context: CliContext,
  flags: DeliveryFlags,
): Promise<number> {
  const page = await collectPages(
    ({ limit, cursor }) =>
      client.listDeliveries({
        state: flags.state,
        endpoint: flags.endpoint,
        run_id: flags.run,
        event_id: flags.event,
        limit,
        cursor,
      }),
    flags.limit,
  );
  const { stdout, stderr } = context.io;
  if (flags.json === true) writeJson(stdout, page);
  else if (page.data.length === 0) note(stderr, 'No deliveries.');
  else stdout.write(renderDeliveries(page.data, context));
  if (flags.json !== true && page.next_cursor !== null) {
    note(stderr, 'There are more; --limit shows them.');
  }
  return EXIT.ok;
}

async function one(
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

export function renderDeliveries(list: readonly DeliveryView[], context: CliContext): string {
  const now = context.now();
  const { colors } = context.io.stdout;
  const columns: Column<DeliveryView>[] = [
    { head: 'CREATED', value: (delivery) => relative(delivery.created_at, now) },
    {
      head: 'STATE',
      value: (delivery) => delivery.state,
      paint: (text, delivery) => paint(text, delivery.state, colors),
    },
    { head: 'EVENT', value: (delivery) => delivery.event_type },
    { head: 'RUN', value: (delivery) => delivery.run_id },
    { head: 'TO', value: (delivery) => delivery.endpoint },
    { head: 'TRIES', value: (delivery) => String(delivery.attempt_count), align: 'right' },
    { head: 'LAST', value: (delivery) => attemptText(delivery.last) },
    { head: 'NEXT', value: (delivery) => relative(delivery.next_attempt_at, now) },
    { head: 'DELIVERY', value: (delivery) => delivery.id },
  ];
  return renderTable(list, columns, context.io.stdout);
}

function renderDelivery(delivery: DeliveryDetailView, context: CliContext): string {
  const now = context.now();
  const { stdout } = context.io;
  const fields = renderFields(
    [
      ['delivery', plain(delivery.id)],
      ['state', paint(plain(delivery.state), delivery.state, stdout.colors)],
      ['to', plain(delivery.endpoint)],
      ['event', `${plain(delivery.event_type)} (${plain(delivery.event_id)})`],
      ['run', plain(delivery.run_id)],
      ['created', exactly(delivery.created_at, now)],
      ['delivered', exactly(delivery.delivered_at, now)],
      ['next attempt', exactly(delivery.next_attempt_at, now)],
    ],
    stdout,
  );
  if (delivery.attempts.length === 0) return fields;
  const attempts = renderTable(
    delivery.attempts,
    [
      { head: 'AT', value: (attempt) => attempt.at },
      { head: 'RESULT', value: attemptText },
      { head: 'TOOK', value: (attempt) => `${attempt.duration_ms}ms`, align: 'right' },
      { head: 'ANSWER', value: (attempt) => attempt.response ?? '-' },
    ],
    stdout,
  );
  return `${fields}\n${stdout.colors.bold('Attempts')}\n${attempts}`;
}

function attemptText(attempt: DeliveryView['last']): string {
  if (attempt === null) return '-';
  const status = attempt.status === null ? '' : String(attempt.status);
  return [status, attempt.error?.message ?? ''].filter((part) => part !== '').join(' ') || 'ok';
}
