import { groupOfAlert, type Alert, type ResolvedBy } from '../core/alert/alert.ts';
import { Batch, digestKey } from '../core/alert/batch.ts';
import type { GroupInput } from '../core/alert/group.ts';
import type { AcknowledgeRequest } from '../core/watch/watch.ts';
import { planAlertEvent } from './event.ts';
import { groupsOf, type JudgeDeps } from './judge.ts';

export type ActDeps = Pick<
  JudgeDeps,
  'alerts' | 'silences' | 'rules' | 'newEventId' | 'receivers' | 'urlOf' | 'dispatch' | 'count'
>;

/** `over`: the alert has resolved, so there is nothing to acknowledge. */
export type Acknowledged = Alert | 'not_found' | 'over' | 'unconfigured';

/**
 * The use case behind acknowledging an alert and taking that back.
 * Returns a function that takes null to take it back.
 */
export function createAcknowledgeAlert(deps: ActDeps) {
  return async function acknowledgeAlert(
    id: string,
    request: AcknowledgeRequest | null,
  ): Promise<Acknowledged> {
    const result = await act(deps, id, (at) =>
      request === null
        ? { kind: 'unacknowledge' }
        : { kind: 'acknowledge', acknowledgement: { ...request, at } },
    );
    if (result !== null) return result;
    return (await deps.alerts.get(id)) === null ? 'not_found' : 'over';
  };
}

/**
 * The use case behind ending an alert by hand, also one of a rule that is configured no more.
 * Returns a function that gives the alert as it has ended, now or before; null for an unknown one.
 */
export function createResolveAlert(deps: ActDeps) {
  return async function resolveAlert(id: string, resolvedBy: ResolvedBy): Promise<Alert | null> {
    const result = await act(deps, id, () => ({ kind: 'resolve', resolvedBy }));
    return result === null || result === 'unconfigured' ? deps.alerts.get(id) : result;
  };
}

/** What a user does to an alert that goes on, at a time. */
type Act = (now: number) => GroupInput;

/** @returns the alert afterwards; null where it does not go on */
async function act(deps: ActDeps, id: string, what: Act): Promise<Alert | 'unconfigured' | null> {
  for (;;) {
    const result = await attempt(deps, id, what);
    if (result !== 'conflict') return result;
  }
}

async function attempt(
  deps: ActDeps,
  id: string,
  what: Act,
): Promise<Alert | 'unconfigured' | null | 'conflict'> {
  const { alerts, silences, rules } = deps;
  const key = groupOfAlert(id) ?? '';
  const read = await alerts.groups([key]);
  const group = read.get(key)?.group ?? null;
  if (group?.open?.alert.id !== id) return null;
  // An alert that ends in a mute of its rule is held with the others.
  for (const [held, one] of await alerts.groups([digestKey(group.rule)])) read.set(held, one);
  const [all, { now, uptimeMs }] = await Promise.all([silences.all(), alerts.uptime()]);
  const batch = new Batch(groupsOf(read), {
    now,
    uptimeMs,
    cannotTell: () => true,
    silences: all,
    inhibitRules: [],
    active: new Map(),
    groupCounts: new Map(),
    sources: rules.sources.length,
    newEventId: deps.newEventId,
  });
  const input = what(now);
  const rule = rules.book.named(group.rule);
  if (rule !== undefined) batch.step(rule, { key, labels: group.labels }, input);
  else if (input.kind === 'resolve') batch.resolveOrphan(key, input.resolvedBy);
  else return 'unconfigured';
  const pools = await alerts.commit({
    token: null,
    read,
    changed: batch.changed(),
    resolved: [...batch.resolved.values()],
    counts: batch.counts,
    events: batch.notifications.map((one) => planAlertEvent(one, { ...deps, now })),
  });
  if (pools === null) return 'conflict';
  deps.count(batch.counts);
  deps.dispatch(pools);
  return batch.resolved.get(id) ?? batch.alertOf(key);
}
