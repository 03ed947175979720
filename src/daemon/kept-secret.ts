import { randomUUID } from 'node:crypto';
import { link, mkdir, open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { MAX_SECRET_BYTES, readRegularFile } from '../config/read-file.ts';
import { distrust, ownUids } from '../config/trust.ts';
import { messageOf, RunwatchError } from '../core/errors.ts';
import { isCode } from '../redis/file-lock.ts';

/** A secret of an instance that was given none, in a file of its own that only the owner may read. */
export interface KeptSecret {
  path: string;
  /** Makes one. */
  generate: () => string;
  isValid: (text: string) => boolean;
  /** What a valid one looks like, for those who find that the file holds something else. */
  expected: string;
  /** What a new one costs, for those who think of removing the file. */
  loss: string;
  /** The variable that gives such a secret in place of the file. */
  variable: string;
}

/**
 * The secret in the file, which is made where there is none. Whoever asks at the same moment gets the
 * same one, and a process that is killed at any instruction leaves either a whole file or none.
 * Throws RunwatchError of {@link readKeptSecret}, and `kept_secret_unusable` where the file cannot be
 * made. A file that is there is never written to.
 */
export async function keepSecret(kept: KeptSecret): Promise<string> {
  const found = readKeptSecret(kept);
  if (found !== null) return found;
  await make(kept).catch((error: unknown) => {
    throw unusable(kept, `cannot be made (${messageOf(error)})`, error);
  });
  const made = readKeptSecret(kept);
  if (made !== null) return made;
  throw unusable(kept, 'cannot be made (it leads nowhere)');
}

/**
 * The secret in the file; null when there is none.
 * Throws RunwatchError `kept_secret_invalid`, `kept_secret_untrusted` where another user may have put
 * it there, `kept_secret_unusable` where it cannot be read.
 */
export function readKeptSecret(kept: KeptSecret): string | null {
  const read = readRegularFile(kept.path, { maxBytes: MAX_SECRET_BYTES });
  if (read.kind === 'unreadable') {
    if (read.isAbsent) return null;
    throw unusable(kept, `is of no use: ${read.message}`);
  }
  const reason = distrust({ path: kept.path, stats: read.stats, uids: ownUids({}) });
  if (reason !== null) throw new RunwatchError(reason, { code: 'kept_secret_untrusted' });
  const secret = read.text.trim();
  if (kept.isValid(secret)) return secret;
  const { path, expected, loss } = kept;
  const remedy = `put it back from a backup, or remove the file: ${loss}`;
  throw new RunwatchError(`${path} holds no secret (expected ${expected}): ${remedy}`, {
    code: 'kept_secret_invalid',
  });
}

/** Written and synced under a name of its own: the file has its name only once it is whole. */
async function make({ path, generate }: KeptSecret): Promise<void> {
  const secret = generate();
  const folder = dirname(path);
  const draft = `${path}.${randomUUID()}`;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  try {
    await writeSynced(draft, `${secret}\n`);
    await link(draft, path);
  } catch (error) {
    // Somebody else was first: what they made stands.
    if (!isCode(error, 'EEXIST')) throw error;
  } finally {
    await rm(draft, { force: true });
  }
  await syncFolder(folder);
}

async function writeSynced(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** What it encrypts may outlive a crash of the machine elsewhere, so its name must, too. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function unusable({ path, variable }: KeptSecret, what: string, cause?: unknown): RunwatchError {
  const remedy = `set ${variable}, or RUNWATCH_DATA_DIR to a directory of your own`;
  return new RunwatchError(`${path} ${what}: ${remedy}`, { code: 'kept_secret_unusable', cause });
}
