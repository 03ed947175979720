import type { Alerting } from '../alert/alerting.ts';
import type { Acknowledged } from '../alert/engine.ts';
import { alertUrl, shownAlert, type ShownAlert } from '../alert/event.ts';
import type { Rehearsal } from '../alert/rehearse.ts';
import type { ConfigProblem } from '../config/problems.ts';
import type { RuleSections } from '../config/schema.ts';
import type { Alert, AlertQuery } from '../core/alert/alert.ts';
import type { Page } from '../core/page.ts';
import { endOf, momentOf, type When } from '../core/time.ts';
import type { AcknowledgeInput } from './watches.ts';

/** The order is always the same. */
export type AlertListQuery = Omit<AlertQuery, 'order'>;

/** Shows alerts, and takes what users do with them. */
export class AlertService {
  constructor(private readonly alerting: Alerting) {}

  /** Newest first. Throws RunwatchError `invalid_cursor`. */
  list(query: AlertListQuery): Promise<Page<Alert>> {
    return this.alerting.process.stores.alerts.list(query);
  }

  get(id: string): Promise<Alert | null> {
    return this.alerting.process.stores.alerts.get(id);
  }

  /**
   * Alerts in the shape that users see.
   * @param sources those that the user is limited to; absent for all
   */
  async showAll(alerts: readonly Alert[], sources?: readonly string[]): Promise<ShownAlert[]> {
    const { process } = this.alerting;
    const suppressors = await this.alerting.suppressorsOf(alerts, sources);
    return alerts.map((one) => shownAlert(one, alertUrl(process, one), suppressors.get(one.id)));
  }

  /** {@link showAll} of one. */
  async show(alert: Alert, sources?: readonly string[]): Promise<ShownAlert> {
    const { process } = this.alerting;
    const suppressors = await this.alerting.suppressorsOf([alert], sources);
    return shownAlert(alert, alertUrl(process, alert), suppressors.get(alert.id));
  }

  /** @returns `over` where it has resolved, `past` where the acknowledgement would expire at once */
  async acknowledge(
    id: string,
    { by, comment, until }: AcknowledgeInput,
  ): Promise<Acknowledged | 'past'> {
    const { engine, process } = this.alerting;
    const at = process.now();
    const end = until === undefined ? null : endOf(until, at);
    if (end !== null && end <= at) return 'past';
    return engine.acknowledge(id, { by, comment: comment ?? null, until: end });
  }

  withdraw(id: string): Promise<Acknowledged> {
    return this.alerting.engine.acknowledge(id, null);
  }

  /** Ends an alert by hand. @returns it as it has ended, now or before; null for an unknown one */
  resolve(
    id: string,
    { by, comment }: Pick<AcknowledgeInput, 'by' | 'comment'>,
  ): Promise<Alert | null> {
    return this.alerting.engine.resolve(id, { by, comment: comment ?? null });
  }
}

/** A rehearsal, with the names of the rules in their order. Times are milliseconds since the epoch. */
interface RehearsedRules extends Rehearsal {
  names: string[];
  since: number;
  until: number;
}

/** Tries rules. */
export class RuleService {
  constructor(private readonly alerting: Alerting) {}

  /**
   * What rules would have sent for stored events.
   * @param sections stand in for those of the configuration
   * @returns instead what of them does not go together
   */
  async rehearse(
    from: When,
    sections: Partial<RuleSections>,
  ): Promise<RehearsedRules | { problems: readonly ConfigProblem[] }> {
    const { process, rehearsals, rules: inForce } = this.alerting;
    const isOther = Object.keys(sections).length > 0;
    const rules = isOther ? inForce.tried(sections) : inForce;
    if ('problems' in rules) return rules;
    const until = process.now();
    const since = momentOf(from, until);
    const names = rules.book.all.map(({ name }) => name);
    return { names, ...(await rehearsals.rehearse(since, rules)), since, until };
  }
}
