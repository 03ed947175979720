import { groupOfAlert, type Alert } from '../core/alert/alert.ts';
import { Batch } from '../core/alert/batch.ts';
import type { GroupInput } from '../core/alert/group.ts';
import type { AcknowledgeRequest } from '../core/watch/watch.ts';
import { planAlertEvent } from './event.ts';
import type { JudgeDeps } from './judge.ts';

export type AcknowledgeDeps = Pick<
  JudgeDeps,
  | 'alerts'
  | 'silences'
  | 'rules'
  | 'newEventId'
  | 'receivers'
  | 'urlOf'
  | 'dispatch'
  | 'count'
  | 'now'
>;

/** `over`: the alert has resolved, so there is nothing to acknowledge. */
export type Acknowledged = Alert | 'not_found' | 'over' | 'unconfigured';

/**
 * The use case behind acknowledging an alert and taking that back.
 * Returns a function that takes null to take it back.
 */
export function createAcknowledgeAlert(deps: AcknowledgeDeps) {
  return async function acknowledgeAlert(
    id: string,
    request: AcknowledgeRequest | null,
  ): Promise<Acknowledged> {
    for (;;) {
      const result = await attempt(deps, id, request);
      if (result !== 'conflict') return result;
    }
  };
}

async function attempt(
  deps: AcknowledgeDeps,
  id: string,
  request: AcknowledgeRequest | null,
): Promise<Acknowledged | 'conflict'> {
  const { alerts, silences, rules } = deps;
  const key = groupOfAlert(id) ?? '';
  const read = await alerts.groups([key]);
  const group = read.get(key)?.group ?? null;
  if (group?.open?.alert.id !== id) {
    const alert = await alerts.get(id);
    return alert === null ? 'not_found' : 'over';
  }
  const rule = rules.book.named(group.rule);
  if (rule === undefined) return 'unconfigured';
  const now = deps.now();
  const batch = new Batch(new Map([[key, group]]), {
    now,
    uptimeMs: 0,
    cannotTell: () => true,
    silences: await silences.all(),
    inhibitRules: [],
    active: new Map(),
    groupCounts: new Map(),
    sources: rules.sources.length,
    newEventId: deps.newEventId,
  });
  const input: GroupInput =
    request === null
      ? { kind: 'unacknowledge' }
      : { kind: 'acknowledge', acknowledgement: { ...request, at: now } };
  batch.step(rule, { key, labels: group.labels }, input);
  const pools = await alerts.commit({
    token: null,
    read,
    changed: batch.changed(),
    counts: batch.counts,
    events: batch.notifications.map((one) => planAlertEvent(one, { ...deps, now })),
  });
  if (pools === null) return 'conflict';
  deps.count(batch.counts);
  deps.dispatch(pools);
  return batch.alertOf(key) ?? 'over';
}
