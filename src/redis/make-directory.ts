import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isCode } from './file-lock.ts';

/**
 * Makes a directory for this user alone, and those above it, unless they exist. Node's own recursion never
 * ends where the system denies a directory below one that exists, as in /proc.
 */
export async function makeDirectory(path: string): Promise<void> {
  try {
    await makeOne(path);
  } catch (error) {
    const parent = dirname(path);
    if (!isCode(error, 'ENOENT') || parent === path) throw error;
    await makeDirectory(parent);
    await makeOne(path);
  }
}

async function makeOne(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    const isThere = isCode(error, 'EEXIST') && (await stat(path)).isDirectory();
    if (!isThere) throw error;
  }
}
