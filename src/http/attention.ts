import type { z } from 'zod';
import { shownSuppressor } from '../alert/event.ts';
import type { AlertRules } from '../alert/rules.ts';
import type { SuppressorsById } from '../alert/suppressions.ts';
import { groupOfAlert, MOST_RUNS, OPEN_STATES, type Alert } from '../core/alert/alert.ts';
import { Covered } from '../core/alert/covered.ts';
import { FAILURES } from '../core/alert/failures.ts';
import type { Group, OpenAlert } from '../core/alert/group.ts';
import type { Suppressor } from '../core/alert/suppression.ts';
import { sum } from '../core/arrays.ts';
import {
  ATTENTION_KINDS,
  byWeight,
  entriesOfRuns,
  failedRuns,
  failedText,
  joinedByEndpoint,
  runsText,
  SEVERITY_OF,
  watchNeeds,
  WATCH_ATTENTION,
  type AttentionItem,
  type AttentionKind,
  type NeedingRun,
  type WatchAttention,
} from '../core/attention.ts';
import { UNCLOSED_MS } from '../core/batch.ts';
import type { DeliveryState } from '../core/delivery/delivery.ts';
import { isOutstanding } from '../core/delivery/state.ts';
import { longPause, type EndpointState } from '../core/delivery/endpoint-state.ts';
import { isoTime } from '../core/event/event.ts';
import type { Complete } from '../core/records.ts';
import { overdueText } from '../core/source/overdue.ts';
import { inForce, type Watch } from '../core/watch/watch.ts';
import type { Daemon } from '../daemon.ts';
import type { Process } from '../process.ts';
import type { Backlog, DeliveryCounts } from '../redis/stores/delivery-store.ts';
import { isOfSources } from '../redis/stores/batch-store.ts';
import { sourcesMeant } from './auth.ts';
import { healthOf, pauseText, shownAlike, type Shown } from './endpoints.ts';
import { presentAcknowledgement } from './present.ts';
import type { Requests, Slice } from './routing.ts';
import type { attentionPage } from './schemas/attention.ts';
import type { Routes } from './schemas/routes.ts';
import { troubledSources } from './sources.ts';

export interface AttentionQuery {
  /** Also what a user has acknowledged, and alerts that are suppressed. */
  withAcknowledged: boolean;
  /** Only what is of these sources. */
  sources?: readonly string[] | undefined;
}

/** What needs a person, an entry for each cause. */
export interface Attention {
  /** The first 200, the heaviest first. */
  items: AttentionItem[];
  /** Entries by kind. */
  counts: Record<AttentionKind, number>;
  /** There are more than `counts` say. */
  isCapped: boolean;
}

/** Entries of one answer, and endpoints that are read. */
const MOST_ITEMS = 200;

/** Runs that are read of one kind. */
const MOST_RUNS_READ = 1_000;

/** For how long runs that are gone, and dead deliveries, are named: nothing else ends them, ms. */
const NAMED_MS = 7 * 86_400_000;

/** Entries of some kinds. */
interface Found {
  items: AttentionItem[];
  /** There are more. */
  isCapped: boolean;
}

type Own = Routes['attention'];
type AttentionPage = z.output<typeof attentionPage>;

/** Gathers what needs a person, from indexes and from what the daemon watches anyway. */
export class AttentionService implements Slice<Own> {
  private readonly dead: DeadDeliveries;

  constructor(private readonly daemon: Daemon) {
    this.dead = new DeadDeliveries(daemon);
  }

  async list({ query, token }: Requests<Own>['list']): Promise<AttentionPage> {
    const { acknowledged, ...rest } = query;
    rest satisfies Record<string, never>;
    const asked: Complete<AttentionQuery> = {
      withAcknowledged: acknowledged === 'include',
      sources: sourcesMeant(token).sources,
    };
    const { items, counts, isCapped } = await this.find(asked);
    const total = sum(Object.values(counts));
    return { data: items.map(presentItem), counts, total, total_capped: isCapped };
  }

