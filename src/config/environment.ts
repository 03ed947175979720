import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { messageOf } from '../core/errors.ts';
import { problemWith, type ConfigProblem } from './problem.ts';
import { isServiceLink, unknownVariables } from './variables.ts';

/** What asking for a variable gave. `failed`: it names a file that gave nothing; see `problems`. */
type Lookup =
  { kind: 'found'; text: string; secret: boolean } | { kind: 'unset' } | { kind: 'failed' };

/** The environment, with secrets that are given as files. */
export interface Environment {
  /** The value of `NAME`, else the content of the file that `NAME_FILE` names. */
  lookup(name: string): Lookup;
  /** What went wrong in the lookups so far. */
  problems(): ConfigProblem[];
  /** Variables that look like ours, but that nothing has asked for. */
  unknown(): ConfigProblem[];
}

const SECRET_NAME = /KEY|TOKEN|SECRET|PASS|AUTH|CREDENTIAL|_URL$/i;

function readVariable(env: NodeJS.ProcessEnv, name: string): string | null {
  const text = env[name] ?? '';
  return text.trim() === '' || (name === 'RUNWATCH_PORT' && isServiceLink(text)) ? null : text;
}

/** The text of a file without its trailing newlines, or why there is none. */
function readSecretFile(path: string): { text: string } | { error: string } {
  try {
    const text = readFileSync(path, 'utf8').replace(/[\r\n]+$/, '');
    return text === '' ? { error: `the file ${path} is empty` } : { text };
  } catch (error) {
    return { error: `cannot read ${path} (${readFailure(error)})` };
  }
}

/** Why a file could not be read, in the words of the operating system. */
export function readFailure(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  return code ?? messageOf(error);
}

/**
 * Opens an environment for reading. Empty variables count as unset.
 * @param cwd what relative paths of secret files start from
 */
export function openEnvironment(env: NodeJS.ProcessEnv, cwd: string): Environment {
  const known = new Map<string, Lookup>();
  const problems: ConfigProblem[] = [];

  function find(name: string): Lookup {
    const text = readVariable(env, name);
    if (text !== null) return { kind: 'found', text, secret: SECRET_NAME.test(name) };
    const path = readVariable(env, `${name}_FILE`);
    if (path === null) return { kind: 'unset' };
    const read = readSecretFile(resolve(cwd, path));
    if ('text' in read) return { kind: 'found', text: read.text, secret: true };
    problems.push(problemWith(`${name}_FILE`, read.error));
    return { kind: 'failed' };
  }

  return {
    lookup(name) {
      const lookup = known.get(name) ?? find(name);
      known.set(name, lookup);
      return lookup;
    },
    problems: () => problems,
    unknown: () => unknownVariables(env, new Set(known.keys())),
  };
}
