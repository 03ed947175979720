import { randomInt } from 'node:crypto';
import { hostname, uptime } from 'node:os';
import type { Redis } from 'ioredis';
import { type Config, registerDefaults } from '../config/schema.ts';
import { sectionHashes } from '../config/sections.ts';
import type { TracingSettings } from '../config/tracing.ts';
import { newName } from '../core/event/ids.ts';
import { WorkflowNames } from '../feed/workflow-names.ts';
import { createSlotQueue, type SlotQueue } from '../queue/slot-queue.ts';
import { newProcessId, tokensOf } from '../redis/leases.ts';
import type { RedisConnections } from '../redis/connection.ts';
import { serverTraits } from '../redis/server-check.ts';
import type { Logger } from '../telemetry/logger.ts';
import { createMetrics, type Metrics } from '../telemetry/metrics.ts';
import { AlertRules } from './alert-rules.ts';
import { createClock, refuseSkew, type Clock, type DaemonClocks } from './clock.ts';
import { createEndpoints } from './endpoints.ts';
import { createEpochFile } from './data-directory.ts';
import { faultLog } from './fault-log.ts';
import { createHostShortages } from './host-shortages.ts';
import { KnownWatches, createWatchNotes } from './known-watches.ts';
import { createProcesses, type Processes } from './processes.ts';
import { createLinksOf } from '../core/run/links.ts';
import type { Names } from '../names.ts';
import { createStoreConditions } from './store-conditions.ts';
import { StoreGuard } from './store-guard.ts';
import { StoreRepair } from './store-repair.ts';
import { createStores, type Stores } from './stores.ts';
import { openTracing } from './tracing.ts';

export interface CommonOptions {
  config: Config;
  log: Logger;
  version: string;
  /** Traces are off where it is absent. */
  tracing?: TracingSettings | null;
  /** The clocks of this host, unless given. */
  clocks?: DaemonClocks;
  names: Names;
}

const HOST_CLOCKS: DaemonClocks = {
  wall: Date.now,
  monotonic: () => performance.now(),
  uptime: () => uptime() * 1_000,
};

/**
 * The collaborators that most parts of the daemon share.
 * Throws RunwatchError `schema_unknown`, and `clock_skewed` if the configuration refuses that.
 */
export async function openCommon(options: CommonOptions, connections: RedisConnections) {
  const { config, log, version } = options;
  const alertRules = new AlertRules(config);
  const stores = createStores(connections, config.redis.prefix, alertRules);
  await stores.epochs.claimSchema();
  const metrics = createMetrics(version, () => stores.count());
  const clock = await startClock(options, stores, metrics);
  const guarded = await guardStore(options, stores, clock);
  const { storeGuard } = guarded;
  const workflowNames = new WorkflowNames({ store: stores.workflowNameStore, now: clock.now });
  const processId = newProcessId();
  const linksOf = createLinksOf({
    config,
    learnedName: (workflow) => workflowNames.nameOf(workflow),
  });
  const processes = createOwnProcess(options, { stores, clock, storeGuard, processId });
  const tracing = await openTracing({
    settings: options.tracing ?? null,
    version,
    processId,
    linksOf,
    metrics,
    log,
    now: clock.now,
  });
  return {
    ...stores,
    stores,
    alertRules,
    clock,
    ...guarded,
    storeConditions: createStoreConditions({
      traits: () => serverTraits(connections.commands),
      foreignForm: () => stores.epochs.foreignForm(),
      configurations: () => processes.configurations(),
      now: clock.now,
      log,
    }),
    processId,
    newToken: tokensOf(processId),
    processes,
    config,
    names: options.names,
    hostShortages: createHostShortages({ log }),
    endpoints: createEndpoints(config),
    metrics,
    queueOf: queueFactory({
      prefix: stores.keys.queuePrefix,
      producer: connections.commands,
      consumer: connections.blocking,
      log,
    }),
    workflowNames,
    linksOf,
    tracing,
    trace: tracing.trace,
    userAgent: `runwatch/${version}`,
    newMark: () => storeGuard.epoch() + newName(randomInt),
    now: clock.now,
    random: Math.random,
    log,
  };
}

export type Common = Awaited<ReturnType<typeof openCommon>>;

/** The guard that detects lost data in the store, with its record of known watches. */
async function guardStore({ config, log }: CommonOptions, stores: Stores, clock: Clock) {
  const knownWatches = new KnownWatches(stores.watches);
  const storeRepair = new StoreRepair({
    repairs: stores.repairs,
    known: knownWatches,
    retentionMs: config.watches.retention,
    now: clock.now,
    monotonic: () => performance.now(),
    log,
  });
  const storeGuard = await StoreGuard.open({
    epochs: stores.epochs,
    watches: stores.watches,
    known: knownWatches,
    file: createEpochFile(config.data_dir, storeName(config)),
    defaults: registerDefaults(config),
    newEpoch: () => newName(randomInt),
    now: clock.now,
    monotonic: () => performance.now(),
    log,
  });
  const watchNotes = createWatchNotes({
    known: knownWatches,
    channel: stores.watchChannel,
    epochs: stores.epochs,
    guard: storeGuard,
    log,
  });
  stores.eventBell.heed((events, epoch) => storeGuard.saw({ epoch, events }));
  return { storeGuard, storeRepair, watchNotes };
}

/** Identifies a store among those that share a data directory. */
function storeName({ redis: { url, sentinels, name, cluster, prefix } }: Config): string {
  return JSON.stringify([url, sentinels, name, cluster, prefix]);
}

async function startClock(
  { config, log, clocks = HOST_CLOCKS }: CommonOptions,
  stores: Stores,
  metrics: Metrics,
): Promise<Clock> {
  const report = (skewMs: number) => metrics.clockSkew(skewMs);
  const clock = createClock({ store: stores.clock, clocks, report, log });
  await clock.measure();
  if (config.redis.refuse_clock_skew) refuseSkew(clock.skewMs());
  return clock;
}

function createOwnProcess(
  { config, log, version }: CommonOptions,
  {
    stores,
    clock,
    storeGuard,
    processId,
  }: { stores: Stores; clock: Clock; storeGuard: StoreGuard; processId: string },
): Processes {
  return createProcesses({
    id: processId,
    info: {
      host: hostname(),
      pid: process.pid,
      version,
      startedAt: clock.now(),
      sections: sectionHashes(config),
    },
    store: stores.processes,
    clock,
    monotonic: () => performance.now(),
    suspectLoss: () => storeGuard.suspect(),
    checkStore: () => storeGuard.check(),
    log,
  });
}

export type QueueFactory = (name: string) => SlotQueue;

interface QueueOptions {
  prefix: string;
  producer: Redis;
  consumer: Redis;
  log: Logger;
}

/** Makes queues that share connections, prefix and error log. */
export function queueFactory({ prefix, producer, consumer, log }: QueueOptions): QueueFactory {
  return (name) =>
    createSlotQueue({
      name,
      prefix,
      producer,
      consumer,
      onError: faultLog(log, 'queue', { queue: name }),
    });
}
