import { OPEN_STATES, type Alert } from '../core/alert/alert.ts';
import { Batch, digestKey, MOST_GROUPS } from '../core/alert/batch.ts';
import { groupKey, isOfSources, labelsOf, type Rule } from '../core/alert/rule.ts';
import type { AlertStore, LiveRules } from './ports.ts';

interface ApplyRulesDeps {
  alerts: AlertStore;
  rules: LiveRules;
  newEventId: () => string;
}

/** Alerts that are read at a time. */
const PAGE = 200;

/**
 * The use case that applies a new set of rules to what is stored. It begins to wait for events that may
 * never come, of groups that a rule names by itself; others begin with their first event. Alerts of rules
 * and sources that are configured no more are judged at once, and so is what mute intervals hold, which may
 * have changed. Safe to repeat.
 */
export function createApplyRules(deps: ApplyRulesDeps) {
  return async function applyRules(): Promise<void> {
    await beginAbsences(deps);
    await expediteLeftovers(deps);
    await expediteHeld(deps);
  };
}

async function beginAbsences({ alerts, rules, newEventId }: ApplyRulesDeps): Promise<void> {
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
    sources: rules.sources.length,
    newEventId,
  });
  for (const { rule, key, labels } of missing) {
    batch.step(rule, { key, labels }, { kind: 'begin' });
  }
  await alerts.commit({
    token: null,
    read,
    changed: batch.changed(),
    counts: batch.counts,
    events: [],
  });
}

async function expediteLeftovers({ alerts, rules }: ApplyRulesDeps): Promise<void> {
  let cursor: string | null = null;
  do {
    const page = await alerts.list({
      state: OPEN_STATES,
      limit: PAGE,
      ...(cursor !== null && { cursor }),
    });
    const left = page.items.filter((alert) => !isOfConfiguration(alert, rules));
    await alerts.expedite(left.map(({ rule, labels }) => groupKey(rule, labels)));
    cursor = page.nextCursor;
  } while (cursor !== null);
}

async function expediteHeld({ alerts, rules }: ApplyRulesDeps): Promise<void> {
  const read = await alerts.groups(rules.book.all.map(({ name }) => digestKey(name)));
  const held: string[] = [];
  for (const [key, { group }] of read) {
    const { alerts: kept = [] } = group?.held ?? {};
    if (kept.length === 0) continue;
    held.push(key);
    for (const { alert } of kept) held.push(groupKey(alert.rule, alert.labels));
  }
  await alerts.expedite(held);
}

function isOfConfiguration({ rule, labels }: Alert, { book, sources }: LiveRules): boolean {
  return book.named(rule) !== undefined && isOfSources(labels, sources);
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
