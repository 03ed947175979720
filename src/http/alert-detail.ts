import type { z } from 'zod';
import type { Alerting } from '../alert/alerting.ts';
import type { ShownAlert } from '../alert/event.ts';
import { bySilence } from '../alert/suppressions.ts';
import type { TokenConfig } from '../config/schema.ts';
import { groupOfAlert, type Alert, type AlertRun } from '../core/alert/alert.ts';
import { momentText, type Moment } from '../core/alert/moment.ts';
import { overflowRule, type Rule } from '../core/alert/rule.ts';
import { ruleText, type RuleText } from '../core/alert/rule-text.ts';
import { matchesSilence, type Silence, type SilencedEvent } from '../core/alert/silence.ts';
import type { Delivery } from '../core/delivery/delivery.ts';
import { isoTime } from '../core/event/event.ts';
import type { RunNodes } from '../core/run/nodes.ts';
import type { Process } from '../process.ts';
import { runKeysOf } from '../watches/run-keys.ts';
import { mayConcern, sourcesOf } from './auth.ts';
import { timeOrNull } from './present.ts';
import type { alertDetail } from './schemas/alert.ts';

type AlertDetail = z.output<typeof alertDetail>;

/** Deliveries of one event that are read: a rule notifies fewer endpoints. */
const MOST_DELIVERIES = 250;

/** Events of a run that are looked through for where it stood. */
const MOST_EVENTS = 10;

/** An alert with what its page says besides: its rule in words, its history, and where its runs stood. */
export async function detailOf(
  alerting: Alerting,
  { alert, shown }: { alert: Alert; shown: ShownAlert },
  token: TokenConfig | null,
): Promise<AlertDetail> {
  const { process } = alerting;
  const moments = await momentsOf(alerting, alert, token);
  const eventIds = [...moments, ...alert.notified].flatMap(({ eventId }) => eventId ?? []);
  const [deliveries, nodes] = await Promise.all([
    readSent(process, new Set(eventIds)),
    Promise.all(alert.runs.map((run) => nodesOf(process, alert, run))),
  ]);
  const sentTo = sentBy(deliveries, token);
  return {
    ...shown,
    runs: shown.runs.map((run, at) => Object.assign(run, { nodes: nodes[at] ?? null })),
    notified: shown.notified.map((one) => Object.assign(one, sentTo(one.event_id, one.endpoint))),
    rule_text: ruleTextOf(alerting, alert, token),
    history: moments.map((moment) => presentMoment(moment, sentTo)),
  };
}

function presentMoment(
  moment: Moment,
  sentTo: ReturnType<typeof sentBy>,
): AlertDetail['history'][number] {
  const { kind, at, times = 1, firstAt = at, by = null, comment = null, until = null } = moment;
  const { eventId = null, to = [] } = moment;
  return {
    kind,
    at: isoTime(at),
    first_at: isoTime(firstAt),
    times,
    by,
    comment,
    until: timeOrNull(until),
    text: momentText(moment),
    event_id: eventId,
    deliveries: to.map((endpoint) => sentTo(eventId ?? '', endpoint)),
  };
}

/** What became of a notification to an endpoint, as far as the token may see it. */
export function sentBy(
  deliveries: ReadonlyMap<string, readonly Delivery[]>,
  token: TokenConfig | null,
) {
  const isWhole = mayConcern(token, '');
  return (eventId: string, endpoint: string) => {
    const all = deliveries.get(eventId) ?? [];
    return presentSent(
      endpoint,
      all.find((one) => one.endpoint === endpoint),
      isWhole,
    );
  };
}

/** @param isWhole whether the reader may see deliveries of events that are about no run */
function presentSent(endpoint: string, delivery: Delivery | undefined, isWhole: boolean) {
  return {
    endpoint,
    delivery_id: isWhole ? (delivery?.id ?? null) : null,
    delivery_state: delivery?.state ?? null,
    delivery_text: delivery === undefined ? 'kept no more' : sentText(endpoint, delivery, isWhole),
  };
}

