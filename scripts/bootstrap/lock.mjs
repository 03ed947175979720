import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { BootstrapError, say } from './shell.mjs';

/** Longer than any installation takes. */
const STALE_AFTER_MS = 900_000;

/** Runs `work` while no other bootstrap of the same checkout runs; waits for one that does. */
export async function withLock(root, work) {
  const path = lockPath(root);
  for (let told = false; !take(path); told = true) {
    if (isStale(path)) {
      rmSync(path, { force: true });
      continue;
    }
    if (!told) say('waiting for another bootstrap of this checkout');
    await delay(200);
  }
  const release = () => rmSync(path, { force: true });
  process.once('exit', release);
  try {
    await work();
  } finally {
    release();
  }
}

/**
 * Outside the checkout, which it must not make dirty, and of node_modules, which npm replaces; and where
 * no other user can make a file of its name, as in /tmp.
 */
function lockPath(root) {
  const hash = createHash('sha256').update(root).digest('hex').slice(0, 16);
  const folder = join(ownFolder(), 'runwatch');
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new BootstrapError(
      `runwatch cannot make its folder ${folder} (${error.code}): set XDG_CACHE_HOME to one that this user may write to.`,
    );
  }
  return join(folder, `bootstrap-${hash}.lock`);
}

/** What the XDG Base Directory Specification gives to one user alone. */
function ownFolder() {
  const { XDG_RUNTIME_DIR: runtime, XDG_CACHE_HOME: cache } = process.env;
  const given = [runtime, cache].find((path) => path !== undefined && isAbsolute(path));
  return given ?? join(homedir(), '.cache');
}

function take(path) {
  try {
    writeFileSync(path, String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw new BootstrapError(
      `runwatch cannot write ${path} (${error.code}): set XDG_CACHE_HOME to a folder that this user may write to.`,
    );
  }
}

function isStale(path) {
  try {
    const age = Date.now() - statSync(path).mtimeMs;
    const pid = Number(readFileSync(path, 'utf8'));
    return age > STALE_AFTER_MS || (pid > 0 && !isAlive(pid));
  } catch (error) {
    // It was released while we looked.
    if (error.code === 'ENOENT') return false;
    throw error;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
