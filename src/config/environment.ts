import { resolve } from 'node:path';
import { problemWith, type ConfigProblem } from './problem.ts';
import { MAX_SECRET_BYTES, readRegularFile } from './read-file.ts';
import { isServiceLink, unknownVariables } from './variables.ts';

/** The result of a lookup. `failed`: the variable names an unusable file; see `problems`. */
type Lookup =
  { kind: 'found'; text: string; secret: boolean } | { kind: 'unset' } | { kind: 'failed' };

/** The environment, with secrets that are given as files. */
export interface Environment {
  /** The value of `NAME`, else the content of the file that `NAME_FILE` names. */
  lookup(name: string): Lookup;
  /** What went wrong in the lookups so far. */
  problems(): ConfigProblem[];
  /** Variables that look like runwatch's own, but that no setting reads. */
  unknown(): ConfigProblem[];
}

const SECRET_NAME = /KEY|TOKEN|SECRET|PASS|AUTH|CREDENTIAL|_URL$/i;

function readVariable(env: NodeJS.ProcessEnv, name: string): string | null {
  const text = env[name] ?? '';
  return text.trim() === '' || (name === 'RUNWATCH_PORT' && isServiceLink(text)) ? null : text;
}

/** The text of a file without its trailing newlines, or why there is none. */
function readSecretFile(path: string): { text: string } | { error: string } {
  const read = readRegularFile(path, { maxBytes: MAX_SECRET_BYTES });
  if (read.kind === 'unreadable') return { error: read.message };
  const text = withoutLineEnds(read.text);
  return text === '' ? { error: `the file ${path} is empty` } : { text };
}

/** A loop, since a pattern would try again at each of many line ends. */
function withoutLineEnds(text: string): string {
  let end = text.length;
  while (end > 0 && (text[end - 1] === '\n' || text[end - 1] === '\r')) end -= 1;
  return text.slice(0, end);
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
