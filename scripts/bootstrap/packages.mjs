import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Written by npm at the end of an installation. */
const INSTALLED = ['node_modules', '.package-lock.json'];
const STAMP = ['node_modules', '.runwatch-lock-hash'];

/**
 * Whether node_modules is what package-lock.json says: installed after the lock file was written,
 * or from a lock file with the same content (git changes the times of files that stay the same).
 */
export function arePackagesCurrent(root) {
  const installed = join(root, ...INSTALLED);
  if (!existsSync(installed)) return false;
  const lock = join(root, 'package-lock.json');
  if (statSync(installed).mtimeMs >= statSync(lock).mtimeMs) return true;
  const stamp = join(root, ...STAMP);
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === hashOf(lock);
}

export function markPackagesCurrent(root) {
  writeFileSync(join(root, ...STAMP), hashOf(join(root, 'package-lock.json')));
}

function hashOf(path) {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}
