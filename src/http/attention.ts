import type { z } from 'zod';
import { shownSuppressor } from '../alert/event.ts';
import type { Alert, AlertState } from '../core/alert/alert.ts';
import type { Suppressor } from '../core/alert/suppression.ts';
import { sum } from '../core/arrays.ts';
import {
  ATTENTION_KINDS,
  watchNeeds,
  WATCH_ATTENTION,
  type AttentionItem,
  type AttentionKind,
  type WatchAttention,
} from '../core/attention.ts';
import { isOutstanding, type DeliveryState } from '../core/delivery/delivery.ts';
import { longPause, type EndpointState } from '../core/delivery/endpoint-state.ts';
import { isoTime } from '../core/event/event.ts';
import type { Complete } from '../core/records.ts';
import { overdueText } from '../core/source/overdue.ts';
import { inForce, type Watch } from '../core/watch/watch.ts';
import type { Daemon } from '../daemon.ts';
import type { Process } from '../process.ts';
import type { Backlog, DeliveryCounts } from '../redis/stores/delivery-store.ts';
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

/** What needs a person. */
export interface Attention {
  /** The oldest 200, oldest first. */
  items: AttentionItem[];
  counts: Record<AttentionKind, number>;
  /** There are more than `counts` say. */
  isCapped: boolean;
}

/** Items of one answer, and at most read of one kind. */
const MOST_ITEMS = 200;

/** For how long runs that are gone, and dead deliveries, are named: nothing else ends them, ms. */
const NAMED_MS = 7 * 86_400_000;

/** What is known of one kind, and how many there are. */
interface Found {
  kind: AttentionKind;
  items: AttentionItem[];
  total: number;
  isCapped?: boolean;
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
    const found = await Promise.all([
      ...WATCH_ATTENTION.map((kind) => watchesOf(this.daemon, kind, query)),
      alertsOf(this.daemon, query),
      // Deliveries and endpoints are those of all sources together.
      ...(query.sources === undefined ? [this.waiting()] : []),
      sourcesOf(this.daemon, query),
    ]);
    return joined(found.flat());
  }

  /** Deliveries that are dead or parked, by endpoint, and endpoints that are not well. */
  private async waiting(): Promise<Found[]> {
    const { endpoints, now, stores } = this.daemon;
    const { deliveries, endpointStates } = stores;
    const [counts, configured, webhooks] = await Promise.all([
      deliveries.counts(),
      endpointStates.inTrouble(endpoints.names),
      endpointStates.unwell(MOST_ITEMS),
    ]);
    const unwell = [
      ...shownAlike([...configured, ...webhooks]).flatMap((one) =>
        endpointItem(one, counts, now()),
      ),
      ...unwrittenItems(this.daemon, counts),
    ];
    return [
      backlogsFound('dead', await this.dead.of(holding('dead', counts))),
      backlogsFound(
        'parked',
        await Promise.all(
          holding('parked', counts).map(([name]) => deliveries.backlog('parked', name, 0)),
        ),
      ),
      { kind: 'endpoint', items: unwell, total: unwell.length },
    ];
  }
}

/** An item as the API shows it. */
function presentItem(item: AttentionItem): AttentionPage['data'][number] {
  const { kind, since, message, source, endpoint, count, rule, severity } = item;
  const given = {
    kind,
    since: isoTime(since),
    message,
    run_id: item.runId,
    source,
    workflow_id: item.workflowId,
    workflow_name: item.workflowName,
    run_url: item.runUrl,
    endpoint,
    count,
    alert_id: item.alertId,
    rule,
    severity,
    acknowledged: item.acknowledged && presentAcknowledgement(item.acknowledged),
    suppressed_by: item.suppressedBy?.map(shownSuppressor),
  };
  const entries = Object.entries(given).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as AttentionPage['data'][number];
}

function joined(found: readonly Found[]): Attention {
  const items = found.flatMap((one) => one.items).sort((a, b) => a.since - b.since);
  const counts = Object.fromEntries(ATTENTION_KINDS.map((kind) => [kind, 0])) as Record<
    AttentionKind,
    number
  >;
  for (const { kind, total } of found) counts[kind] += total;
  return {
    items: items.slice(0, MOST_ITEMS),
    counts,
    isCapped: found.some(({ isCapped }) => isCapped === true),
  };
}

/**
 * Runs that need a person. A run with an expired acknowledgement does again: it is still listed among the
 * acknowledged ones, which are few.
 */
