import type { z } from 'zod';
import type { Alerting } from '../alert/alerting.ts';
import type { Acknowledged } from '../alert/engine.ts';
import { alertUrl, shownAlert, type ShownAlert } from '../alert/event.ts';
import type { TokenConfig } from '../config/schema.ts';
import { noCounts, type Alert, type AlertQuery } from '../core/alert/alert.ts';
import { isoTime } from '../core/event/event.ts';
import { isSilent } from '../core/alert/failures.ts';
import type { Suppressor } from '../core/alert/suppression.ts';
import type { Complete } from '../core/records.ts';
import { endOf, momentOf } from '../core/time.ts';
import type { AcknowledgeRequest } from '../core/watch/acknowledgement.ts';
import type { Process } from '../process.ts';
import { detailOf } from './alert-detail.ts';
import { auditOf, saidDetails, type Acting } from './audit.ts';
import { mayConcern, mayRead, sourcesMeant, sourcesOf } from './auth.ts';
import { invalid, InvalidRequest, refusal } from './problem.ts';
import type { Requests, Slice } from './routing.ts';
import type { rehearsal } from './schemas/alert.ts';
import type { Routes } from './schemas/routes.ts';

type Own = Routes['alerts'];
type Asked = Requests<Own>;

/** Shows alerts, and takes what users do with them. */
export class AlertService implements Slice<Own> {
  constructor(private readonly alerting: Alerting) {}

  async list({ query, token }: Asked['list']) {
    const { alerts } = this.alerting.process.stores;
    const asked = insideOf(query, token);
    const [{ items, nextCursor }, counts] = await Promise.all([
      alerts.list(asked),
      alerts.countByState(asked),
    ]);
    const data = await shownAlerts(this.alerting, items, token);
    return { data, next_cursor: nextCursor, counts };
  }

  async get({ params: { id }, token }: Asked['get']) {
    const alert = await this.find(id, token);
    return detailOf(this.alerting, { alert, shown: await this.show(alert, token) }, token);
  }

  async acknowledge(request: Acting & Asked['acknowledge']) {
    const { body, params, token } = request;
    const { id } = params;
    const { engine, process } = this.alerting;
    const sources = sourcesOfAlert(await this.find(id, token));
    const now = process.now();
    const asked = acknowledgementOf(body, now);
    const audit = auditOf(request, now, {
      action: 'alert.acknowledge',
      target: id,
      sources,
      details: saidDetails(asked),
    });
    const result = await engine.acknowledge(id, asked, audit);
    return this.shownOrReceipt(settled(result, id), token);
  }

  async withdraw(request: Acting & Asked['withdraw']) {
    const { engine, process } = this.alerting;
    const { id } = request.params;
    const sources = sourcesOfAlert(await this.find(id, request.token));
    const act = { action: 'alert.unacknowledge', target: id, sources } as const;
    settled(await engine.acknowledge(id, null, auditOf(request, process.now(), act)), id);
  }

  async resolve(request: Acting & Asked['resolve']) {
    const { body, params, token } = request;
    const { id } = params;
    const { engine, process } = this.alerting;
    const sources = sourcesOfAlert(await this.find(id, token));
    const { by, comment = null } = body;
    const details = saidDetails({ by, comment });
    const act = { action: 'alert.resolve', target: id, sources, details } as const;
    const alert = await engine.resolve(id, { by, comment }, auditOf(request, process.now(), act));
    if (alert === null) throw unknownAlert(id);
    return this.shownOrReceipt(alert, token);
  }

  /** An alert that its rule does not group by source may be of any. */
  private async find(id: string, token: TokenConfig | null): Promise<Alert> {
    const alert = await this.alerting.process.stores.alerts.get(id);
    const isShown = alert !== null && !isSilent(alert.rule);
    if (!isShown || !mayConcern(token, alert.labels['source'] ?? '')) throw unknownAlert(id);
    return alert;
  }

  private async show(alert: Alert, token: TokenConfig | null): Promise<ShownAlert> {
    const { process } = this.alerting;
    const suppressors = await this.alerting.suppressorsOf([alert], sourcesOf(token));
    return shownNow(process, alert, suppressors.get(alert.id));
  }

  /** The alert, or for a token that may not read a receipt. */
  private async shownOrReceipt(alert: Alert, token: TokenConfig | null) {
    return mayRead(token) ? this.show(alert, token) : { id: alert.id, state: alert.state };
  }
}

