import { groupOfAlert, noCounts } from '../../src/core/alert/alert.ts';
import { newGroup, type OpenAlert } from '../../src/core/alert/group.ts';
import { newBatch } from '../../src/core/batch.ts';
import { newDelivery, withheld } from '../../src/core/delivery/delivery.ts';
import type { SentEventType } from '../../src/core/event/event.ts';
import { observe } from '../../src/core/watch/observe.ts';
import type { Subscription, WatchKey } from '../../src/core/watch/watch.ts';
import { newMark, newWatch, NOON, observeContext, snapshot, webhookTo } from './builders.ts';
import { anAlert } from './fake-alerts.ts';
import type { openStores } from './stores.ts';

type OpenedStores = ReturnType<typeof openStores>;

const ops: Subscription = { kind: 'endpoint', endpoint: 'ops' };
const limits = { most: 4, rate: null, deadlineMs: 15_000 };
const schedule = { does: 'enter', withinMs: 0, kind: 'watch' } as const;

export const runKey = (runId: string): WatchKey => ({ source: 'default', runId });

/** Registers a run by a token, and polls it until it has a status. @returns the ids of its deliveries */
export async function aRun(
  { watches }: OpenedStores,
  runId: string,
  status: string,
): Promise<string[]> {
  const after = newWatch({
    ...runKey(runId),
    subscriptions: [ops],
    registeredBy: ['ci'],
    metadata: { team: 'ml' },
  });
  await watches.commit({ before: null, after, events: [], deliveries: [], schedule });
  const before = await watches.get(runKey(runId));
  if (before === null) throw new Error(`${runId} is not registered`);
  const seen = observe(
    before.watch,
    { kind: 'run', run: snapshot({ id: runId, status }) },
    observeContext(NOON),
  );
  const planned = seen.events.map((event) => newDelivery(seen.watch, event, 'ops', NOON));
  const over = seen.watch.state === 'active' ? {} : { schedule: { does: 'leave' as const } };
  const change = { before, after: seen.watch, events: seen.events, deliveries: planned, ...over };
  if ((await watches.commit(change)) === null) throw new Error(`${runId} was written meanwhile`);
  return planned.map(({ id }) => id);
}

/** Settles a delivery as one that is not attempted. */
export async function skip({ deliveries, outbox }: OpenedStores, id: string): Promise<void> {
  const before = await deliveries.get(id);
  if (before === null) throw new Error(`there is no ${id}`);
  const after = withheld(before.delivery, 'skipped');
  await outbox.withhold({ before, after, limits, now: NOON });
}

/** Raises an event about no run, with a delivery. @param sources those of its batch */
export async function raise(
  { events }: OpenedStores,
  type: SentEventType,
  sources?: string[],
): Promise<void> {
  const id = `evt_${newMark()}`;
  const event = { id, type, timestamp: '2026-01-01T00:00:00.000Z' };
  const body = JSON.stringify({ ...event, data: { sources } });
  const about = { source: '', runId: '', ...(sources && { sources }) };
  await events.raise({ id, body, deliveries: [newDelivery(about, event, 'ops', NOON)] });
}

/** Active, ended, settled and packed watches, and events about none. */
export async function fillStore(stores: OpenedStores): Promise<void> {
  await aRun(stores, 'active', 'running');
  await aRun(stores, 'waiting', 'awaiting_human_feedback');
  await aRun(stores, 'ended', 'failed');
  for (const id of await aRun(stores, 'settled', 'failed')) await skip(stores, id);
  for (const id of await aRun(stores, 'packed', 'completed')) await skip(stores, id);
  const packed = await stores.history.pack(runKey('packed'));
  if (packed !== 'packed') throw new Error(`the run was not packed: ${packed}`);
  await raise(stores, 'endpoint.failing');
  await raise(stores, 'batch.completed', ['one', 'other']);
}

/** An open batch with a webhook of its own. */
export async function aBatch({ batches }: OpenedStores): Promise<void> {
  const batch = newBatch('1', { sources: null, name: 'nightly' }, NOON);
  const subscriptions = [webhookTo('https://example.com/hook')];
  const isNew = await batches.begin({ ...batch, subscriptions }, '');
  if (!isNew) throw new Error('the batch was not begun');
}

/** An alert that has resolved, and one that fires. */
export async function someAlerts({ alerts }: OpenedStores): Promise<void> {
  const resolved = anAlert({
    id: 'alr_0123456789abcdef0123_0000000001',
    state: 'resolved',
    resolvedAt: NOON,
  });
  const alert = anAlert({ id: 'alr_0123456789abcdef0123_0000000002' });
  const group = groupOfAlert(alert.id) ?? '';
  const made = { rule: alert.rule, labels: alert.labels, source: 'default', kind: 'each' as const };
  const open = { alert } as OpenAlert;
  const after = { ...newGroup(made), open };
  const read = new Map([[group, { version: '', group: null }]]);
  const changed = [{ key: group, before: null, after, dueAt: NOON, keptMs: 0 }];
  const commit = {
    token: null,
    read,
    changed,
    resolved: [resolved],
    counts: noCounts(),
    events: [],
  };
  if ((await alerts.commit(commit)) === null) throw new Error('the alerts were not written');
}
