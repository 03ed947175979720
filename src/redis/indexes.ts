import { createHash } from 'node:crypto';
import type { WorkflowKey } from '../core/cadence/phase.ts';
import { memberStatus, type MemberStatus } from '../core/batch.ts';
import { attentionOf, type WatchAttention } from '../core/attention.ts';
import { countedReceiver, shownReceiver } from '../core/delivery/receiver.ts';
import { sourcesOfDelivery, type Delivery } from '../core/delivery/delivery.ts';
import type { OwnEvent, RunwatchEvent } from '../core/event/event.ts';
import { statusLabel } from '../core/run/snapshot.ts';
import { stalledIn } from '../core/watch/backlog.ts';
import { countedTokens, type Watch } from '../core/watch/watch.ts';
import type { Keys } from './keys.ts';

/** An index of records by their numbers; see `lua/numbers.ts`. */
interface Index<Kept> {
  /** The listing or figure that it serves. */
  serves: string;
  /** What one record costs, in bytes of Redis: some 2 where most records share a value, else up to 64. */
  bytes: number;
  /** The keys that a record belongs in. */
  keysOf: (keys: Keys, record: Kept) => string[];
}

/** Letters of base64url, of 6 bits each, that name an entry of metadata. */
const ENTRY_LETTERS = 16;

/** What of an event its indexes go by. */
type IndexedEvent = Pick<RunwatchEvent, 'type' | 'data'>;

/** Of a watch. */
const WATCH_INDEXES: readonly Index<Watch>[] = [
  {
    serves: 'GET /v1/watches?state',
    bytes: 2,
    keysOf: (keys, { state }) => [keys.watches('state', state)],
  },
  {
    serves: 'GET /v1/watches?source',
    bytes: 2,
    keysOf: (keys, { source }) => [keys.watches('source', source)],
  },
  {
    serves: 'GET /v1/watches?status',
    bytes: 2,
    keysOf: (keys, { run }) => (run === null ? [] : [keys.watches('status', run.status)]),
  },
  {
    serves: 'GET /v1/watches?workflow_id',
    bytes: 64,
    keysOf: (keys, { run }) =>
      run?.workflow_id ? [keys.watches('workflow', run.workflow_id)] : [],
  },
  {
    // The time itself is in a sorted set, see LOGGED; days say which chunks are worth reading.
    serves: 'GET /v1/watches?since&until',
    bytes: 2,
    keysOf: (keys, { changedAt }) => [changedDayIndex(keys, changedDay(changedAt))],
  },
  {
    // Of few watches; those that are acknowledged apart.
    serves: 'GET /v1/attention',
    bytes: 0,
    keysOf: (keys, watch) =>
      attentionOf(watch).map((kind) => attentionIndex(keys, needOf(kind, watch))),
  },
  {
    // Of few watches.
    serves: 'workflow.stalled',
    bytes: 0,
    keysOf: (keys, watch) => {
      const workflow = stalledIn(watch);
      return workflow === null ? [] : [stalledIndex(keys, workflow)];
    },
  },
  {
    // For each entry; one with a value that no other watch has takes some 200 bytes.
    serves: 'GET /v1/watches?metadata.<key>',
    bytes: 64,
    keysOf: (keys, { metadata }) =>
      Object.entries(metadata).map(([key, value]) => metadataIndex(keys, key, value)),
  },
  {
    // Of active watches with a webhook: all of them, and those of each token.
    serves: 'GET /v1/webhooks',
    bytes: 0,
    keysOf: (keys, watch) => webhookIndexes(keys, watch),
  },
  {
    // Of active watches: those that each token registered.
    serves: 'max_watches of a token',
    bytes: 0,
    keysOf: (keys, watch) => countedTokens(watch).map((token) => registeredIndex(keys, token)),
  },
  {
    // Of members of a batch: those that stand alike.
    serves: 'GET /v1/watches?batch',
    bytes: 0,
    keysOf: (keys, watch) =>
      watch.batches.map((batch) => batchIndex(keys, batch, memberStatus(watch))),
  },
  {
    serves: 'runwatch_runs',
    bytes: 0,
    keysOf: (keys, { state, source, run }) =>
      state === 'active' ? [runsIndex(keys, source, statusLabel(run))] : [],
  },
];