/** The source of an alert; none where its rule does not group by source. */
function sourcesOfAlert({ labels: { source } }: Alert): string[] {
  return source === undefined ? [] : [source];
}

/** An acknowledgement as a request gives it. Throws InvalidRequest. */
export function acknowledgementOf(
  body: Asked['acknowledge']['body'],
  now: number,
): AcknowledgeRequest {
  const { by, comment = null, until: end } = body;
  const until = end === undefined ? null : endOf(end, now);
  if (until !== null && until <= now) {
    throw invalid('until', 'expected a time that is still to come');
  }
  return { by, comment, until };
}

/** A query in the words of the inside, all of it. The order is always the same. */
function insideOf(
  { state, rule, limit, cursor, ...rest }: Asked['list']['query'],
  token: TokenConfig | null,
): Complete<Omit<AlertQuery, 'order'>> {
  rest satisfies Record<string, never>;
  return { state, rule, sources: sourcesMeant(token).sources, limit, cursor };
}

/** Alerts in the shape that users see, with what suppresses them as far as the token may see it. */
export async function shownAlerts(
  alerting: Alerting,
  alerts: readonly Alert[],
  token: TokenConfig | null,
): Promise<ShownAlert[]> {
  const suppressors = await alerting.suppressorsOf(alerts, sourcesOf(token));
  return alerts.map((one) => shownNow(alerting.process, one, suppressors.get(one.id)));
}

/** An alert with the names of now. */
function shownNow(process: Process, alert: Alert, suppressors?: readonly Suppressor[]): ShownAlert {
  return process.knownNames.namedAlert(shownAlert(alert, alertUrl(process, alert), suppressors));
}

function settled(result: Acknowledged, id: string): Alert {
  if (result === 'not_found') throw unknownAlert(id);
  if (result === 'over') throw refusal('alert_over', `the alert ${id} has resolved`);
  if (result === 'unconfigured') {
    throw refusal('alert_over', `the rule of the alert ${id} is configured no more`);
  }
  return result;
}

function unknownAlert(id: string) {
  return refusal('alert_not_found', `there is no alert ${id}`);
}

const DAY_MS = 86_400_000;

type Rehearsal = z.output<typeof rehearsal>;

/** Lists rules, and tries them. */
export class RuleService implements Slice<Routes['rules']> {
  constructor(private readonly alerting: Alerting) {}

  async list() {
    const rules = this.alerting.rules.book.all.filter(({ name }) => !isSilent(name));
    return { data: rules.map(({ name, severity }) => ({ name, severity })) };
  }

  /** What rules would have sent for stored events; those of the body stand in for those in force. */
  async test({ body }: Requests<Routes['rules']>['test']): Promise<Rehearsal> {
    const { process, rehearsals, rules: inForce } = this.alerting;
    const { since: from = { agoMs: DAY_MS }, ...sections } = body;
    const rules = Object.keys(sections).length > 0 ? inForce.tried(sections) : inForce;
    if ('problems' in rules) {
      throw new InvalidRequest(
        rules.problems.map(({ path, message }) => ({ path: path.join('.'), message })),
      );
    }
    const until = process.now();
    const since = momentOf(from, until);
    const found = await rehearsals.rehearse(since, rules);
    const { events, notifications, counts, limits, isCapped } = found;
    const sentBy = (rule: string) =>
      notifications.filter(({ alert }) => alert.rule === rule).length;
    return {
      since: isoTime(since),
      until: isoTime(until),
      events,
      rules: rules.book.all.map(({ name: rule }) => {
        const {
          observed: matched,
          notified,
          waiting,
          ...suppressed
        } = counts.get(rule) ?? noCounts();
        const not_rehearsed = limits.get(rule) ?? null;
        return {
          rule,
          matched,
          notified,
          waiting,
          suppressed,
          notifications: sentBy(rule),
          not_rehearsed,
        };
      }),
      notifications: notifications.map(({ at, kind, alert, isRepeat, notify }) => ({
        at: isoTime(at),
        type: `alert.${kind}` as const,
        rule: alert.rule,
        labels: alert.labels,
        count: alert.count,
        repeat: isRepeat,
        alert_id: alert.id,
        notify: [...notify],
      })),
      truncated: isCapped,
    };
  }
}
