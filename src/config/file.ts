import { resolve } from 'node:path';
import type { Environment } from './environment.ts';
import { problemWith, type ConfigProblem } from './problem.ts';
import { readRegularFile } from './read-file.ts';
import { distrust } from './trust.ts';

/** Where a configuration is looked for when none is named; the first that exists is it. */
const SEARCHED = ['config/runwatch.yaml', 'runwatch.yaml', '/etc/runwatch/runwatch.yaml'] as const;

const MAX_BYTES = 1024 * 1024;

/** The configuration file. `name` is how it was named or found. */
export type FoundFile =
  | { kind: 'read'; name: string; text: string }
  | { kind: 'none' }
  | { kind: 'unreadable'; problem: ConfigProblem };

interface Search {
  /** The file that `--config` names. */
  configPath: string | undefined;
  environment: Environment;
  cwd: string;
  /** Users: their files may be used without being named. */
  uids: readonly number[];
}

/** Finds and reads the file. One that is named must exist; the searched places may be empty. */
export function findFile({ configPath, environment, cwd, uids }: Search): FoundFile {
  if (configPath !== undefined) return readNamed(configPath, '--config', cwd);
  const variable = environment.lookup('RUNWATCH_CONFIG');
  if (variable.kind === 'found') return readNamed(variable.text, 'RUNWATCH_CONFIG', cwd);
  for (const name of SEARCHED) {
    const file = readFound(name, cwd, uids);
    if (file.kind !== 'none') return file;
  }
  return { kind: 'none' };
}

function readNamed(name: string, label: string, cwd: string): FoundFile {
  const read = readRegularFile(resolve(cwd, name), { maxBytes: MAX_BYTES, name });
  return read.kind === 'read'
    ? { kind: 'read', name, text: read.text }
    : unreadable(label, read.message);
}

/**
 * Any user could have put a file there, and it decides where keys are sent, so its owner is
 * checked.
 */
function readFound(name: string, cwd: string, uids: readonly number[]): FoundFile {
  const path = resolve(cwd, name);
  const read = readRegularFile(path, { maxBytes: MAX_BYTES, name });
  if (read.kind === 'unreadable') {
    return read.isAbsent ? { kind: 'none' } : unreadable(name, read.message);
  }
  const reason = distrust({ path, stats: read.stats, uids });
  if (reason === null) return { kind: 'read', name, text: read.text };
  return unreadable(name, `${reason}, or name the file with --config if you trust it`);
}

function unreadable(label: string, message: string): FoundFile {
  return { kind: 'unreadable', problem: problemWith(label, message) };
}
