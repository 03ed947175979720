import type { Config } from '../config/schema.ts';
import { RunwatchError } from '../core/errors.ts';
import { isoTime } from '../core/event/event.ts';
import { formatDuration } from '../core/time.ts';
import type { Lifecycle } from '../lifecycle.ts';
import type { RedisConnections } from '../redis/connection.ts';
import { holdsData } from '../redis/embedded/rescue.ts';
import { planOf, type MigrationPlan } from '../redis/migration-plan.ts';
import type { Migration } from '../redis/migrations.ts';
import { sizesByKind, type KindSize } from '../redis/key-sizes.ts';
import { serverTraits, type ServerTraits } from '../redis/server-check.ts';
import { Verifier, type VerifyProgress, type VerifyReport } from '../redis/verify/verifier.ts';
import type { Logger } from '../telemetry/logger.ts';
import { checkDataDirectory, isThere, unwritable } from './data-directory.ts';
import { openRedis, usesOwnRedis } from './redis.ts';
import { createStores, type Stores } from './stores.ts';

interface KeptStoreOptions {
  config: Config;
  log: Logger;
  /** Closes the connections. */
  lifecycle: Lifecycle;
  /** See {@link createStores}. */
  migrations?: readonly Migration[] | undefined;
}

/** A store that is looked at without a daemon in this process. */
export interface KeptStore {
  config: Config;
  connections: RedisConnections;
  stores: Stores;
}

/**
 * Connects to the store of a configuration; its own Redis is started where it does not run.
 * Throws RunwatchError `store_missing` where the data directory has none, and of Redis that could not be reached.
 */
export async function openKeptStore(options: KeptStoreOptions): Promise<KeptStore> {
  const { config } = options;
  if (usesOwnRedis(config)) await needStore(config.data_dir);
  const { connections } = await openRedis(options);
  const stores = createStores(connections, config.redis.prefix, null, options.migrations);
  return { config, connections, stores };
}

/** Starting a server there would make a store of a directory that was misspelt. */
async function needStore(dataDir: string): Promise<void> {
  await checkDataDirectory(dataDir);
  const holds = await holdsData(dataDir).catch((error: unknown) => {
    throw unwritable(dataDir, error);
  });
  if (holds) return;
  const what = (await isThere(dataDir)) ? 'holds no data of Redis' : 'does not exist';
  throw new RunwatchError(
    `there is no store: the data directory ${dataDir} ${what}; name another one by --data-dir or ` +
      'RUNWATCH_DATA_DIR, or a Redis by REDIS_URL',
    { code: 'store_missing' },
  );
}

/** What `runwatch store` shows. Times are ISO 8601. */
export interface StoreSummary {
  form: {
    found: string | null;
    /** The version that first wrote records of this form; null where that is not known. */
    written_by: string | null;
    known: string;
    problem: string | null;
  };
  /** Null for a store that no daemon has begun. */
  epoch: { name: string; before: number } | null;
  redis: {
    is: 'own' | 'given';
    place: string;
    version: string | null;
    persistence: ServerTraits['persistence'] | null;
    memory_bytes: number | null;
    max_memory_bytes: number | null;
  };
  processes: { name: string; version: string; started_at: string }[];
  /** Null where records have another form. */
  kept: {
    watches: { active: number; ended: number; packed: number };
    deliveries: Record<string, number>;
    retention: { watches: string; deliveries: string };
    /** When the first of the watches that have ended is deleted; null where none has. */
    oldest_goes_at: string | null;
  } | null;
  sizes: KindSize[];
}

/** Reads what there is to say of a store, by many short commands. */
export async function summarize(kept: KeptStore): Promise<StoreSummary> {
  const { config, connections, stores } = kept;
  const [form, { epochs }, redis, processes] = await Promise.all([
    formOf(stores),
    stores.epochs.read(),
    redisOf(kept),
    processesOf(stores),
  ]);
  const [name] = epochs;
  return {
    form,
    epoch: name === undefined ? null : { name, before: epochs.length - 1 },
    redis,
    processes,
    kept: form.problem === null ? await keptOf(stores, config) : null,
    sizes: await sizesByKind(connections.commands, stores.keys),
  };
}

async function redisOf({ config, connections, stores }: KeptStore): Promise<StoreSummary['redis']> {
  const [traits, memory] = await Promise.all([
    serverTraits(connections.commands),
    stores.memory.figures(),
  ]);
  const isOwn = usesOwnRedis(config);
  return {
    is: isOwn ? 'own' : 'given',
    place: isOwn ? config.data_dir : connections.place,
    version: traits?.version ?? null,
    persistence: traits?.persistence ?? null,
    memory_bytes: memory?.used ?? null,
    max_memory_bytes: memory?.max ?? null,
  };
}

/** The form of a store, and what keeps this version from it. */
export async function formOf({ forms }: Stores): Promise<StoreSummary['form']> {
  const [{ form: found, version }, problem] = await Promise.all([forms.read(), forms.foreign()]);
  return { found, written_by: version, known: forms.newest, problem };
}

export type { MigrationPlan };

/** What a migration to the form of this version would do; it reads what that would read. */
export async function planMigration({ connections, stores }: KeptStore): Promise<MigrationPlan> {
  return planOf(connections.commands, stores.keys, stores.forms.migrations);
}

/** What {@link verify} finds. */
export type StoreReport = VerifyReport;

/** How far a long verb about the store is: what it loads, writes, or verifies. */
export type StoreProgress = { step: 'load' } | { step: 'write'; bytes: number } | VerifyProgress;

/** What a long verb is given by its caller. */
export interface StoreWatcher {
  /** Ends it, with its reason. */
  signal?: AbortSignal | undefined;
  /** Is called a few times a second at the least, while it goes on. */
  onProgress?: ((progress: StoreProgress) => void) | undefined;
}

/**
 * Reads every record of a store, and compares it with what points to it.
 * Throws RunwatchError `schema_unknown` for records of another form.
 */
export async function verify(
  { connections, stores }: Omit<KeptStore, 'config'>,
  { signal, onProgress }: StoreWatcher = {},
): Promise<StoreReport> {
  const { problem } = await formOf(stores);
  if (problem !== null) throw new RunwatchError(problem, { code: 'schema_unknown' });
  return new Verifier(connections.commands, stores.keys, { signal, onProgress }).verify();
}

/** The processes with a heartbeat; one that was killed is among them until another counts it as dead. */
async function processesOf({ processes }: Stores): Promise<StoreSummary['processes']> {
  const [counters, described] = await Promise.all([processes.counters(), processes.described()]);
  return [...described].flatMap(([id, { host, pid, version, startedAt }]) =>
    counters.has(id) ? [{ name: `${host}:${pid}`, version, started_at: isoTime(startedAt) }] : [],
  );
}

async function keptOf(stores: Stores, config: Config): Promise<StoreSummary['kept']> {
  const [watches, packed, deliveries, oldestEnd] = await Promise.all([
    stores.watches.counts(),
    stores.history.size(),
    stores.deliveries.counts(),
    stores.retention.oldestEnd(),
  ]);
  const { active, ...ended } = watches;
  const { retention } = config.watches;
  return {
    watches: {
      active,
      ended: Object.values(ended).reduce((sum, count) => sum + count, 0),
      packed: packed.watches,
    },
    deliveries: deliveries.byState,
    retention: {
      watches: formatDuration(retention),
      deliveries: formatDuration(config.delivery.retention),
    },
    oldest_goes_at: oldestEnd === null ? null : isoTime(oldestEnd + retention),
  };
}
