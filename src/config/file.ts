import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { readFailure, type Environment } from './environment.ts';
import { problemWith, type ConfigProblem } from './problem.ts';

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
}

/** Finds and reads the file. One that is named must exist; the searched places may be empty. */
export function findFile({ configPath, environment, cwd }: Search): FoundFile {
  if (configPath !== undefined) return readNamed(configPath, { label: '--config', cwd });
  const variable = environment.lookup('RUNWATCH_CONFIG');
  if (variable.kind === 'found') return readNamed(variable.text, { label: 'RUNWATCH_CONFIG', cwd });
  for (const name of SEARCHED) {
    const file = readNamed(name, { label: name, cwd });
    if (file.kind !== 'none') return file;
  }
  return { kind: 'none' };
}

/** `none` only for searched places, which label themselves. */
function readNamed(name: string, { label, cwd }: { label: string; cwd: string }): FoundFile {
  const path = resolve(cwd, name);
  try {
    if (statSync(path).size > MAX_BYTES) return unreadable(label, `${name} is larger than 1 MiB`);
    return { kind: 'read', name, text: readFileSync(path, 'utf8') };
  } catch (error) {
    const failure = readFailure(error);
    const isAbsent = failure === 'ENOENT' || failure === 'ENOTDIR';
    if (isAbsent && label === name) return { kind: 'none' };
    return unreadable(label, `cannot read ${name} (${failure})`);
  }
}

function unreadable(label: string, message: string): FoundFile {
  return { kind: 'unreadable', problem: problemWith(label, message) };
}