/** Of an event of a watch. */
const EVENT_INDEXES: readonly Index<IndexedEvent>[] = [
  {
    serves: 'GET /v1/events?type',
    bytes: 2,
    keysOf: (keys, { type }) => [keys.events('type', type)],
  },
  {
    serves: 'what a token for some sources may read',
    bytes: 2,
    keysOf: (keys, { data: { watch } }) => [keys.events('source', watch.source)],
  },
  {
    serves: 'GET /v1/events?workflow_id',
    bytes: 30,
    keysOf: (keys, { data: { run } }) =>
      run?.workflow_id ? [keys.events('workflow', run.workflow_id)] : [],
  },
];

/** What of a delivery its indexes go by. */
type IndexedDelivery = Pick<Delivery, 'state' | 'endpoint' | 'source' | 'sources'>;

/** Of a delivery. */
const DELIVERY_INDEXES: readonly Index<IndexedDelivery>[] = [
  {
    serves: 'GET /v1/deliveries?state',
    bytes: 2,
    keysOf: (keys, delivery) => [deliveryStateIndex(keys, delivery)],
  },
  {
    // System events have none.
    serves: 'what a token for some sources may read',
    bytes: 2,
    keysOf: (keys, delivery) => {
      const sources = sourcesOfDelivery(delivery);
      return sources.length === 0 ? [] : [keys.deliveries('source', joinedSources(sources))];
    },
  },
  {
    // By the form that users see; webhooks of watches together as well.
    serves: 'GET /v1/deliveries?endpoint',
    bytes: 2,
    keysOf: (keys, { endpoint }) =>
      receiverNames(endpoint).map((name) => keys.deliveries('endpoint', name)),
  },
];

/** What logs, times and the id of one record cost besides, in bytes: see `npm run bench -- memory`. */
const LOGGED = { watch: 52 + 2 * 103 + 45, event: 9, delivery: 9 };

/** All indexes, by what they are of. */
export const INDEXES = {
  watch: WATCH_INDEXES,
  event: EVENT_INDEXES,
  delivery: DELIVERY_INDEXES,
};

/** What one record costs in indexes and logs, in bytes of Redis. */
export const INDEX_BYTES = {
  watch: sumOf(WATCH_INDEXES) + LOGGED.watch,
  event: sumOf(EVENT_INDEXES) + LOGGED.event,
  delivery: sumOf(DELIVERY_INDEXES) + LOGGED.delivery,
};

/** The indexes that a watch belongs in. */
export function watchIndexes(keys: Keys, watch: Watch): string[] {
  return WATCH_INDEXES.flatMap(({ keysOf }) => keysOf(keys, watch));
}

/** The indexes that an event belongs in. */
export function eventIndexes(keys: Keys, event: IndexedEvent): string[] {
  return EVENT_INDEXES.flatMap(({ keysOf }) => keysOf(keys, event));
}

/** The indexes that an event about no run belongs in: some of the same as those of runs. */
export function ownEventIndexes(keys: Keys, { type, data }: OwnEvent): string[] {
  const { source, sources, workflow_id: workflow } = labelsOf(data);
  return [
    keys.events('type', type),
    ...(typeof source === 'string' ? [keys.events('source', source)] : []),
    // Of a batch: what belongs to several sources is for tokens of all of these.
    ...(Array.isArray(sources) ? [keys.events('source', joinedSources(sources))] : []),
    ...(typeof workflow === 'string' ? [keys.events('workflow', workflow)] : []),
  ];
}

