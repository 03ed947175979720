import { deliveryText } from '../../core/delivery/state.ts';
import { shortAlertId, shortDeliveryId } from '../../core/event/ids.ts';
import type { CommandLine } from '../command-line.ts';
import type { TableView } from '../listing.ts';
import type { DeliveryDetailView, DeliveryView } from '../../client/types.ts';
import { paint, exactly, lasting, plain, relative, upcoming } from './text.ts';
import { renderFields, renderTable, type Column } from './table.ts';

/** The page of a run has its workflow above. */
type ListedDelivery = Omit<DeliveryView, 'workflow_name' | 'alert_rule' | 'batch'> &
  Partial<Pick<DeliveryView, 'workflow_name' | 'batch'>>;

export function deliveryColumns(
  deliveries: readonly ListedDelivery[],
  { now, colors, idTexts }: TableView,
): Column<ListedDelivery>[] {
  const runText = idTexts(deliveries.map(({ run_id: id }) => id));
  const idText = idTexts(
    deliveries.map(({ id }) => id),
    shortDeliveryId,
  );
  const alertText = idTexts(
    deliveries.flatMap(({ alert_id: id }) => id ?? []),
    shortAlertId,
  );
  const isOfRuns = deliveries.every(
    ({ alert_id: alert, batch_id: batch }) => (alert ?? batch) === null,
  );
  return [
    { head: 'DELIVERY', value: ({ id }) => idText(id), keep: 'always' },
    {
      head: 'STATE',
      value: ({ state }) => deliveryText(state),
      paint: (text, delivery) => paint(text, delivery.state, colors),
      keep: 'always',
    },
    { head: 'EVENT', value: (delivery) => delivery.event_type },
    { head: 'TO', value: (delivery) => delivery.endpoint },
    {
      head: isOfRuns ? 'RUN' : 'ABOUT',
      value: ({ run_id: run, alert_id: alert, batch_id: batchId, batch }) => {
        if (run !== '') return runText(run);
        return alert === null ? (batch ?? batchId ?? '-') : alertText(alert);
      },
      keep: 'whole',
    },
    { head: 'WORKFLOW', value: ({ workflow_name: name }) => name ?? '-' },
    {
      head: 'CREATED',
      value: (delivery) => relative(delivery.created_at, now),
      passes: true,
    },
    { head: 'LAST', value: (delivery) => attemptText(delivery.last) },
    { head: 'TRIES', value: (delivery) => String(delivery.attempt_count), align: 'right' },
    {
      head: 'NEXT',
      value: (delivery) => upcoming(delivery.next_attempt_at, now),
      passes: true,
    },
  ];
}

export function renderDelivery(delivery: DeliveryDetailView, cli: CommandLine): string {
  const now = cli.now();
  const { stdout } = cli.io;
  const fields = renderFields(
    [
      ['delivery', plain(delivery.id)],
      ['state', paint(stateText(delivery), delivery.state, stdout.colors)],
      ['to', plain(delivery.endpoint)],
      ['event', `${plain(delivery.event_type)} (${plain(delivery.event_id)})`],
      ...aboutFields(delivery),
      ['created', exactly(delivery.created_at, now)],
      ['delivered', exactly(delivery.delivered_at, now)],
      ['next attempt', exactly(delivery.next_attempt_at, now)],
    ],
    stdout,
  );
  if (delivery.attempts.length === 0) return fields;
  const attempts = renderTable<Attempt>(
    delivery.attempts,
    [
      { head: 'AT', value: (attempt) => attempt.at, keep: 'always' },
      { head: 'RESULT', value: attemptText },
      { head: 'TOOK', value: (attempt) => lasting(attempt.duration_ms), align: 'right' },
      { head: 'CONNECT', value: connectText, align: 'right' },
      { head: 'WAIT', value: ({ phases }) => partText(phases?.wait_ms), align: 'right' },
      { head: 'RECEIVE', value: ({ phases }) => partText(phases?.receive_ms), align: 'right' },
      { head: 'ANSWER', value: (attempt) => attempt.response ?? '-' },
    ],
    stdout,
  );
  return `${fields}\n${stdout.colors.bold('Attempts')}\n${attempts}`;
}

const stateText = ({ state, endpoint }: DeliveryDetailView) => plain(deliveryText(state, endpoint));

/** The run and its workflow, the alert, or the batch. */
function aboutFields(delivery: DeliveryDetailView): [string, string][] {
  const { run_id: run, alert_id: alert, workflow_name: name } = delivery;
  const { batch_id: batchId, batch } = delivery;
  return [
    ...(run === '' ? [] : [['run', plain(run)] satisfies [string, string]]),
    ...(name === null ? [] : [['workflow', plain(name)] satisfies [string, string]]),
    ...(alert === null ? [] : [['alert', plain(alert)] satisfies [string, string]]),
    ...(batchId === null ? [] : [['batch', plain(batch ?? batchId)] satisfies [string, string]]),
  ];
}

type Attempt = DeliveryDetailView['attempts'][number];

/** How long it took to connect; `kept` on a connection that was kept alive. */
function connectText({ phases }: Attempt): string {
  return phases?.connect_ms === null ? 'kept' : partText(phases?.connect_ms);
}

function partText(ms: number | null | undefined): string {
  return ms === null || ms === undefined ? '-' : lasting(ms);
}

/** What came of an attempt: its status and what was wrong with it. */
export function attemptText(attempt: Pick<Attempt, 'status' | 'error'> | null): string {
  if (attempt === null) return '-';
  const status = attempt.status === null ? '' : String(attempt.status);
  return [status, attempt.error?.message ?? ''].filter((part) => part !== '').join(' ') || 'ok';
}