  async find(query: AttentionQuery): Promise<Attention> {
    const [alerts, runs, waiting, sources, batches] = await Promise.all([
      openAlerts(this.daemon, {}, query),
      Promise.all(WATCH_ATTENTION.map((kind) => runsOf(this.daemon, kind, query))),
      // Deliveries and endpoints are those of all sources together.
      query.sources === undefined ? this.waiting() : NONE,
      sourcesOf(this.daemon, query),
      unclosedBatches(this.daemon, query),
    ]);
    const covered = coveredBy(alerts.open, this.daemon.alertRules);
    const failures = await openAlerts(this.daemon, { rule: FAILURES }, query);
    const uncovered = failures.open.filter(({ open }) => !covered.hasFailures(open));
    return joined([
      alertsFound(this.daemon, alerts, query),
      failuresFound(this.daemon, { ...failures, open: uncovered }, query),
      ...(await Promise.all(
        runs.map((one) =>
          runsFound(this.daemon, { ...one, runs: one.runs.filter((run) => !covered.hasRun(run)) }),
        ),
      )),
      waiting,
      sources,
      batches,
    ]);
  }

  /** Endpoints that are not well, with the deliveries that wait for them or were given up. */
  private async waiting(): Promise<Found> {
    const { endpoints, now, stores } = this.daemon;
    const { deliveries, endpointStates } = stores;
    const [counts, configured, webhooks] = await Promise.all([
      deliveries.counts(),
      endpointStates.inTrouble(endpoints.names),
      endpointStates.unwell(MOST_ITEMS),
    ]);
    const [dead, parked] = await Promise.all([
      this.dead.of(holding('dead', counts)),
      Promise.all(holding('parked', counts).map(([name]) => deliveries.backlog('parked', name, 0))),
    ]);
    const items = joinedByEndpoint([
      ...shownAlike([...configured, ...webhooks]).flatMap((one) =>
        endpointItem(one, counts, now()),
      ),
      ...unwrittenItems(this.daemon, counts),
      ...backlogItems('parked', parked),
      ...backlogItems('dead', dead),
    ]);
    return { items, isCapped: [...dead, ...parked].some(({ isCapped }) => isCapped) };
  }
}

const NONE: Found = { items: [], isCapped: false };

/** An entry as the API shows it. */
function presentItem(item: AttentionItem): AttentionPage['data'][number] {
  const { kind, severity, count, since, message, source, endpoint, rule } = item;
  const given = {
    kind,
    severity,
    count,
    since: isoTime(since),
    message,
    run_id: item.runId,
    source,
    workflow_id: item.workflowId,
    workflow_name: item.workflowName,
    run_url: item.runUrl,
    runs: item.runs?.map(({ runId, runUrl, ...run }) => ({
      run_id: runId,
      since: isoTime(run.since),
      run_url: runUrl,
    })),
    endpoint,
    deliveries: item.deliveries,
    alert_id: item.alertId,
    rule,
    batch: item.batch,
    acknowledged: item.acknowledged && presentAcknowledgement(item.acknowledged),
    suppressed_by: item.suppressedBy?.map(shownSuppressor),
  };
  const entries = Object.entries(given).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as AttentionPage['data'][number];
}

function joined(found: readonly Found[]): Attention {
  const items = found.flatMap((one) => one.items).sort(byWeight);
  const counts = Object.fromEntries(ATTENTION_KINDS.map((kind) => [kind, 0])) as Record<
    AttentionKind,
    number
  >;
  for (const { kind } of items) counts[kind] += 1;
  return {
    items: items.slice(0, MOST_ITEMS),
    counts,
    isCapped: found.some(({ isCapped }) => isCapped),
  };
}

/** Runs that need a person alike. */
interface FoundRuns {
  kind: WatchAttention;
  /** The longest first. */
  runs: NeedingRun[];
  /** There are more, of the same sources. */
  isCapped: boolean;
}

/**
 * Runs that need a person. A run with an expired acknowledgement does again: it is still listed among the
 * acknowledged ones, which are few.
 */
async function runsOf(
  { linksOf, now, stores: { watches } }: Process,
  kind: WatchAttention,
  { withAcknowledged, sources, ...rest }: AttentionQuery,
): Promise<FoundRuns> {
  rest satisfies Record<string, never>;
  const at = now();
  const filter = {
    ...(sources !== undefined && { sources }),
    ...(kind === 'gone' && { since: at - NAMED_MS }),
  };
  const [open, acknowledged] = await Promise.all([
    watches.needing(kind, filter, MOST_RUNS_READ),
    watches.needing(`${kind} acknowledged`, filter, MOST_RUNS_READ),
  ]);
  const isMeant = (watch: Watch) => withAcknowledged || inForce(watch.acknowledged, at) === null;
  const again = acknowledged.items.filter(isMeant);
  const runs = [...open.items, ...again].map((watch): NeedingRun => {
    const { workflowName, runUrl } = linksOf(watch);
    const { since, message } = watchNeeds(kind, watch);
    return {
      kind,
      since,
      message,
      runId: watch.runId,
      source: watch.source,
      workflowId: watch.run?.workflow_id ?? null,
      workflowName,
      runUrl,
      acknowledged: inForce(watch.acknowledged, at),
    };
  });
  return { kind, runs, isCapped: open.isCapped || open.total > open.items.length };
}