function sentText(endpoint: string, { state, last }: Delivery, isWhole: boolean): string {
  const error = isWhole ? (last?.error?.message ?? null) : null;
  const words: Readonly<Record<Delivery['state'], string>> = {
    delivered: 'delivered',
    pending: last === null ? 'waiting to be sent' : `waiting for ${endpoint}`,
    parked: `waiting until ${endpoint} takes deliveries again`,
    dead: 'given up',
    skipped: 'skipped',
    superseded: 'superseded by a later one',
  };
  return error === null || state === 'delivered' ? words[state] : `${words[state]}: ${error}`;
}

/** The deliveries of notifications, by the ids of their events. */
export async function readSent(
  { stores: { deliveries } }: Process,
  eventIds: ReadonlySet<string>,
): Promise<Map<string, readonly Delivery[]>> {
  const found = [...eventIds].map(async (eventId) => {
    const { items } = await deliveries.list({ eventId }, { limit: MOST_DELIVERIES });
    return [eventId, items] as const;
  });
  return new Map(await Promise.all(found));
}

/** Where a run stood at its newest event that says so; null where none does. */
async function nodesOf(
  process: Process,
  { labels: { source } }: Pick<Alert, 'labels'>,
  { runId }: AlertRun,
): Promise<RunNodes | null> {
  const sources = source === undefined ? Object.keys(process.config.sources) : [source];
  const runs = runKeysOf(process, sources, runId);
  const asked = { order: 'newest', limit: MOST_EVENTS } as const;
  const { items } = await process.stores.events.list({ runs }, asked);
  const newest = await process.knownNames.named(items.map(({ event }) => event));
  for (const { data } of newest) {
    if ('nodes' in data && data.nodes !== null) return data.nodes as RunNodes;
  }
  return null;
}

/**
 * What has happened to an alert, with its beginning and the silences that were in force.
 */
async function momentsOf(
  { process }: Alerting,
  alert: Alert,
  token: TokenConfig | null,
): Promise<Moment[]> {
  const { startedAt, history = [] } = alert;
  const { now, stores } = process;
  const [silences, facts] = await Promise.all([stores.silences.all(), factsOf(process, alert)]);
  const end = alert.resolvedAt ?? now();
  const silenced = silences
    .filter(({ matchers }) => facts !== null && matchesSilence(matchers, facts))
    .filter(({ startsAt, until }) => startsAt < end && until > startedAt)
    .map((silence) => silencedBy(silence, alert, token));
  const began: Moment = { kind: 'began', at: startedAt };
  return [began, ...history, ...silenced].toSorted(
    (a, b) => (a.firstAt ?? a.at) - (b.firstAt ?? b.at),
  );
}

/** Its user and comment are hidden where it belongs to sources that the token may not use. */
function silencedBy(silence: Silence, { startedAt }: Alert, token: TokenConfig | null): Moment {
  const { startsAt, until, comment } = silence;
  const { by } = bySilence(silence, sourcesOf(token));
  const moment = { kind: 'silenced' as const, at: Math.max(startsAt, startedAt), until };
  return by === null ? moment : { ...moment, by, comment };
}

/** What silences see of an alert; null where it is not known any more. */
async function factsOf(
  { stores: { alerts } }: Process,
  alert: Alert,
): Promise<SilencedEvent | null> {
  if (alert.state === 'resolved') return alert.facts ?? null;
  const key = groupOfAlert(alert.id) ?? '';
  const open = (await alerts.groups([key])).get(key)?.group?.open;
  return open?.alert.id === alert.id ? open.facts : (alert.facts ?? null);
}

/** The rule in words, as far as the token may see what it is about. */
function ruleTextOf(
  { process, rules }: Alerting,
  { rule: name, labels }: Alert,
  token: TokenConfig | null,
): RuleText | null {
  const configured = rules.book.named(name);
  if (configured === undefined) return null;
  const rule = labels['overflow'] === undefined ? configured : overflowRule(configured);
  return ruleText(seenBy(rule, token), (workflowId) => {
    const names = Object.keys(process.config.sources).map((source) =>
      process.knownNames.nameOf({ source, workflowId }),
    );
    return names.find((one) => one !== null) ?? null;
  });
}

/** What a rule is about may be of sources that a token may not use. */
function seenBy(rule: Rule, token: TokenConfig | null): Rule {
  const sources = sourcesOf(token);
  const isOwn = rule.when?.source?.every((one) => sources?.includes(one)) ?? false;
  return sources === undefined || isOwn ? rule : { ...rule, when: undefined };
}
