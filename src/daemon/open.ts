import { uptime } from 'node:os';
import type { RereadHeaders } from '../config/header-files.ts';
import type { Config } from '../config/schema.ts';
import type { TracingSettings } from '../config/tracing.ts';
import { createLinksOf } from '../core/run/links.ts';
import { kindOf as configuredKind, type KindOf } from '../source/kinds.ts';
import { WorkflowNames } from '../source/workflow-names.ts';
import type { Lifecycle } from '../lifecycle.ts';
import type { Names } from '../names.ts';
import type { ProcessOptions } from '../process.ts';
import type { Migration } from '../redis/migrations.ts';
import { newProcessId } from '../redis/leases.ts';
import type { RedisConnections } from '../redis/connection.ts';
import type { EventLog, Logger } from '../telemetry/logger.ts';
import { createMetrics, type Metrics } from '../telemetry/metrics.ts';
import { openSpanSink, type SpanSink } from '../telemetry/tracing.ts';
import { AlertRules } from '../alert/rules.ts';
import { Clock, refuseSkew, type DaemonClocks } from './clock.ts';
import { createEpochFile } from './data-directory.ts';
import { KnownWatches, WatchNotes } from './known-watches.ts';
import { loadOwnSecrets } from '../deliver/secrets/own-secrets.ts';
import { readKnownStore, type OpenedGuard } from './store-guard.ts';
import { countStored, createStores, type Stores } from './stores.ts';
import { Tracing } from './tracing.ts';

export interface DaemonOptions {
  config: Config;
  log: Logger;
  /** Where `log` endpoints write; without a level of its own. */
  eventLog: EventLog;
  version: string;
  /** Traces are off where it is absent. */
  tracing?: TracingSettings | null;
  /** The clocks of this host, unless given. */
  clocks?: DaemonClocks;
  /** Of what kind sources are; as their configuration says, unless given. */
  kindOf?: KindOf;
  /** Reads headers of sources that come from files; none do, unless given. */
  rereadHeaders?: RereadHeaders;
  /** The migrations of the store that are known; those of this version, unless given. */
  migrations?: readonly Migration[] | undefined;
  /** False observes and shows, and sends and deletes nothing: deliveries wait, and calls to send are refused. */
  deliver?: boolean | undefined;
  /** When it stops, readiness fails; it finishes or releases running work and closes everything. */
  lifecycle: Lifecycle;
}

/** What a daemon is built of: all that has to be read or connected first. */
export type Opened = ProcessOptions & OpenedGuard;

const HOST_CLOCKS: DaemonClocks = {
  wall: Date.now,
  monotonic: () => performance.now(),
  uptime: () => uptime() * 1_000,
};

/**
 * Reads what a process has to know before it is built, of a store whose records have the newest form: its clock and
 * epoch, the names of workflows, the secrets.
 * Throws RunwatchError `clock_skewed` if the configuration refuses that, and those of
 * {@link loadOwnSecrets}.
 */
export async function openProcess(
  options: DaemonOptions,
  connections: RedisConnections,
  names: Names,
): Promise<Opened> {
  const { config, log, eventLog, version, kindOf = configuredKind } = options;
  const alertRules = new AlertRules(config);
  const stores = createStores(connections, config.redis.prefix, alertRules, options.migrations);
  const metrics = createMetrics(version, () => countStored(stores, alertRules));
  const clock = await startClock(options, stores, metrics);
  const guarded = await openGuard(options, stores);
  const workflowNames = new WorkflowNames(stores.workflowNameStore, clock.now);
  const id = newProcessId();
  const linksOf = createLinksOf({
    config,
    learnedName: (workflow) => workflowNames.nameOf(workflow),
  });
  const spans = await openSpans(options, id, metrics);
  const tracing = new Tracing(spans, linksOf, clock.now);
  await workflowNames.start(Object.keys(config.sources));
  const secrets = await loadOwnSecrets({ config, log, stores });
  const headerFiles = { reread: options.rereadHeaders ?? (() => null) };
  const given = { config, log, eventLog, version, kindOf, names, headerFiles };
  const made = { id, stores, alertRules, metrics, clock, workflowNames, linksOf, tracing, secrets };
  return { ...given, connections, ...made, ...guarded };
}

/** Null where traces are off: then nothing of OpenTelemetry is loaded. */
async function openSpans(
  { tracing, log, version }: DaemonOptions,
  processId: string,
  metrics: Metrics,
): Promise<SpanSink | null> {
  if (tracing === undefined || tracing === null) return null;
  return openSpanSink({
    ratio: tracing.ratio,
    version,
    processId,
    count: (result, spans) => metrics.spans(result, spans),
    log,
  });
}

/** What the guard of the store goes by: which watches are known, and how far the store had come. */
async function openGuard({ config, log }: DaemonOptions, stores: Stores) {
  const knownWatches = new KnownWatches(stores.watches);
  const epochFile = createEpochFile(config.data_dir, storeName(config));
  const knownStore = await readKnownStore(stores.epochs, epochFile, log);
  const { watchChannel, epochs } = stores;
  const watchNotes = new WatchNotes(knownWatches, watchChannel, epochs, log);
  return { epochFile, knownStore, knownWatches, watchNotes };
}

/** Identifies a store among those that share a data directory. */
function storeName({ redis: { url, sentinels, name, cluster, prefix } }: Config): string {
  return JSON.stringify([url, sentinels, name, cluster, prefix]);
}

async function startClock(
  { config, log, clocks = HOST_CLOCKS }: DaemonOptions,
  stores: Stores,
  metrics: Metrics,
): Promise<Clock> {
  const report = (skewMs: number) => metrics.clockSkew(skewMs);
  const clock = new Clock(stores.clock, clocks, log, report);
  await clock.measure();
  if (config.redis.refuse_clock_skew) refuseSkew(clock.skewMs());
  return clock;
}
