import { randomInt, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { link, mkdtemp, open, readdir, realpath, rename, rm, stat, statfs } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { privateDirectories } from '../config/paths.ts';
import { messageOf, RunwatchError } from '../core/errors.ts';
import { newName } from '../core/event/ids.ts';
import { epochsAfter } from '../core/store-loss.ts';
import { createRedisConnections } from '../redis/connection.ts';
import { APPEND_ONLY_NAMES, writeAppendOnlyFile } from '../redis/embedded/rescue.ts';
import { loadSnapshot, type ScratchServer } from '../redis/embedded/scratch.ts';
import { shutDown } from '../redis/embedded/process.ts';
import { isAlive, isCode } from '../redis/file-lock.ts';
import { makeDirectory } from '../redis/make-directory.ts';
import type { Migration } from '../redis/migrations.ts';
import { writeSnapshot } from '../redis/snapshot.ts';
import type { Logger } from '../telemetry/logger.ts';
import { checkDataDirectory, isThere, RESTORING } from './data-directory.ts';
import {
  formOf,
  verify,
  type KeptStore,
  type StoreReport,
  type StoreWatcher,
} from './kept-store.ts';
import { createStores, type Stores } from './stores.ts';

/** What was written. */
export interface BackupResult {
  file: string;
  bytes: number;
  /** When the store was as the backup has it, ms since the epoch. */
  at: number;
  form: string | null;
}

interface BackupOptions extends StoreWatcher {
  /** Replaces a file that is there. */
  force: boolean;
}

/**
 * Writes all that Redis holds at one moment into a file, while daemons go on. The file has its name only once it is
 * whole and on disk.
 * @param path the file, or a directory in which it gets a name by the time
 * @throws RunwatchError `backup_exists`, `backup_unwritable`, and those of {@link writeSnapshot}
 */
export async function backUp(
  { connections, stores }: KeptStore,
  path: string,
  { force, ...watcher }: BackupOptions,
): Promise<BackupResult> {
  const file = await fileOf(path);
  if (!force && (await isThere(file))) throw exists(file);
  await removeLeftDrafts(dirname(file));
  const memory = (await stores.memory.figures())?.used ?? 0;
  const code = 'backup_unwritable';
  await needRoom(dirname(file), LEAST_SHARE * memory, { what: 'the backup', code });
  const { found: form } = await formOf(stores);
  const draft = `${file}.${hostname()}.${process.pid}.${randomUUID()}.part`;
  try {
    const written = await writeDraft(connections, draft, watcher);
    // A link never replaces a file that came meanwhile.
    if (force) await rename(draft, file);
    else await link(draft, file);
    await syncDirectory(dirname(file));
    return { file, form, ...written };
  } catch (error) {
    throw isCode(error, 'EEXIST') ? exists(file) : notWritten(file, error);
  } finally {
    await rm(draft, { force: true });
  }
}

/** How the name of a draft ends: host and process that write it, and a name of its own. */
const DRAFT = /^(?<upToHost>.*)\.(?<pid>\d+)\.[-\da-f]{36}\.part$/;

/** A draft that was not written for so long belongs to no process, whatever host that was on, ms. */
const LEFT_AFTER_MS = 3_600_000;

/** Removes the drafts that processes left which were killed. What keeps the backup itself, is said later. */
async function removeLeftDrafts(dir: string): Promise<void> {
  const names = await readdir(dir).catch(() => []);
  for (const name of names) {
    const { upToHost, pid } = DRAFT.exec(name)?.groups ?? {};
    if (upToHost === undefined) continue;
    const path = join(dir, name);
    const isGone = upToHost.endsWith(`.${hostname()}`) && !isAlive(Number(pid));
    if (isGone || (await isLeft(path))) await rm(path, { force: true }).catch(() => undefined);
  }
}

async function isLeft(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => null);
  return found !== null && found.mtimeMs < Date.now() - LEFT_AFTER_MS;
}

async function writeDraft(
  { commands }: KeptStore['connections'],
  draft: string,
  { signal, onProgress }: StoreWatcher,
) {
  const file = await open(draft, 'wx', 0o600);
  const redis = commands.duplicate({ retryStrategy: () => null });
  const failed = once(redis, 'error').then(([error]) => {
    throw error;
  });
  failed.catch(() => undefined);
  try {
    if (redis.status !== 'ready') await Promise.race([once(redis, 'ready'), failed]);
    let bytes = 0;
    const write = async (data: Buffer) => {
      await file.appendFile(data);
      bytes += data.length;
      onProgress?.({ step: 'write', bytes });
    };
    const written = await writeSnapshot(redis, write, signal);
    await file.sync();
    return written;
  } finally {
    redis.disconnect();
    await file.close();
  }
}

