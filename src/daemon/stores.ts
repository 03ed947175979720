import type { AlertRules } from '../alert/rules.ts';
import type { StoredCounts } from '../telemetry/gauges.ts';
import type { RedisConnections } from '../redis/connection.ts';
import { AlertStore, AlertMessageStore } from '../redis/stores/alert-store.ts';
import { AnswerStore } from '../redis/stores/answer-store.ts';
import { BatchStore } from '../redis/stores/batch-store.ts';
import { AuditStore } from '../redis/stores/audit-store.ts';
import { BudgetStore, SourceNamesStore, SourceStore } from '../redis/stores/source-store.ts';
import { DeliveryStore } from '../redis/stores/delivery-store.ts';
import { DiscoveryStore } from '../redis/stores/discovery-store.ts';
import { ConsistencyStore } from '../redis/stores/consistency-store.ts';
import { FeedStore } from '../redis/stores/feed-store.ts';
import { GoneStore, ScheduleStore } from '../redis/stores/schedule-store.ts';
import { ClaimStore } from '../redis/leases.ts';
import { EndpointStore } from '../redis/stores/endpoint-store.ts';
import { EpochStore } from '../redis/stores/epoch-store.ts';
import { DueBell, EventBell, WakeChannel, WatchChannel } from '../redis/channels.ts';
import { FormStore } from '../redis/stores/form-store.ts';
import { EventStore } from '../redis/stores/event-store.ts';
import { HistoryStore } from '../redis/stores/history-store.ts';
import { createKeys } from '../redis/keys.ts';
import { MIGRATIONS, type Migration } from '../redis/migrations.ts';
import { LookupStore } from '../redis/stores/lookup-store.ts';
import { RedisMemoryStore } from '../redis/stores/redis-memory-store.ts';
import { OutboxStore } from '../redis/stores/outbox-store.ts';
import { ProcessStore } from '../redis/stores/process-store.ts';
import { RepairStore } from '../redis/stores/repair-store.ts';
import { RetentionStore } from '../redis/stores/retention-store.ts';
import { SealingKeyStore, SecretStore } from '../redis/stores/secret-store.ts';
import { EndedSessionStore } from '../redis/stores/session-store.ts';
import { SilenceStore } from '../redis/stores/silence-store.ts';
import { StatisticsStore } from '../redis/stores/statistics-store.ts';
import { NodeNameStore, WorkflowNameStore } from '../redis/stores/name-store.ts';
import { StreamStore } from '../redis/stores/stream-store.ts';
import { StoreClock } from '../redis/store-clock.ts';
import { RunFiguresStore } from '../redis/stores/run-figures-store.ts';
import { TimelineStore } from '../redis/stores/timeline-store.ts';
import { WatchStore } from '../redis/stores/watch-store.ts';

/** All stores in Redis. */
export type Stores = ReturnType<typeof createStores>;

export function createStores(
  connections: Pick<RedisConnections, 'commands' | 'subscriber'>,
  prefix: string,
  alertRules: Pick<AlertRules, 'entriesOf'> | null = null,
  migrations: readonly Migration[] = MIGRATIONS,
) {
  const redis = connections.commands;
  const keys = createKeys(prefix);
  const history = new HistoryStore(redis, keys);
  const watches = new WatchStore(redis, keys, history, (one) => alertRules?.entriesOf(one) ?? []);
  const eventBell = new EventBell(connections.subscriber, keys.eventBell);
  const events = new EventStore(redis, keys, eventBell);
  const deliveries = new DeliveryStore(redis, keys, history);
  const requests = new ScheduleStore(redis, keys);
  return {
    keys,
    watches,
    deliveries,
    alerts: new AlertStore(redis, keys),
    /** What users did. */
    audit: new AuditStore(redis, keys),
    /** Runs that are waited for together. */
    batches: new BatchStore(redis, keys),
    statistics: new StatisticsStore(redis, keys),
    memory: new RedisMemoryStore(redis, keys),
    sourceNames: new SourceNamesStore(redis, keys),
    epochs: new EpochStore(redis, keys),
    /** The form of records. */
    forms: new FormStore(redis, keys, migrations),
    /** The daemons on this store. */
    processes: new ProcessStore(redis, keys),
    clock: new StoreClock(redis, keys),
    /** Watches with all that belongs to them. */
    timelines: new TimelineStore(redis, keys),
    /** How the runs of each workflow go. */
    runFigures: new RunFiguresStore(redis, keys),
    /** Watches that have ended, packed with all that belongs to them. */
    history,
    events,
    eventBell,
    watchChannel: new WatchChannel(redis, connections.subscriber, keys.watchChannel),
    /** Ids by how they begin. */
    lookup: new LookupStore({ redis, keys, events, deliveries }),
    /** The schedule of requests to sources. */
    requests,
    wake: new WakeChannel(redis, connections.subscriber, keys.wake),
    /** Deliveries that are due, and the steps by which they move on. */
    outbox: new OutboxStore(redis, keys, history),
    endpointStates: new EndpointStore(redis, keys),
    deliveryClaims: new ClaimStore(redis, keys.deliveryClaims),
    dueBell: new DueBell(connections.subscriber, keys.dueBell),
    sources: new SourceStore(redis, keys),
    consistencies: new ConsistencyStore(redis, keys),
    /** What is known of lists of runs. */
    feeds: new FeedStore(redis, keys, watches, requests),
    /** When gone runs are checked. */
    gone: new GoneStore(redis, keys),
    discoveries: new DiscoveryStore(redis, keys),
    budgets: new BudgetStore(redis, keys),
    streams: new StreamStore(redis, keys),
    /** The names that sources give workflows. */
    workflowNameStore: new WorkflowNameStore(redis, keys),
    nodeNames: new NodeNameStore(redis, keys),
    /** Which messages tell alerts. */
    alertMessages: new AlertMessageStore(redis, keys),
    /** Rotated secrets of endpoints. */
    endpointSecrets: new SecretStore(redis, keys),
    sealingKeys: new SealingKeyStore(redis, keys),
    /** Answers to requests with an idempotency key. */
    answers: new AnswerStore(redis, keys),
    /** Sessions of the dashboard that were signed out. */
    endedSessions: new EndedSessionStore(redis, keys),
    silences: new SilenceStore(redis, keys),
    /** Derives logs, indexes and counters from the records again. */
    repairs: new RepairStore(redis, keys),
    retention: new RetentionStore(redis, keys, { history, deliveries }),
  };
}

/** Counts of records, for metrics. */
export async function countStored(
  { sourceNames, watches, deliveries, statistics, memory, alerts }: Stores,
  { book }: Pick<AlertRules, 'book'>,
): Promise<StoredCounts> {
  const names = await sourceNames.all();
  const rules = book.all.map(({ name }) => name);
  const [counts, runs, { byState, planned }, tables, figures, byRule] = await Promise.all([
    watches.counts(),
    watches.activeByStatus([...names.keys()]),
    deliveries.counts(),
    statistics.countTables(),
    memory.figures(),
    alerts.countByRule(rules),
  ]);
  return {
    watches: counts,
    runs,
    deliveries: byState,
    planned,
    tables,
    memory: figures,
    alerts: byRule,
  };
}