/** The sources of an event of a batch that belongs to several, as one value; null for others. */
export function severalSources({ data }: OwnEvent): string | null {
  const { sources } = labelsOf(data);
  return Array.isArray(sources) && sources.length > 1 ? joinedSources(sources) : null;
}

/** The value by which is found what belongs to several sources together. No source has a comma. */
function joinedSources(sources: readonly string[]): string {
  return sources.join(',');
}

function labelsOf(data: OwnEvent['data']): Readonly<Record<string, unknown>> {
  const { alert } = data as { alert?: { labels: Record<string, string> } };
  return alert?.labels ?? data;
}

/** The indexes that a delivery belongs in. */
export function deliveryIndexes(keys: Keys, delivery: IndexedDelivery): string[] {
  return DELIVERY_INDEXES.flatMap(({ keysOf }) => keysOf(keys, delivery));
}

/** Why a watch needs a person, and whether a user has acknowledged it. */
export type WatchNeed = WatchAttention | `${WatchAttention} acknowledged`;

function needOf(kind: WatchAttention, { acknowledged }: Watch): WatchNeed {
  return acknowledged === null ? kind : `${kind} acknowledged`;
}

/** The watches that need a person for the same reason. */
export function attentionIndex(keys: Keys, need: WatchNeed): string {
  return keys.watches('attention', need);
}

/** The day of a time, since the epoch. */
export function changedDay(ms: number): number {
  return Math.floor(ms / 86_400_000);
}

/** The watches that changed last on a day. */
export function changedDayIndex(keys: Keys, day: number): string {
  return keys.watches('changed', String(day));
}

/** The watches with an entry of metadata, which may be longer than a key should be. */
export function metadataIndex(keys: Keys, key: string, value: string): string {
  const entry = createHash('sha256')
    .update(JSON.stringify([key, value]))
    .digest('base64url');
  return keys.watches('metadata', entry.slice(0, ENTRY_LETTERS));
}

/** The active watches with a webhook; with a token, with one that it registered. */
export function webhooksIndex(keys: Keys, token?: string): string {
  return token === undefined ? keys.watches('webhooks') : keys.watches('webhooks', token);
}

function webhookIndexes(keys: Keys, { state, subscriptions }: Watch): string[] {
  const webhooks = subscriptions.filter((one) => one.kind === 'webhook');
  if (state !== 'active' || webhooks.length === 0) return [];
  const tokens = new Set(webhooks.flatMap(({ registeredBy }) => registeredBy ?? []));
  return [webhooksIndex(keys), ...[...tokens].map((token) => webhooksIndex(keys, token))];
}

/** The active watches that a token registered; {@link Keys.watchesOfTokens} counts them. */
export function registeredIndex(keys: Keys, token: string): string {
  return keys.watches('token', token);
}

/** The watches that count as stalled in a workflow. */
export function stalledIndex(keys: Keys, { source, workflowId }: WorkflowKey): string {
  return keys.watches('stalled', source, workflowId);
}

/** The active watches of a source by the status of their runs, see `statusLabel`. */
export function runsIndex(keys: Keys, source: string, label: string): string {
  return keys.watches('active', source, label);
}

/** The members of a batch that stand alike. */
export function batchIndex(keys: Keys, batch: string, status: MemberStatus): string {
  return keys.watches('batch', batch, status);
}

/** The only index that a delivery leaves and enters as it moves on. */
export function deliveryStateIndex(keys: Keys, { state }: Pick<Delivery, 'state'>): string {
  return keys.deliveries('state', state);
}

/** The names by which deliveries to a receiver are found. */
export function receiverNames(receiver: Delivery['endpoint']): string[] {
  return [...new Set([shownReceiver(receiver), countedReceiver(receiver)])];
}

function sumOf(indexes: readonly { bytes: number }[]): number {
  return indexes.reduce((sum, { bytes }) => sum + bytes, 0);
}
