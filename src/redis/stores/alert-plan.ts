import type { Alert } from '../../core/alert/alert.ts';
import type { AlertCommit, ChangedGroup } from '../../core/alert/batch.ts';
import type { Keys } from '../keys.ts';
import { raisedPlan } from './event-plan.ts';

/** For how long a group is remembered of which nothing is due, ms. */
const REMEMBERED_MS = 30 * 86_400_000;

/** What `COMMIT_ALERTS` of `lua/alert.ts` needs. */
export function alertPlan(keys: Keys, commit: AlertCommit, newVersion: () => string) {
  const { read, changed, resolved, counts, events, judged } = commit;
  return {
    ...(commit.token !== null && { lease: keys.alertLease, token: commit.token }),
    inbox: keys.alertInbox,
    due: keys.alertsDue,
    deadlinesKey: keys.alertDeadlines,
    alertsResolved: keys.alertsResolved,
    countsKey: keys.alertCounts,
    first: judged[0] ?? '',
    judged: judged.length,
    groupsOfRules: [...new Set(changed.map((group) => groupsOfRule(keys, group)))],
    groups: changed.map(({ key, before, after, dueAt }) => ({
      id: key,
      key: keys.alertGroup(key),
      ofRule: groupsOfRule(keys, { before, after }),
      before: read.get(key)?.version ?? '',
      version: newVersion(),
      ...(after !== null && { doc: JSON.stringify(after) }),
      ...(dueAt === null ? { keptMs: REMEMBERED_MS } : { dueAt: Math.ceil(dueAt) }),
    })),
    deadlines: commit.deadlines,
    endedDeadlines: commit.endedDeadlines,
    moves: movesOf(keys, changed, resolved),
    resolved: resolved.map((alert) => ({
      id: alert.id,
      at: alert.resolvedAt ?? 0,
      key: keys.resolvedAlert(alert.id),
      doc: JSON.stringify(alert),
    })),
    counts: Object.entries(counts)
      .filter(([, by]) => by !== 0)
      .map(([field, by]) => ({ field, by })),
    clock: keys.clock,
    raised: raisedPlan(keys, events),
  };
}

function groupsOfRule(keys: Keys, { before, after }: Pick<ChangedGroup, 'before' | 'after'>) {
  return keys.alertGroups((after ?? before)?.rule ?? '');
}

/** The indexes that alerts leave and enter. */
function movesOf(keys: Keys, changed: readonly ChangedGroup[], resolved: readonly Alert[]) {
  const [before, after] = [new Map<string, Alert>(), new Map<string, Alert>()];
  for (const group of changed) {
    if (group.before?.open) before.set(group.before.open.alert.id, group.before.open.alert);
    if (group.after?.open) after.set(group.after.open.alert.id, group.after.open.alert);
  }
  for (const alert of resolved) after.set(alert.id, alert);
  return [...new Set([...before.keys(), ...after.keys()])].flatMap((id) => {
    const [old, now] = [before.get(id), after.get(id)];
    if (old?.state === now?.state) return [];
    const startedAt = now?.startedAt ?? 0;
    return [{ id, startedAt, leave: indexesOf(keys, old), enter: indexesOf(keys, now) }];
  });
}

function indexesOf(keys: Keys, alert: Alert | undefined): string[] {
  if (alert === undefined) return [];
  const { state, rule } = alert;
  return [keys.alerts(state), keys.alerts(state, rule)];
}
