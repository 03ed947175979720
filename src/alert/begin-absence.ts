import { Batch } from '../core/alert/batch.ts';
import { groupKey, labelsOf, type Rule } from '../core/alert/rule.ts';
import type { AlertStore, LiveRules } from './ports.ts';

interface BeginAbsenceDeps {
  alerts: AlertStore;
  rules: LiveRules;
  newEventId: () => string;
}

/** Groups that a rule names by its `when`. */
const MOST_GROUPS = 1_000;

/**
 * The use case that begins to wait for events that may never come: of workflows that a rule names, and
 * of rules with one group. Other groups begin with their first event. Safe to repeat.
 */
export function createBeginAbsence({ alerts, rules, newEventId }: BeginAbsenceDeps) {
  return async function beginAbsence(): Promise<void> {
    const named = rules.book.all
      .filter(({ condition }) => condition.kind === 'absent')
      .flatMap((rule) => namedGroups(rule, rules.sources).map((labels) => ({ rule, labels })));
    if (named.length === 0) return;
    const keyed = named.map(({ rule, labels }) => ({
      rule,
      labels,
      key: groupKey(rule.name, labels),
    }));
    const read = await alerts.groups(keyed.map(({ key }) => key));
    const missing = keyed.filter(({ key }) => (read.get(key)?.group ?? null) === null);
    if (missing.length === 0) return;
    const { now, uptimeMs } = await alerts.uptime();
    const batch = new Batch(new Map(), {
      now,
      uptimeMs,
      cannotTell: () => true,
      silences: [],
      inhibitRules: [],
      active: new Map(),
      groupCounts: new Map(),
      newEventId,
    });
    for (const { rule, key, labels } of missing)
      batch.step(rule, { key, labels }, { kind: 'begin' });
    await alerts.commit({
      read,
      changed: batch.changed(),
      resolved: [],
      counts: batch.counts,
      events: [],
      judged: [],
      deadlines: [],
      endedDeadlines: [],
    });
  };
}

/** The labels of the groups that are known without an event. */
function namedGroups(rule: Rule, configured: readonly string[]): Record<string, string>[] {
  const isKnown = rule.groupBy.every(
    (label) => label === 'source' || (label === 'workflow_id' && rule.when?.workflow_id),
  );
  if (!isKnown) return [];
  const sources = configured.filter((source) => rule.when?.source?.includes(source) ?? true);
  const workflows = rule.when?.workflow_id ?? [null];
  const all = sources.flatMap((source) =>
    workflows.map((workflowId) =>
      labelsOf(rule, {
        type: '',
        source,
        metadata: {},
        run: { runId: '', workflowId, name: null, url: null, status: null },
      }),
    ),
  );
  const unique = new Map(all.map((labels) => [JSON.stringify(labels), labels]));
  return [...unique.values()].slice(0, MOST_GROUPS);
}
