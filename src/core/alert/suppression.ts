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

/** `silenced by ana`, `muted by nights`, `inhibited by noxus-down`; without a name that is hidden. */
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
 * The alerts that inhibit another, one of each inhibit rule.
 * @param activeOf the alerts of a rule that go on
 */
export function inhibitorsOf(
  alert: Pick<Alert, 'id' | 'rule' | 'labels'>,
  inhibitRules: readonly InhibitRule[],
  activeOf: (rule: string) => readonly Alert[],
): Alert[] {
  return inhibitRules
    .filter(({ targetRule }) => targetRule === alert.rule)
    .flatMap(({ sourceRule, equal }) => {
      const isMeant = ({ id, labels }: Alert) =>
        id !== alert.id && equal.every((label) => labels[label] === alert.labels[label]);
      return activeOf(sourceRule).find(isMeant) ?? [];
    });
}
