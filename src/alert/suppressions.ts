import { groupOfAlert, OPEN_STATES, type Alert } from '../core/alert/alert.ts';
import { silencesOf, type Silence } from '../core/alert/silence.ts';
import { inhibiting, inhibitorsOf, mutesOf, type Suppressor } from '../core/alert/suppression.ts';
import type { Alerting } from './alerting.ts';

/** What keeps notifications back, by the id of their alert. */
export type SuppressorsById = ReadonlyMap<string, readonly Suppressor[]>;

/**
 * What keeps notifications of alerts back now, by the alert's id; nothing for those that are over.
 * @param sources those that the reader is limited to: what belongs to others has neither id nor user
 */
export async function readSuppressors(
  alerting: Alerting,
  shown: readonly Alert[],
  sources?: readonly string[],
): Promise<SuppressorsById> {
  const { process, rules } = alerting;
  const { alerts, silences } = process.stores;
  const going = shown.filter(({ state }) => state !== 'resolved');
  if (going.length === 0) return new Map();
  const [groups, all, active] = await Promise.all([
    alerts.groups(going.map(({ id }) => groupOfAlert(id) ?? '')),
    silences.all(),
    readInhibiting(
      alerting,
      going.map(({ rule }) => rule),
    ),
  ]);
  const facts = new Map(
    [...groups.values()].flatMap(({ group }) =>
      group?.open ? [[group.open.alert.id, group.open.facts] as const] : [],
    ),
  );
  const at = process.now();
  return new Map(
    going.map((alert) => {
      const event = facts.get(alert.id);
      const rule = rules.book.named(alert.rule);
      const inhibitors = inhibitorsOf(alert, rules.inhibitRules, (name) => active.get(name) ?? []);
      return [
        alert.id,
        [
          ...(event === undefined ? [] : silencesOf(all, event, at)).map((one) =>
            bySilence(one, sources),
          ),
          ...(rule === undefined ? [] : mutesOf(rule, at)),
          ...inhibitors.map((one) => byAlert(one, sources)),
        ],
      ];
    }),
  );
}

/** Alerts of one rule that are looked through for what they inhibit. */
const MOST_INHIBITING = 1_000;

/** The alerts that go on of the rules that inhibit those of some, also by way of others. */
export async function readInhibiting(
  { process, rules }: Alerting,
  names: Iterable<string>,
): Promise<ReadonlyMap<string, readonly Alert[]>> {
  const { alerts } = process.stores;
  const sources = [...names].flatMap((name) => Array.from(inhibiting(rules.inhibitRules, name)));
  const found = [...new Set(sources)].map(async (rule) => {
    const { items } = await alerts.list({ state: OPEN_STATES, rule, limit: MOST_INHIBITING });
    return [rule, items] as const;
  });
  return new Map(await Promise.all(found));
}

/** A silence as what suppresses, for a reader that is limited to some sources. */
export function bySilence(
  { id, by, until, matchers }: Silence,
  sources: readonly string[] | undefined,
): Suppressor {
  const isOwn =
    sources === undefined || (matchers.source?.every((one) => sources.includes(one)) ?? false);
  return { kind: 'silence', id: isOwn ? id : null, by: isOwn ? by : null, until };
}

function byAlert({ id, rule, labels }: Alert, sources: readonly string[] | undefined): Suppressor {
  const isOwn = sources?.includes(labels['source'] ?? '') ?? true;
  return { kind: 'inhibit', id: isOwn ? id : null, by: rule, until: null };
}
