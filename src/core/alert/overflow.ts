import { groupKey, type Rule } from './rule.ts';

/**
 * The groups that a rule may have: `group_by` may name what never comes twice. Events of further groups
 * are counted together.
 */
export const MOST_GROUPS = 1_000;

/** The labels of the group that counts what belongs to none of the others. */
export const OVERFLOW_LABELS = { overflow: 'true' };

/** How long the alert of this group goes on after its last event, at the least, ms. */
const GOES_ON_MS = 3_600_000;

export function overflowKey(rule: string): string {
  return groupKey(rule, OVERFLOW_LABELS);
}

/**
 * A rule as it judges this group. Its events are of many groups: none of them resolves its alert, and no
 * threshold means anything. They are counted, and an alert says so.
 */
export function overflowRule(rule: Rule): Rule {
  const { condition, annotations, groupIntervalMs } = rule;
  const summary = `The rule has ${MOST_GROUPS} groups; events of further ones are counted together.`;
  return {
    ...rule,
    annotations: { ...annotations, summary },
    condition: condition.kind === 'digest' ? condition : { kind: 'each' },
    resolve: { kind: 'after', ms: Math.max(groupIntervalMs, GOES_ON_MS) },
  };
}
