import { createHash, randomBytes } from 'node:crypto';
import type { AuditRecord } from '../core/audit.ts';
import { groupOfAlert, OPEN_STATES, type Alert } from '../core/alert/alert.ts';
import { meets, roleOf, workflowOf, type AlertEvent, type Rule } from '../core/alert/rule.ts';
import {
  matchesSilence,
  silenceState,
  type Matchers,
  type Silence,
  type SilenceRefusal,
} from '../core/alert/silence.ts';
import { valueOf } from '../core/records.ts';
import type { Alerting } from './alerting.ts';
import { judgedEvent } from './rehearse.ts';

/** A user's request for a silence. Times are milliseconds since the epoch. */
export interface SilenceRequest {
  matchers: Matchers;
  startsAt: number;
  until: number;
  by: string;
  comment: string;
  key: string | null;
  /** The name of its token; absent for none. */
  token?: string;
  /** Those that its token is limited to; absent for all. Each such set has keys of its own. */
  sources?: readonly string[] | undefined;
}

/** What a silence matches. */
export interface SilencePreview {
  alerts: Alert[];
  /** Events of the last day that rules notify of: all, and how many of each rule and type. */
  events: { count: number; byRule: Record<string, number>; byType: Record<string, number> };
}

const DAY_MS = 86_400_000;

/** The most alerts that a preview examines. */
const MOST_ALERTS = 1_000;

/** The use cases behind silences. */
export class Silences {
  constructor(private readonly alerting: Alerting) {}

  /** The same key again gives the silence that it created. */
  async add(
    { sources, ...request }: SilenceRequest,
    audit: ((id: string) => AuditRecord) | null = null,
  ): Promise<{ silence: Silence; isNew: boolean } | SilenceRefusal> {
    const { now, stores } = this.alerting.process;
    const id = silenceId(request.key, sources);
    return stores.silences.add({ id, ...request, createdAt: now() }, audit?.(id) ?? null);
  }

  /** Those in force first, then those to come, then those that have expired, each newest first. */
  async list(): Promise<Silence[]> {
    const { now, stores } = this.alerting.process;
    const order = ['active', 'pending', 'expired'];
    const at = now();
    const rank = (one: Silence) => order.indexOf(silenceState(one, at));
    const found = await stores.silences.all();
    return found.toSorted((a, b) => rank(a) - rank(b) || b.createdAt - a.createdAt);
  }

  /** Ends a silence now; one that has expired does not change. @returns false for an unknown one */
  async expire(id: string, audit: AuditRecord | null = null): Promise<boolean> {
    const { now, stores } = this.alerting.process;
    for (;;) {
      const silence = await stores.silences.get(id);
      if (silence === null) return false;
      const at = now();
      if (at >= silence.until) return true;
      const startsAt = Math.min(silence.startsAt, at);
      const after = { ...silence, startsAt, until: at };
      if (await stores.silences.replace(silence, after, audit)) return true;
    }
  }

  async preview(matchers: Matchers): Promise<SilencePreview> {
    const { process, rehearsals, rules } = this.alerting;
    const { alerts } = process.stores;
    const { items } = await alerts.list({ state: OPEN_STATES, limit: MOST_ALERTS });
    const groups = await alerts.groups(items.map(({ id }) => groupOfAlert(id) ?? ''));
    const open = [...groups.values()].flatMap(({ group }) => group?.open ?? []);
    const silenced = open.filter(({ facts }) => matchesSilence(matchers, facts));
    const events = { count: 0, byRule: {}, byType: {} };
    const history = await rehearsals.historySince(process.now() - DAY_MS);
    for (const event of history.events.map(judgedEvent)) {
      noteEvent(events, matchers, { event, rules: rules.book.all });
    }
    return { alerts: silenced.map(({ alert }) => alert), events };
  }
}

function silenceId(key: string | null, sources: readonly string[] | undefined): string {
  if (key === null) return `sil_${randomBytes(8).toString('hex')}`;
  const named = sources === undefined ? key : JSON.stringify([key, ...new Set(sources.toSorted())]);
  return `sil_${createHash('sha256').update(named).digest('hex').slice(0, 16)}`;
}

function noteEvent(
  events: SilencePreview['events'],
  matchers: Matchers,
  { event, rules }: { event: AlertEvent; rules: readonly Rule[] },
): void {
  const silenced = rules.filter(
    (rule) =>
      roleOf(rule, event.type) === 'match' &&
      meets(rule, event) &&
      matchesSilence(matchers, { ...event, workflowId: workflowOf(event), rule: rule.name }),
  );
  if (silenced.length === 0) return;
  events.count += 1;
  events.byType[event.type] = (events.byType[event.type] ?? 0) + 1;
  for (const { name } of silenced) events.byRule[name] = (valueOf(events.byRule, name) ?? 0) + 1;
}
