import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { RunwatchError } from '../../core/errors.ts';
import { makeDirectory } from '../make-directory.ts';
import {
  argumentsOf,
  lastWords,
  LOG_FILE,
  needServer,
  probeServer,
  socketPathFor,
} from './process.ts';

/** The name of a snapshot in the directory of the server that loads it. */
const SNAPSHOT_NAME = 'snapshot.rdb';

const LOOK_AGAIN_MS = 25;

/** How long a server may take to end, ms; after that it is killed. */
const END_MS = 10_000;

/**
 * Runs a server, and ends it when the process that started it has gone: standard input ends then. Files are for
 * this user alone.
 */
const RUN_WHILE_READ = `
umask 077
exec 3<&0
"$@" < /dev/null 3<&- & server=$!
{ read -r _ <&3; kill "$server"; } & reader=$!
wait "$server"; code=$?
kill "$reader" 2> /dev/null
exit "$code"
`;

/** A server that has loaded a snapshot; it ends with this process at the latest. */
export interface ScratchServer {
  socketPath: string;
  /** A connection of its own. */
  control: Redis;
  /** Ends it, without writing. */
  close(): Promise<void>;
}

/**
 * Loads a snapshot into a server of its own.
 * @param snapshot the file, which is only read
 * @param dir where the server works; made for this user alone
 * @param ownDirs see {@link socketPathFor}
 * @param signal ends it while it loads, with its reason
 * @throws RunwatchError `redis_server_missing`, `backup_unreadable` with the last lines of the server
 */
export async function loadSnapshot(
  snapshot: string,
  dir: string,
  ownDirs: readonly string[],
  signal?: AbortSignal,
): Promise<ScratchServer> {
  await makeDirectory(dir);
  const server = await needServer();
  const socketPath = await socketPathFor(dir, ownDirs);
  await symlink(snapshot, join(dir, SNAPSHOT_NAME));
  const child = await spawnWithParent(dir, [
    server.binary,
    ...argumentsOf(dir, server),
    // The snapshot is read only where there is no append-only file.
    '--appendonly',
    'no',
    '--dbfilename',
    SNAPSHOT_NAME,
  ]);
  const ended = once(child, 'exit');
  const end = async () => {
    child.stdin?.end();
    const isLate = await Promise.race([ended, delay(END_MS, null, { ref: false })]);
    if (isLate === null) child.kill('SIGKILL');
  };
  const control = await whenLoaded(socketPath, child, signal).catch(async (error: unknown) => {
    await end();
    throw error;
  });
  if (control === null) {
    await ended;
    const message =
      `the backup ${snapshot} is not whole, or one of a newer Redis than is installed here: ` +
      (await reasonIn(dir));
    throw new RunwatchError(message, { code: 'backup_unreadable' });
  }
  return {
    socketPath,
    control,
    async close() {
      control.disconnect();
      await end();
    },
  };
}

/** Why a server did not load a snapshot, by its log. */
async function reasonIn(dir: string): Promise<string> {
  const text = await readFile(join(dir, LOG_FILE), 'utf8');
  const [reason] = /^.*(?:Unexpected|Can't handle|Wrong|checksum).*$/im.exec(text) ?? [];
  // Without process and time, by which lines begin.
  return reason?.replace(/^\d+:\w [^#*]+[#*] /, '') ?? (await lastWords(dir));
}

async function spawnWithParent(dir: string, command: readonly string[]): Promise<ChildProcess> {
  const output = await open(join(dir, LOG_FILE), 'w', 0o600);
  try {
    const child = spawn('sh', ['-c', RUN_WHILE_READ, 'sh', ...command], {
      cwd: dir,
      stdio: ['pipe', output.fd, output.fd],
    });
    await once(child, 'spawn');
    return child;
  } finally {
    await output.close();
  }
}

/** Null where the server ends before it has loaded. */
async function whenLoaded(
  socketPath: string,
  child: ChildProcess,
  signal?: AbortSignal,
): Promise<Redis | null> {
  for (;;) {
    signal?.throwIfAborted();
    const hasEnded = child.exitCode !== null || child.signalCode !== null;
    const probe = await probeServer(socketPath);
    if (probe.kind === 'ready') return probe.control;
    if (hasEnded) return null;
    await delay(LOOK_AGAIN_MS);
  }
}
