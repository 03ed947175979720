import type { AlertRules } from '../../alert/rules.ts';
import type { SuppressorsById } from '../../alert/suppressions.ts';
import { groupOfAlert, MOST_RUNS, OPEN_STATES, type Alert } from '../../core/alert/alert.ts';
import { Covered } from '../../core/alert/covered.ts';
import type { Group, OpenAlert } from '../../core/alert/group.ts';
import type { Suppressor } from '../../core/alert/suppression.ts';
import { failedRuns, failedText, type AttentionItem } from '../../core/attention.ts';
import type { Daemon } from '../../daemon.ts';
import type { Process } from '../../process.ts';
import { MOST_ITEMS, type AttentionQuery, type Found } from './found.ts';

/** Pages of alerts that are looked through. */
const MOST_PAGES = 5;

/** Alerts that go on, the oldest first, with what suppresses them. */
interface OpenAlerts {
  open: { alert: Alert; group: Group; open: OpenAlert }[];
  suppressors: SuppressorsById;
  isCapped: boolean;
}

/**
 * Alerts that fire or are acknowledged; of failures also those that would be due to fire later. A limited token
 * sees those that are grouped by one of its sources.
 */
export async function openAlerts(
  { alerting, stores: { alerts } }: Daemon,
  { rule }: { rule?: string },
  { sources }: AttentionQuery,
): Promise<OpenAlerts> {
  const state = rule === undefined ? (['firing', 'acknowledged'] as const) : OPEN_STATES;
  const found: Alert[] = [];
  let cursor: string | null = null;
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const next: Awaited<ReturnType<typeof alerts.list>> = await alerts.list({
      state,
      rule,
      ...(sources !== undefined && { sources }),
      ...(cursor !== null && { cursor }),
      order: 'oldest',
      limit: MOST_ITEMS,
    });
    found.push(...next.items);
    cursor = next.nextCursor;
    if (cursor === null) break;
  }
  const [groups, suppressors] = await Promise.all([
    alerts.groups(found.map(({ id }) => groupOfAlert(id) ?? '')),
    alerting.suppressorsOf(found, sources),
  ]);
  const open = found.flatMap((alert) => {
    const group = groups.get(groupOfAlert(alert.id) ?? '')?.group ?? null;
    return group?.open ? [{ alert, group, open: group.open }] : [];
  });
  return { open, suppressors, isCapped: cursor !== null };
}

/** What alerts are about. One whose rule is configured no more is about to end. */
export function coveredBy(open: OpenAlerts['open'], { book }: Pick<AlertRules, 'book'>): Covered {
  const covered = new Covered();
  for (const { alert, group, open: one } of open) {
    const rule = book.named(alert.rule);
    if (rule !== undefined) covered.add(rule, group, one);
  }
  return covered;
}

/** Whether a user has an alert in hand, or something suppresses it. */
function isQuiet({ state }: Alert, suppressedBy: readonly Suppressor[]): boolean {
  return state === 'acknowledged' || suppressedBy.length > 0;
}

export function alertsFound(
  process: Process,
  { open, suppressors, isCapped }: OpenAlerts,
  { withAcknowledged }: AttentionQuery,
): Found {
  const items = open.flatMap(({ alert }) => {
    const suppressedBy = suppressors.get(alert.id) ?? [];
    return withAcknowledged || !isQuiet(alert, suppressedBy)
      ? [alertItem(process, alert, suppressedBy)]
      : [];
  });
  return { items, isCapped };
}

function alertItem(
  process: Process,
  alert: Alert,
  suppressedBy: readonly Suppressor[],
): AttentionItem {
  const { id, rule, labels, severity, count, startedAt, acknowledged } = alert;
  const { source, workflow_id: workflowId } = labels;
  const group = Object.entries(labels).map(([label, value]) => `${label} ${value}`);
  const events = count === 1 ? '1 event' : `${count.toLocaleString('en')} events`;
  return {
    kind: 'alert',
    severity,
    count,
    since: startedAt,
    message: `${rule} fires: ${[events, ...group].join(', ')}`,
    alertId: id,
    rule,
    ...(source !== undefined && { source }),
    ...(workflowId !== undefined && { workflowId, workflowName: workflowNameOf(process, alert) }),
    acknowledged,
    suppressedBy,
  };
}

/** Failures that no alert of a rule is about, by workflow. */
export function failuresFound(
  process: Process,
  { open, suppressors, isCapped }: OpenAlerts,
  { withAcknowledged }: AttentionQuery,
): Found {
  const items = open.flatMap(({ alert, open: { runIds } }) => {
    const suppressedBy = suppressors.get(alert.id) ?? [];
    if (!withAcknowledged && isQuiet(alert, suppressedBy)) return [];
    return [{ ...failedItem(process, alert, runIds), suppressedBy }];
  });
  return { items, isCapped };
}

function failedItem(process: Process, alert: Alert, runIds: readonly string[]): AttentionItem {
  const { labels, severity, runs, startedAt, acknowledged } = alert;
  const { source = '', workflow_id: workflowId = '' } = labels;
  const count = runIds.length < MOST_RUNS ? runIds.length : Math.max(MOST_RUNS, alert.count);
  return {
    kind: 'failed',
    severity,
    count,
    since: startedAt,
    message: failedText(count),
    source,
    workflowId: workflowId === '' ? null : workflowId,
    workflowName: workflowNameOf(process, alert),
    runs: failedRuns(runs),
    acknowledged,
  };
}

/** The name of the workflow of an alert: as it is known now, else as it was when a run was shown. */
function workflowNameOf({ knownNames }: Process, { labels, runs }: Alert): string | null {
  const { source, workflow_id: workflowId } = labels;
  const known = source && workflowId ? knownNames.nameOf({ source, workflowId }) : null;
  return known ?? runs[0]?.name ?? null;
}