/** A directory takes a file that is named by the time. */
async function fileOf(path: string): Promise<string> {
  const found = await stat(path).catch((error: unknown) => {
    if (isCode(error, 'ENOENT')) return null;
    throw notWritten(path, error);
  });
  if (found?.isDirectory() !== true) return path;
  const at = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '');
  return join(path, `runwatch-${at}.rdb`);
}

/** A snapshot has at least this share of what the same takes in memory. */
const LEAST_SHARE = 0.25;

async function needRoom(
  dir: string,
  bytes: number,
  { what, code }: { what: string; code: string },
): Promise<void> {
  const { bavail, bsize } = await statfs(dir).catch((error: unknown) => {
    throw notWritten(dir, error);
  });
  const free = bavail * bsize;
  if (free >= bytes) return;
  const [has, wants] = [free, bytes].map((size) => `${(size / 1e6).toFixed(2)} MB`);
  throw new RunwatchError(`${dir} has ${has} free, and ${what} takes ${wants} or more`, { code });
}

function exists(file: string): RunwatchError {
  return new RunwatchError(`${file} is there: name another file, or replace it with --force`, {
    code: 'backup_exists',
  });
}

/** Of an error of the system, what it means; any other one as it is. */
function notWritten(path: string, error: unknown): unknown {
  if (!(error instanceof Error) || !('syscall' in error)) return error;
  return new RunwatchError(`the backup cannot be written to ${path}: ${messageOf(error)}`, {
    code: 'backup_unwritable',
    cause: error,
  });
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

export interface BackupFile extends StoreWatcher {
  file: string;
  prefix: string;
  log: Logger;
  /** See {@link createStores}. */
  migrations?: readonly Migration[] | undefined;
}

/**
 * Reads every record of a backup, in a server of its own that ends afterwards.
 * @throws RunwatchError `backup_unreadable`, `backup_foreign`, and those of {@link verify}
 */
export async function verifyBackup(backup: BackupFile): Promise<StoreReport> {
  const dir = await realpath(await mkdtemp(join(tmpdir(), 'runwatch-verify-')));
  try {
    return await withLoaded(backup, dir, async (loaded) => {
      const foreign = await loaded.stores.forms.foreign(backup.file);
      if (foreign !== null) throw new RunwatchError(foreign, { code: 'schema_unknown' });
      return verify(loaded, backup);
    });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

type Loaded = Pick<KeptStore, 'connections' | 'stores'> & { server: ScratchServer };

async function withLoaded<Result>(
  { file, prefix, log, migrations, signal, onProgress }: BackupFile,
  dir: string,
  work: (loaded: Loaded) => Promise<Result>,
): Promise<Result> {
  onProgress?.({ step: 'load' });
  const { path } = await readable(file);
  const server = await loadSnapshot(path, dir, privateDirectories(), signal);
  // That it keeps nothing on disk is meant.
  const quiet = log.child({}, { level: 'error' });
  const settings = { url: server.socketPath, prefix };
  const connections = createRedisConnections({ settings, log: quiet });
  try {
    await connections.ready();
    const stores = createStores(connections, prefix, null, migrations);
    await needRecords(stores, file, prefix);
    return await work({ server, connections, stores });
  } finally {
    await connections.close();
    await server.close();
  }
}

/** How snapshots of Redis begin, and of Valkey. */
const MAGIC = /^(REDIS|VALKEY)/;

/**
 * Without it, a server would start empty.
 * @returns its real path, and its bytes
 */
async function readable(file: string): Promise<{ path: string; bytes: number }> {
  const { beginning, ...found } = await readBeginning(file).catch((error: unknown) => {
    throw new RunwatchError(`the backup ${file} cannot be read: ${messageOf(error)}`, {
      code: 'backup_unreadable',
      cause: error,
    });
  });
  if (MAGIC.test(beginning)) return found;
  const message = `${file} is no backup: it does not begin as a snapshot of Redis does`;
  throw new RunwatchError(message, { code: 'backup_unreadable' });
}

async function readBeginning(file: string) {
  const opened = await open(file, 'r');
  try {
    const { buffer } = await opened.read(Buffer.alloc(6), 0, 6, 0);
    const { size: bytes } = await opened.stat();
    return { beginning: buffer.toString('latin1'), path: await realpath(file), bytes };
  } finally {
    await opened.close();
  }
}

async function needRecords(stores: Stores, file: string, prefix: string): Promise<void> {
  const { found } = await formOf(stores);
  if (found !== null) return;
  throw new RunwatchError(
    `${file} holds nothing of runwatch with the prefix ${prefix}: is redis.prefix that of its store?`,
    { code: 'backup_foreign' },
  );
}

/** What was restored. */
export interface RestoreResult {
  dir: string;
  form: string | null;
  /** The epoch that begins with the restored store. */
  epoch: string;
  /** The form that the daemon brings the records to when it starts; null where they have it. */
  migrates_to: string | null;
  /** Null for records that are migrated first: no version reads them before that. */
  report: StoreReport | null;
}

/** What may be in a directory that a backup is restored into: the secrets of the store. */
const SECRETS: ReadonlySet<string> = new Set(['encryption-key', 'signing-secret']);

/**
 * Makes the data directory of an own Redis of a backup, also of an earlier form that the daemon migrates. Its data
 * have their name only once they are whole, so that a restore which is killed leaves none, and may be repeated.
 * @throws RunwatchError `restore_not_empty`, and those of {@link verifyBackup}
 */
export async function restore(backup: BackupFile, dataDir: string): Promise<RestoreResult> {
  const { bytes } = await readable(backup.file);
  await checkDataDirectory(dataDir);
  await makeDirectory(dataDir);
  const dir = await realpath(dataDir);
  await needEmpty(dir);
  await needRoom(dir, bytes, { what: 'the store', code: 'data_not_written' });
  const staging = join(dir, RESTORING);
  await rm(staging, { recursive: true, force: true });
  const restored = await withLoaded(backup, staging, async ({ server, stores, ...loaded }) => {
    const migratesTo = await targetOf(stores, backup.file);
    const report = migratesTo === null ? await verify({ stores, ...loaded }, backup) : null;
    const goOn = async () => backup.signal?.throwIfAborted();
    await goOn();
    const epoch = await beginEpoch(stores);
    await writeAppendOnlyFile(server.control, staging, goOn);
    const { found: form } = await formOf(stores);
    await goOn();
    await shutDown(server.control);
    return { dir, form, epoch, migrates_to: migratesTo, report };
  }).catch(async (error: unknown) => {
    // The log of Redis says there why it could not write.
    const isNotWritten = error instanceof RunwatchError && error.code === 'data_not_written';
    if (!isNotWritten) await rm(staging, { recursive: true, force: true });
    throw error;
  });
  for (const name of APPEND_ONLY_NAMES) {
    await rename(join(staging, name), join(dir, name)).catch((error: unknown) => {
      if (!isCode(error, 'ENOENT')) throw error;
    });
  }
  await syncDirectory(dir);
  await rm(staging, { recursive: true, force: true });
  return restored;
}

/**
 * The form that the records of a backup are to be migrated to; null where they have it.
 * Throws RunwatchError `schema_unknown` where no migration leads to the form of this version.
 */
async function targetOf({ forms }: Stores, file: string): Promise<string | null> {
  const foreign = await forms.foreign(file);
  if (foreign === null) return null;
  if (forms.ahead(await forms.read()) !== null) return forms.newest;
  throw new RunwatchError(foreign, { code: 'schema_unknown' });
}

async function needEmpty(dir: string): Promise<void> {
  const first = (await readdir(dir)).find((name) => name !== RESTORING && !SECRETS.has(name));
  if (first === undefined) return;
  throw new RunwatchError(
    `${dir} is not empty, it has ${first}: a backup is restored into an empty directory, or one with ` +
      'the files encryption-key and signing-secret alone',
    { code: 'restore_not_empty' },
  );
}

/** A store that went back is another one: cursors of what came after the backup mean nothing here. */
async function beginEpoch({ epochs }: Stores): Promise<string> {
  const found = await epochs.read();
  const next = newName(randomInt);
  const known = { epoch: found.epochs[0] ?? next, events: found.events, watches: found.watches };
  const nothing = { event: null, damage: { deliveries: 0, events: 0 } };
  await epochs.renew(found.epochs, epochsAfter(next, known, found), nothing);
  return next;
}