/** An entry for each workflow. Where not all runs were read, an index counts those of each. */
async function runsFound(
  { stores: { watches } }: Process,
  { kind, runs, isCapped }: FoundRuns,
): Promise<Found> {
  const entries = entriesOfRuns(runs);
  if (!isCapped) return { items: entries, isCapped };
  const counting = entries.map(async (item) => {
    const { source, workflowId, count, acknowledged } = item;
    if (source === undefined || !workflowId || acknowledged) return;
    const filter = { sources: [source], workflowId: [workflowId] };
    const { total } = await watches.needing(kind, filter, 0);
    if (total > count) Object.assign(item, { count: total, message: runsText(kind, total) });
  });
  await Promise.all(counting);
  return { items: entries, isCapped };
}

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
async function openAlerts(
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
function coveredBy(open: OpenAlerts['open'], { book }: Pick<AlertRules, 'book'>): Covered {
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

function alertsFound(
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
function failuresFound(
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

/** Endpoints with deliveries in a state, and how many they have. */
function holding(state: DeliveryState, { byEndpoint }: DeliveryCounts) {
  const counts = [...byEndpoint].map(([endpoint, own]) => [endpoint, own[state]] as const);
  return counts.filter(([, count]) => count > 0).slice(0, MOST_ITEMS);
}

function backlogItems(kind: 'dead' | 'parked', found: readonly Backlog[]): AttentionItem[] {
  return found.flatMap(({ endpoint, count, oldest }) => {
    if (oldest === null) return [];
    const message = textOf(kind, endpoint, count);
    const deliveries = { waiting: 0, dead: 0, [kind === 'dead' ? kind : 'waiting']: count };
    return [
      { kind, severity: SEVERITY_OF[kind], count, since: oldest, message, endpoint, deliveries },
    ];
  });
}

/** After this time the dead deliveries of an endpoint are counted again, ms. */
const RECOUNT_MS = 60_000;

/** The dead deliveries of a week, and how many there were of whatever age when these were counted. */
interface Counted {
  week: Backlog;
  all: number;
  at: number;
}

/**
 * Dead deliveries by endpoint, of a week. Which of all that are kept are of that week changes slowly, and
 * takes many reads where there are thousands. So an answer counts those of one endpoint again, after a
 * minute. In between, the counter of all says how many have died or were sent again.
 */
class DeadDeliveries {
  private counted = new Map<string, Counted>();

  constructor(private readonly process: Process) {}

  /** @param held how many each endpoint has, of whatever age */
  async of(held: readonly (readonly [endpoint: string, all: number])[]): Promise<Backlog[]> {
    const known = held.map(([endpoint]) => this.counted.get(endpoint));
    const oldest = Math.min(...known.map((one) => one?.at ?? Infinity));
    const isOld = this.process.now() - oldest > RECOUNT_MS;
    const again = isOld ? known.findIndex((one) => one?.at === oldest) : -1;
    const found = await Promise.all(
      held.map(async ([endpoint, all], at): Promise<Counted> => {
        const one = known[at];
        const hasFirst = one?.week.oldest === null && all > one.all;
        return one === undefined || hasFirst || at === again ? this.count(endpoint, all) : one;
      }),
    );
    this.counted = new Map(held.map(([endpoint], at) => [endpoint, found[at] as Counted]));
    return found.map((one, at) => weekNow(one, held[at]?.[1] ?? 0));
  }

  private async count(endpoint: string, all: number): Promise<Counted> {
    const { now, stores } = this.process;
    const week = await stores.deliveries.backlog('dead', endpoint, now() - NAMED_MS);
    return { week, all, at: now() };
  }
}

function weekNow({ week, all: before }: Counted, all: number): Backlog {
  if (week.isCapped) return week;
  const count = Math.max(0, week.count + all - before);
  return { ...week, count, oldest: count === 0 ? null : week.oldest };
}

function textOf(state: DeliveryState, endpoint: string, count: number): string {
  const some = count === 1 ? '1 delivery' : `${count.toLocaleString('en')} deliveries`;
  return isOutstanding(state)
    ? `${some} to ${endpoint} ${count === 1 ? 'waits' : 'wait'} until it takes them again`
    : `${some} to ${endpoint} ${count === 1 ? 'was' : 'were'} given up; redeliver what still matters`;
}

/** An endpoint that gets nothing, for another reason than a user's pause. */
function endpointItem(
  { name: endpoint, state }: Shown,
  { byEndpoint }: DeliveryCounts,
  now: number,
): AttentionItem[] {
  const trouble = endpointTrouble(endpoint, state, now);
  if (trouble === null) return [];
  const { pending = 0, parked = 0 } = byEndpoint.get(endpoint) ?? {};
  return [endpointEntry(endpoint, trouble, pending + parked)];
}

function endpointEntry(
  endpoint: string,
  { since, message }: Pick<AttentionItem, 'since' | 'message'>,
  waiting: number,
): AttentionItem {
  const deliveries = { waiting, dead: 0 };
  const { endpoint: severity } = SEVERITY_OF;
  return { kind: 'endpoint', severity, count: waiting, since, message, endpoint, deliveries };
}

function endpointTrouble(endpoint: string, state: EndpointState, now: number) {
  const { disabled } = state;
  const health = healthOf(state);
  if (health === 'failing' || health === 'disabled') {
    const message =
      disabled === null
        ? `most attempts at ${endpoint} fail; it is probed`
        : `${endpoint} is disabled: ${WHY_DISABLED[disabled.reason]}; resume it once it is well`;
    return { since: state.failingSince ?? disabled?.at ?? now, message };
  }
  const asked = longPause(state, now);
  if (asked === null) return null;
  const cure = `lift it with \`runwatch endpoints retry ${endpoint}\` if it asked in error`;
  return { since: asked.since, message: `${pauseText(endpoint, asked.until)}; ${cure}` };
}

/** Endpoints that write to the log of this process, while it cannot be written. */
function unwrittenItems(
  { endpoints, eventLog }: Process,
  { byEndpoint }: DeliveryCounts,
): AttentionItem[] {
  const trouble = eventLog.trouble();
  if (trouble === null) return [];
  return endpoints.names.filter(endpoints.isLog).map((endpoint) => {
    const message = `${endpoint} waits: this process cannot write its log (${trouble.reason})`;
    const about = { since: trouble.since, message };
    return endpointEntry(endpoint, about, byEndpoint.get(endpoint)?.pending ?? 0);
  });
}

const WHY_DISABLED = {
  gone: 'it answered 410',
  failing: 'nothing reached it for days',
} as const;

/** Batches that are open although no run of them is active: something forgot to close them. */
async function unclosedBatches(
  { stores, now }: Daemon,
  { sources }: AttentionQuery,
): Promise<Found> {
  const idle = await stores.batches.idle(now() - UNCLOSED_MS, MOST_ITEMS);
  const open = idle.filter(({ batch }) => batch.state === 'open' && isOfSources(batch, sources));
  const items = open.map(({ batch, since }) => ({
    kind: 'batch' as const,
    severity: SEVERITY_OF.batch,
    count: batch.joined,
    since,
    message: `the batch ${batch.name} is open and has no active run: close it; it completes an hour after its last run ended`,
    batch: batch.name,
  }));
  return { items, isCapped: idle.length === MOST_ITEMS };
}

/** Sources that refuse, do not answer or contradict themselves, overdue polls, and lists that cannot be read. */
async function sourcesOf({ poller, now }: Daemon, { sources }: AttentionQuery): Promise<Found> {
  const [troubled, unread] = await Promise.all([
    troubledSources(poller.sources),
    poller.discovery.troubles(),
  ]);
  const unwell = troubled.map(({ name, since, text }) => ({
    kind: 'source' as const,
    severity: SEVERITY_OF.source,
    count: 1,
    since,
    message: text,
    source: name,
  }));
  const overdue = poller.overdue().map((one) => ({
    kind: 'overdue' as const,
    severity: SEVERITY_OF.overdue,
    count: one.polls,
    since: now() - one.oldestMs,
    message: overdueText(one),
    source: one.source,
  }));
  const lists = (unread ?? []).map(({ source, workflowId, since, text }) => ({
    kind: 'discovery' as const,
    severity: SEVERITY_OF.discovery,
    count: 1,
    since,
    message: `runs cannot be discovered: ${text}`,
    source,
    workflowId,
  }));
  const items = [...unwell, ...overdue, ...lists].filter(
    ({ source }) => sources?.includes(source) ?? true,
  );
  return { items, isCapped: false };
}
