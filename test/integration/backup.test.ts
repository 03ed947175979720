import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { loadConfig } from '../../src/config/load.ts';
import { backUp, restore, verifyBackup } from '../../src/daemon/backup.ts';
import { openKeptStore, summarize } from '../../src/daemon/kept-store.ts';
import { openRedis } from '../../src/daemon/redis.ts';
import { createLifecycle } from '../../src/lifecycle.ts';
import { holdsData } from '../../src/redis/embedded/rescue.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { SCHEMA } from '../../src/redis/migrations.ts';
import { writeSnapshot } from '../../src/redis/snapshot.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import { tempDir } from '../support/daemon-process.ts';
import { aRun, fillStore } from '../support/kept-runs.ts';
import { NEXT, NEXT_FORM } from '../support/next-form.ts';
import { startPrivateRedis, type PrivateRedis } from '../support/redis.ts';
import { closeConnection, openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const log = createLogger({ level: 'silent', destination: process.stderr });
const prefix = 'runwatch';
let home: string;
let redis: PrivateRedis;
let stores: ReturnType<typeof openStores>;

beforeAll(async () => {
  [home, redis] = await Promise.all([tempDir(), startPrivateRedis()]);
  stores = openStores({ url: redis.url, prefix });
  await stores.forms.claim('0');
  await stores.epochs.begin('abcdefgh');
  await stores.redis.config('SET', 'repl-diskless-sync-delay', '0');
  await fillStore(stores);
});

afterAll(async () => {
  await stores.close();
  await redis.stop();
  await rm(home, { recursive: true, force: true });
});

/** The configuration of a verb. */
function configOf(env: Record<string, string>) {
  const given = { NOXUS_API_KEY: 'nox', RUNWATCH_DATA_DIR: home, ...env };
  const loaded = loadConfig({ purpose: 'command', env: given, cwd: home });
  if (loaded.kind === 'invalid') throw new Error(JSON.stringify(loaded.problems));
  return loaded.config;
}

/** The store of a configuration, as a verb reaches it. */
async function open(env: Record<string, string>, user: object = {}) {
  const lifecycle = createLifecycle(log);
  const given = configOf(env);
  const config = { ...given, redis: { ...given.redis, ...user } };
  const kept = await openKeptStore({ config, log, lifecycle });
  return { ...kept, close: () => lifecycle.stop(5_000) };
}

async function backUpTo(path: string, force = false) {
  const kept = await open({ REDIS_URL: `unix://${redis.url}` });
  try {
    return await backUp(kept, path, { force });
  } finally {
    await kept.close();
  }
}

const wholeFile = () => join(home, 'whole.rdb');

test('a backup that is made under load is of one moment, and is restored as it was', async () => {
  const over = new AbortController();
  const work = async () => {
    for (let at = 0; !over.signal.aborted; at += 1) await aRun(stores, `loaded-${at}`, 'running');
  };
  const working = work();
  const written = await backUpTo(wholeFile());
  over.abort();
  await working;
  expect(written).toMatchObject({ file: wholeFile(), form: stores.forms.newest });
  const { size, mode } = await stat(wholeFile());
  expect([size, mode & 0o777]).toEqual([written.bytes, 0o600]);
  const file = wholeFile();
  expect(await verifyBackup({ file, prefix, log })).toMatchObject({ problems: [] });

  const dir = join(home, 'restored');
  const restored = await restore({ file, prefix, log }, dir);
  expect(restored).toMatchObject({ report: { problems: [] }, form: written.form });
  expect((await readdir(dir)).toSorted()).toEqual(['appendonlydir']);
  const kept = await open({ RUNWATCH_DATA_DIR: dir });
  expect(await summarize(kept)).toMatchObject({
    epoch: { name: restored.epoch, before: 1 },
    redis: { is: 'own', persistence: 'append_only_file' },
    kept: { watches: { ended: 3, packed: 1 } },
  });
  await kept.close();
});

test('a backup replaces a file only where that is asked for, and leaves no other', async () => {
  const dir = join(home, 'backups');
  await mkdir(dir);
  const file = join(dir, 'a.rdb');
  await writeFile(file, 'another');
  await expect(backUpTo(file)).rejects.toMatchObject({ code: 'backup_exists' });
  expect(await readFile(file, 'utf8')).toBe('another');
  await backUpTo(file, true);
  expect((await readFile(file, 'latin1')).slice(0, 5)).toBe('REDIS');
  expect(await readdir(dir)).toEqual(['a.rdb']);
  await backUpTo(dir);
  expect(await readdir(dir)).toEqual([
    'a.rdb',
    expect.stringMatching(/^runwatch-\d{8}T\d{6}Z\.rdb$/),
  ]);
  await expect(backUpTo(join(dir, 'no', 'a.rdb'))).rejects.toMatchObject({
    code: 'backup_unwritable',
    message: expect.stringContaining('no such file or directory'),
  });
});

/** The names in a directory of what is being written. */
const draftsIn = async (dir: string) =>
  (await readdir(dir)).filter((name) => name.endsWith('.part'));

test('a file that comes while a backup is written is not replaced', async () => {
  const dir = join(home, 'meanwhile');
  await mkdir(dir);
  const file = join(dir, 'a.rdb');
  // The server waits for further replicas until the delay is over.
  await stores.redis.config('SET', 'repl-diskless-sync-delay', '3600');
  try {
    const written = backUpTo(file).catch((error: unknown) => error);
    await waitFor(async () => (await draftsIn(dir)).length > 0);
    await writeFile(file, 'another');
    await stores.redis.config('SET', 'repl-diskless-sync-delay', '0');
    expect(await written).toMatchObject({ code: 'backup_exists' });
  } finally {
    await stores.redis.config('SET', 'repl-diskless-sync-delay', '0');
  }
  expect(await readFile(file, 'utf8')).toBe('another');
  expect(await readdir(dir)).toEqual(['a.rdb']);
});

test('a backup removes drafts that no process writes, and no others', async () => {
  const dir = join(home, 'left');
  await mkdir(dir);
  const ended = spawnSync('true').pid;
  const id = randomUUID();
  const killed = `a.rdb.${hostname()}.${ended}.${id}.part`;
  const going = `b.rdb.${hostname()}.${process.pid}.${id}.part`;
  const elsewhere = `c.rdb.another-host.${ended}.${id}.part`;
  const longAgo = `d.rdb.another-host.${process.pid}.${id}.part`;
  for (const name of [killed, going, elsewhere, longAgo, 'mine.part']) {
    await writeFile(join(dir, name), 'x');
  }
  await utimes(join(dir, longAgo), 1, 1);
  await backUpTo(join(dir, 'e.rdb'));
  expect((await readdir(dir)).toSorted()).toEqual(
    [going, elsewhere, 'e.rdb', 'mine.part'].toSorted(),
  );
});

test('a user without the right to SYNC is told what is needed, and no file is left', async () => {
  const admin = new Redis(redis.url);
  await admin.call('ACL', 'SETUSER', 'bare', 'on', '>secret', '~*', '&*', '+@all', '-sync');
  await closeConnection(admin);
  const bare = await open(
    { REDIS_URL: `unix://${redis.url}` },
    { username: 'bare', password: 'secret' },
  );
  await expect(backUp(bare, join(home, 'no.rdb'), { force: false })).rejects.toMatchObject({
    code: 'snapshot_refused',
    message: expect.stringContaining('the right to SYNC'),
  });
  await bare.close();
  expect((await readdir(home)).filter((name) => name.startsWith('no.rdb'))).toEqual([]);
});

test('a file that was cut off is refused, wherever, and so is what is no backup', async () => {
  const whole = await readFile(wholeFile());
  const file = join(home, 'cut.rdb');
  for (const share of [0, 0.001, 0.3, 0.7, 0.999]) {
    await writeFile(file, whole.subarray(0, Math.floor(whole.length * share)));
    await expect(verifyBackup({ file, prefix, log })).rejects.toMatchObject({
      code: 'backup_unreadable',
    });
  }
  const bent = Buffer.from(whole);
  bent[Math.floor(whole.length / 2)]! ^= 0xff;
  await writeFile(file, bent);
  await expect(verifyBackup({ file, prefix, log })).rejects.toMatchObject({
    code: 'backup_unreadable',
  });
  await expect(verifyBackup({ file: join(home, 'none.rdb'), prefix, log })).rejects.toMatchObject({
    code: 'backup_unreadable',
    message: expect.stringContaining('ENOENT'),
  });
  await writeFile(file, 'a text');
  await expect(verifyBackup({ file, prefix, log })).rejects.toMatchObject({
    code: 'backup_unreadable',
    message: expect.stringContaining('does not begin as a snapshot'),
  });
  await writeFile(file, whole.subarray(0, whole.length / 2));
  const dir = join(home, 'of-a-cut-file');
  await expect(restore({ file, prefix, log }, dir)).rejects.toMatchObject({
    message: expect.stringMatching(/: (Internal error|Unexpected|Short read)/),
  });
  expect(await readdir(dir)).toEqual([]);
  const none = join(home, 'of-no-file');
  const missing = { file: join(home, 'none.rdb'), prefix, log };
  await expect(restore(missing, none)).rejects.toMatchObject({ code: 'backup_unreadable' });
  expect(await readdir(home)).not.toContain('of-no-file');
  const other = { file: wholeFile(), prefix: 'other', log };
  await expect(verifyBackup(other)).rejects.toMatchObject({ code: 'backup_foreign' });
});

test('problems of a backup are found in it', async () => {
  const keys = createKeys(prefix);
  await stores.redis.hincrby(keys.deliveryCounts, 'planned', 1);
  const file = join(home, 'wrong.rdb');
  await backUpTo(file);
  await stores.redis.hincrby(keys.deliveryCounts, 'planned', -1);
  const { problems } = await verifyBackup({ file, prefix, log });
  expect(problems).toMatchObject([{ problem: 'miscounted', kind: 'ledger', count: 1 }]);
});

test('a backup is restored into a directory that has its secrets, and into no other one', async () => {
  const dir = join(home, 'used');
  await mkdir(dir, { mode: 0o700 });
  for (const name of ['encryption-key', 'signing-secret']) await writeFile(join(dir, name), 'k');
  await writeFile(join(dir, 'mine'), 'x');
  const backup = { file: wholeFile(), prefix, log };
  await expect(restore(backup, dir)).rejects.toMatchObject({
    code: 'restore_not_empty',
    message: expect.stringContaining('it has mine'),
  });
  await rm(join(dir, 'mine'));
  await restore(backup, dir);
  expect((await readdir(dir)).toSorted()).toEqual([
    'appendonlydir',
    'encryption-key',
    'signing-secret',
  ]);
});

test('a backup of an earlier form is restored for a later version to migrate, and one of a later form is refused', async () => {
  const keys = createKeys(prefix);
  const later = { prefix, log, migrations: [NEXT] };
  const file = join(home, 'form.rdb');
  const found = `${file} holds records of form ${SCHEMA}, and this version of runwatch knows form ${NEXT_FORM}: `;
  await backUpTo(file);
  await expect(verifyBackup({ ...later, file })).rejects.toMatchObject({
    code: 'schema_unknown',
    message: expect.stringContaining(`${found}restore it, and start the daemon of this version`),
  });
  const dir = join(home, 'earlier');
  expect(await restore({ ...later, file }, dir)).toMatchObject({
    form: SCHEMA,
    migrates_to: NEXT_FORM,
    report: null,
  });
  const kept = await open({ RUNWATCH_DATA_DIR: dir });
  expect((await summarize(kept)).form).toMatchObject({ found: SCHEMA, problem: null });
  await kept.close();

  await stores.redis.set(keys.schema, `${SCHEMA}>${NEXT_FORM}`);
  await stores.redis.hset(keys.form, { step: 1, by: 'there:2', byVersion: '99.0.0' });
  const midway = join(home, 'midway.rdb');
  await backUpTo(midway);
  await stores.redis.set(keys.schema, NEXT_FORM);
  await stores.redis.hdel(keys.form, 'step', 'by', 'byVersion');
  const newer = join(home, 'newer.rdb');
  await backUpTo(newer);
  await stores.redis.set(keys.schema, SCHEMA);
  expect(await restore({ ...later, file: midway }, join(home, 'onward'))).toMatchObject({
    migrates_to: NEXT_FORM,
  });
  const refused = [
    [
      midway,
      /^\S+midway.rdb holds .* by there:2 \(version 99.0.0\), .*: run version 99.0.0, which goes on with that$/,
    ],
    [newer, /^\S+newer.rdb holds records of form \d+, .*: run version 0, which wrote them$/],
  ] as const;
  for (const [of, sentence] of refused) {
    const refusal = { code: 'schema_unknown', message: expect.stringMatching(sentence) };
    const none = join(home, 'refused');
    await expect(restore({ file: of, prefix, log }, none)).rejects.toMatchObject(refusal);
    expect(await holdsData(none)).toBe(false);
    await expect(verifyBackup({ file: of, prefix, log })).rejects.toMatchObject(refusal);
  }
});

test('a restore that was ended half-way is no store, and is repeated', async () => {
  const dir = join(home, 'half');
  await mkdir(join(dir, 'restoring', 'appendonlydir'), { recursive: true, mode: 0o700 });
  const config = configOf({ RUNWATCH_DATA_DIR: dir });
  const lifecycle = createLifecycle(log);
  await expect(openRedis({ config, log, lifecycle })).rejects.toMatchObject({
    code: 'restore_unfinished',
  });
  await restore({ file: wholeFile(), prefix, log }, dir);
  expect(await readdir(dir)).toEqual(['appendonlydir']);
});

test('an interrupt ends a backup, which leaves no file, and a verification', async () => {
  const signal = AbortSignal.abort(new Error('stopped by SIGINT'));
  const kept = await open({ REDIS_URL: `unix://${redis.url}` });
  const stopped = backUp(kept, join(home, 'ended.rdb'), { force: false, signal });
  await expect(stopped).rejects.toThrow('stopped by SIGINT');
  await kept.close();
  expect((await readdir(home)).filter((name) => name.startsWith('ended'))).toEqual([]);
  const backup = { file: wholeFile(), prefix, log, signal };
  await expect(verifyBackup(backup)).rejects.toThrow('stopped by SIGINT');
});

test('an interrupt ends a restore that loads, also of a form that is migrated later', async () => {
  const dir = join(home, 'interrupted');
  const ending = new AbortController();
  const backup = { file: wholeFile(), prefix, log, migrations: [NEXT] };
  const onProgress = () => ending.abort(new Error('stopped by SIGINT'));
  const interrupted = restore({ ...backup, signal: ending.signal, onProgress }, dir);
  await expect(interrupted).rejects.toThrow('stopped by SIGINT');
  expect(await readdir(dir)).toEqual([]);
  expect(await restore(backup, dir)).toMatchObject({ migrates_to: NEXT_FORM });
});

test('a snapshot that is ended before the server was asked for it is not made', async () => {
  const connection = stores.redis.duplicate({ retryStrategy: () => null });
  connection.on('error', () => undefined);
  await connection.ping();
  const written: Buffer[] = [];
  const ending = new AbortController();
  const making = writeSnapshot(connection, async (data) => void written.push(data), ending.signal);
  ending.abort(new Error('ended by a user'));
  await expect(making).rejects.toThrow('ended by a user');
  connection.disconnect();
  expect(written).toEqual([]);
});
