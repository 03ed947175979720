import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Something that a person has to see to; its message is the one sentence that they get. */
export class BootstrapError extends Error {}

/** Standard output is left to what runs afterwards. */
export function say(text) {
  console.error(`bootstrap: ${text}`);
}

/** Runs a command, with its output on standard error; resolves to its exit code. */
export function run(command, args, { cwd, env } = {}) {
  const { status } = spawnSync(command, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 2, 2],
  });
  return status ?? 1;
}

/** The output of a command that is expected to be quick, or null when it fails. */
export function output(command, args) {
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8', timeout: 10_000 });
  return status === 0 ? stdout : null;
}

/** The full path of the first of these commands that is on PATH, or null. */
export function findOnPath(...names) {
  const folders = (process.env.PATH ?? '').split(delimiter).filter(Boolean);
  for (const name of names) {
    const found = folders.map((folder) => join(folder, name)).find(isExecutable);
    if (found !== undefined) return found;
  }
  return null;
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
