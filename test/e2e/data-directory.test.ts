import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { watchOf } from '../support/daemon-listings.ts';
import {
  startDaemonProcess,
  stopAll,
  tempDir,
  type DaemonProcess,
} from '../support/daemon-process.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function newNoxus(): Promise<Simulator> {
  const noxus = await startSimulator();
  cleanups.push(() => noxus.close());
  return noxus;
}

async function newDataDir(): Promise<string> {
  const folder = await tempDir();
  cleanups.push(async () => {
    for (const pid of serversIn(folder)) process.kill(pid, 'SIGKILL');
    await rm(folder, { recursive: true, force: true });
  });
  return join(folder, 'data');
}

async function start(noxus: Simulator, dataDir: string): Promise<DaemonProcess> {
  const daemon = await startDaemonProcess({
    dataDir,
    config: {
      sources: { default: { base_url: noxus.url, api_key: noxus.apiKey } },
      polling: { hints: 'off' },
      server: { shutdown_timeout: '20s' },
    },
  });
  cleanups.push(() => stopAll([daemon]));
  return daemon;
}

/** The processes that work below a directory, also where it was removed. */
function serversIn(folder: string): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && workingDirectory(pid).startsWith(folder));
}

function workingDirectory(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return '';
  }
}

async function watchARun(noxus: Simulator, daemon: DaemonProcess): Promise<string> {
  const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'running' }] });
  expect((await daemon.api('/v1/watches', { run_id: id })).status).toBe(201);
  return id;
}

async function readyz(daemon: DaemonProcess): Promise<{ status: number; text: string }> {
  const response = await fetch(`${daemon.url}/readyz`);
  return { status: response.status, text: await response.text() };
}

/** As a person removes it, while the daemon and its Redis go on to write there. */
const REMOVED = { recursive: true, maxRetries: 10 };

const KEYS = ['encryption-key', 'signing-secret'];

test('a data directory that is removed is made again with keys and watches, which a restart finds', async () => {
  const noxus = await newNoxus();
  const dataDir = await newDataDir();
  const daemon = await start(noxus, dataDir);
  const runId = await watchARun(noxus, daemon);
  const keys = () => KEYS.map((name) => readFileSync(join(dataDir, name), 'utf8'));
  const before = keys();

  await rm(dataDir, REMOVED);
  await waitFor(async () => {
    const { status, text } = await readyz(daemon);
    return status === 200 && text.includes('degraded data directory: made again from memory');
  });
  const noticed = daemon.log().filter(({ msg }) => msg === 'data_directory.lost');
  expect(noticed).toMatchObject([{ level: 'error', what: `${dataDir} is gone` }]);
  expect(keys()).toEqual(before);
  const later = await watchARun(noxus, daemon);
  await daemon.stop('SIGKILL');

  const next = await start(noxus, dataDir);
  expect((await watchOf(next, runId)).state).toBe('active');
  expect((await watchOf(next, later)).state).toBe('active');
  expect(next.log().filter(({ msg }) => msg === 'store.data_lost')).toEqual([]);
  expect(await next.stop('SIGTERM')).toBe(0);
  expect(serversIn(dataDir)).toEqual([]);
});

test('a daemon that ends after its data directory was removed leaves all of it, and no Redis', async () => {
  const noxus = await newNoxus();
  const dataDir = await newDataDir();
  const daemon = await start(noxus, dataDir);
  const runId = await watchARun(noxus, daemon);
  const before = await readFile(join(dataDir, 'encryption-key'), 'utf8');
  await rm(dataDir, REMOVED);
  expect(await daemon.stop('SIGTERM')).toBe(0);
  expect(serversIn(dataDir)).toEqual([]);

  const next = await start(noxus, dataDir);
  expect((await watchOf(next, runId)).state).toBe('active');
  expect(await readFile(join(dataDir, 'encryption-key'), 'utf8')).toBe(before);
});

test('registrations are refused while a data directory cannot be made good, and a restart says what it lost', async () => {
  const noxus = await newNoxus();
  const dataDir = await newDataDir();
  const daemon = await start(noxus, dataDir);
  await watchARun(noxus, daemon);
  const obstacle = join(dataDir, 'appendonlydir');
  await emptyWith(dataDir, obstacle);

  await waitFor(async () => (await readyz(daemon)).text.includes('cannot be made again'));
  const failed = await readyz(daemon);
  expect(failed.status).toBe(503);
  expect(failed.text).toContain(
    `failed data directory: the append-only file in ${dataDir} is gone`,
  );
  const refused = await daemon.api('/v1/watches', { run_id: 'one' });
  expect(refused).toMatchObject({ status: 503, body: { code: 'data_directory_lost' } });
  await daemon.stop('SIGKILL');

  await rm(obstacle);
  const next = await start(noxus, dataDir);
  const isLost = () => next.log().find(({ msg }) => msg === 'store.data_lost');
  await waitFor(() => isLost() !== undefined);
  expect(isLost()).toMatchObject({ reason: 'emptied', known: { watches: 1 } });
  expect(serversIn(dataDir)).toHaveLength(1);
});

/** Removes all that is in a directory, and puts a file where Redis would write its data. */
async function emptyWith(dataDir: string, obstacle: string): Promise<void> {
  for (const name of await readdir(dataDir)) {
    await rm(join(dataDir, name), { recursive: true, force: true });
  }
  // The daemon may have been faster.
  if (existsSync(obstacle)) return emptyWith(dataDir, obstacle);
  await writeFile(obstacle, '');
}
