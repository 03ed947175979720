import type { Alert } from './alert.ts';
import type { InhibitRule, Rule } from './rule.ts';
import { contains, mutedUntil } from './time-interval.ts';

export const SUPPRESSOR_KINDS = ['silence', 'mute', 'inhibit'] as const;

/** What keeps notifications of an alert back. */
export interface Suppressor {
  kind: (typeof SUPPRESSOR_KINDS)[number];
  /** Of the silence, the time interval by its name, or the alert that inhibits; null where it is hidden. */
  id: string | null;
  /** The user of a silence, or the rule of the alert that inhibits; null for a time interval, or hidden. */
  by: string | null;
  /** When it ends, milliseconds since the epoch; null where that is not known. */
  until: number | null;
}

export const SUPPRESSED = { silence: 'silenced', mute: 'muted', inhibit: 'inhibited' } as const;

/** `silenced by ana`, `muted by nights`, `inhibited by source-down`; without a name that is hidden. */
export function suppressedText({ kind, id, by }: Pick<Suppressor, 'kind' | 'id' | 'by'>): string {
  const name = by ?? id;
  return name === null ? SUPPRESSED[kind] : `${SUPPRESSED[kind]} by ${name}`;
}

/** The intervals of a rule that mute it now, each once. */
export function mutesOf({ mute }: Pick<Rule, 'mute'>, now: number): Suppressor[] {
  const names = mute.filter((one) => contains(one, now)).map(({ name }) => name);
  return [...new Set(names)].map((name) => {
    const until = mutedUntil(
      mute.filter((one) => one.name === name),
      now,
    );
    return { kind: 'mute', id: name, by: null, until };
  });
}

/**
 * The alerts that inhibit another, one of each inhibit rule. What is itself inhibited does not inhibit; where
 * rules inhibit one another in a circle, alerts inhibit only those that began after them.
 * @param activeOf the alerts of a rule that go on
 */
export function inhibitorsOf(
  alert: InhibitedAlert,
  inhibitRules: readonly InhibitRule[],
  activeOf: (rule: string) => readonly Alert[],
): Alert[] {
  return inhibitRules
    .filter(({ targetRule }) => targetRule === alert.rule)
    .flatMap(({ sourceRule, equal }) => {
      const isCircle = inhibitedBy(inhibitRules, alert.rule).has(sourceRule);
      const isMeant = (source: Alert) =>
        source.id !== alert.id &&
        equal.every((label) => source.labels[label] === alert.labels[label]) &&
        (!isCircle || byAge(source, alert) < 0) &&
        inhibitorsOf(source, inhibitRules, activeOf).length === 0;
      const active = activeOf(sourceRule);
      return (isCircle ? active.toSorted(byAge) : active).find(isMeant) ?? [];
    });
}

type InhibitedAlert = Pick<Alert, 'id' | 'rule' | 'labels' | 'startedAt'>;

/** Oldest first, so that the first that inhibits is found at once. */
function byAge(one: InhibitedAlert, other: InhibitedAlert): number {
  return one.startedAt - other.startedAt || (one.id < other.id ? -1 : 1);
}

/** The rules whose alerts those of a rule inhibit, also by way of others. */
export function inhibitedBy(
  inhibitRules: readonly Pick<InhibitRule, 'sourceRule' | 'targetRule'>[],
  rule: string,
): Set<string> {
  const found = new Set<string>();
  const left = [rule];
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    for (const { sourceRule, targetRule } of inhibitRules) {
      if (sourceRule !== next || found.has(targetRule)) continue;
      found.add(targetRule);
      left.push(targetRule);
    }
  }
  return found;
}

/** The rules whose alerts may inhibit those of a rule, also by way of others. */
export function inhibiting(
  inhibitRules: readonly Pick<InhibitRule, 'sourceRule' | 'targetRule'>[],
  rule: string,
): Set<string> {
  const reversed = inhibitRules.map(({ sourceRule, targetRule }) => ({
    sourceRule: targetRule,
    targetRule: sourceRule,
  }));
  return inhibitedBy(reversed, rule);
}