async function watchesOf(
  { linksOf, now, stores: { watches } }: Process,
  kind: WatchAttention,
  { withAcknowledged, sources, ...rest }: AttentionQuery,
): Promise<Found> {
  rest satisfies Record<string, never>;
  const at = now();
  const filter = {
    ...(sources !== undefined && { sources }),
    ...(kind === 'gone' && { since: at - NAMED_MS }),
  };
  const [open, acknowledged] = await Promise.all([
    watches.needing(kind, filter, MOST_ITEMS),
    watches.needing(`${kind} acknowledged`, filter, MOST_ITEMS),
  ]);
  const isMeant = (watch: Watch) => withAcknowledged || inForce(watch.acknowledged, at) === null;
  const again = acknowledged.items.filter(isMeant);
  const items = [...open.items, ...again].map((watch): AttentionItem => {
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
  const ofAcknowledged = withAcknowledged ? acknowledged.total : again.length;
  return { kind, items, total: open.total + ofAcknowledged, isCapped: open.isCapped };
}

/** Pages of alerts that are looked through for some that nothing suppresses. */
const MOST_PAGES = 5;

/**
 * Alerts that fire and that nothing suppresses; a limited token sees those that are grouped by one of its
 * sources.
 */
async function alertsOf(
  { alerting, stores: { alerts } }: Daemon,
  { withAcknowledged, sources, ...rest }: AttentionQuery,
): Promise<Found> {
  rest satisfies Record<string, never>;
  const states: AlertState[] = withAcknowledged ? ['firing', 'acknowledged'] : ['firing'];
  const meant = { state: states, ...(sources !== undefined && { sources }) };
  const items: AttentionItem[] = [];
  let cursor: string | null = null;
  for (let page = 0; page < MOST_PAGES && items.length < MOST_ITEMS; page += 1) {
    const from = cursor === null ? {} : { cursor };
    const found = await alerts.list({ ...meant, ...from, order: 'oldest', limit: MOST_ITEMS });
    const suppressors = await alerting.suppressorsOf(found.items, sources);
    const listed = found.items
      .map((alert) => alertItem(alert, suppressors.get(alert.id) ?? []))
      .filter(({ suppressedBy = [] }) => withAcknowledged || suppressedBy.length === 0);
    items.push(...listed);
    cursor = found.nextCursor;
    if (cursor === null) break;
  }
  return { kind: 'alert', items, total: items.length, isCapped: cursor !== null };
}

function alertItem(alert: Alert, suppressedBy: readonly Suppressor[]): AttentionItem {
  const { id, rule, labels, severity, count, runs, startedAt, acknowledged } = alert;
  const { source, workflow_id: workflowId } = labels;
  const group = Object.entries(labels).map(([label, value]) => `${label} ${value}`);
  const events = count === 1 ? '1 event' : `${count.toLocaleString('en')} events`;
  return {
    kind: 'alert',
    since: startedAt,
    message: `${rule} fires: ${[events, ...group].join(', ')}`,
    alertId: id,
    rule,
    severity,
    count,
    ...(source !== undefined && { source }),
    ...(workflowId !== undefined && { workflowId, workflowName: runs[0]?.name ?? null }),
    acknowledged,
    suppressedBy,
  };
}

/** Endpoints with deliveries in a state, and how many they have. */
function holding(state: DeliveryState, { byEndpoint }: DeliveryCounts) {
  const counts = [...byEndpoint].map(([endpoint, own]) => [endpoint, own[state]] as const);
  return counts.filter(([, count]) => count > 0).slice(0, MOST_ITEMS);
}

function backlogsFound(state: 'dead' | 'parked', found: readonly Backlog[]): Found {
  const items = found.flatMap(({ endpoint, count, oldest }): AttentionItem[] =>
    oldest === null
      ? []
      : [{ kind: state, since: oldest, message: textOf(state, endpoint, count), endpoint, count }],
  );
  return {
    kind: state,
    items,
    total: sum(found.map(({ count }) => count)),
    isCapped: found.some(({ isCapped }) => isCapped),
  };
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
  const counts = byEndpoint.get(endpoint);
  return [
    {
      kind: 'endpoint',
      ...trouble,
      endpoint,
      ...(counts && { count: counts.pending + counts.parked }),
    },
  ];
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
  return endpoints.names.filter(endpoints.isLog).map((endpoint) => ({
    kind: 'endpoint',
    since: trouble.since,
    message: `${endpoint} waits: this process cannot write its log (${trouble.reason})`,
    endpoint,
    count: byEndpoint.get(endpoint)?.pending ?? 0,
  }));
}

const WHY_DISABLED = {
  gone: 'it answered 410',
  failing: 'nothing reached it for days',
} as const;

/** Sources that refuse, do not answer or contradict themselves, overdue polls, and lists that cannot be read. */
async function sourcesOf({ poller, now }: Daemon, { sources }: AttentionQuery): Promise<Found[]> {
  const isMeant = ({ source }: { source: string }) => sources?.includes(source) ?? true;
  const [troubled, unread] = await Promise.all([
    troubledSources(poller.sources),
    poller.discovery.troubles(),
  ]);
  const unwell = troubled.map(({ name, since, text }) => ({
    kind: 'source' as const,
    since,
    message: text,
    source: name,
  }));
  const overdue = poller.overdue().map((one) => ({
    kind: 'overdue' as const,
    since: now() - one.oldestMs,
    message: overdueText(one),
    source: one.source,
    count: one.polls,
  }));
  const lists = (unread ?? []).map(({ source, workflowId, since, text }) => ({
    kind: 'discovery' as const,
    since,
    message: `runs cannot be discovered: ${text}`,
    source,
    workflowId,
  }));
  return [
    { kind: 'source' as const, items: unwell.filter(isMeant) },
    { kind: 'overdue' as const, items: overdue.filter(isMeant) },
    { kind: 'discovery' as const, items: lists.filter(isMeant) },
  ].map(({ kind, items }) => ({ kind, items, total: items.length }));
}
