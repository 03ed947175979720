/**
 * Reads variables and the files that they name, and expands references to them. Which settings the variables of
 * runwatch make stands in `overrides.ts`.
 */
import { resolve } from 'node:path';
import { didYouMean, type ConfigProblem, type Reference, suggest } from './problems.ts';
import { MAX_SECRET_BYTES, readRegularFile } from './read-file.ts';

/** The result of a lookup. `failed`: the variable names an unusable file; see `problems`. */
type Lookup =
  | { kind: 'found'; text: string; secret: boolean; isFile: boolean }
  | { kind: 'unset' | 'failed' };

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
    if (text !== null) {
      return { kind: 'found', text, secret: SECRET_NAME.test(name), isFile: false };
    }
    const path = readVariable(env, `${name}_FILE`);
    if (path === null) return { kind: 'unset' };
    const read = readSecretFile(resolve(cwd, path));
    if ('text' in read) return { kind: 'found', text: read.text, secret: true, isFile: true };
    problems.push({ path: [`${name}_FILE`], message: read.error });
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

/** The expansion of a text. `absent`: the text was a single reference to an unset variable. */
export type Expansion =
  | {
      kind: 'text';
      text: string;
      reference: Reference | null;
      /** Whether a part is the content of a file, which may change. */
      isFromFile: boolean;
    }
  | { kind: 'absent'; reference: Reference }
  /** `unset`: a part of it is a reference to an unset variable. */
  | { kind: 'unset' | 'invalid'; message: string };

/** An escaped `$${`, a well-formed reference, or the start of a malformed one. */
const REFERENCE = /\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{/g;

interface Part {
  text: string | null;
  reference: Reference | null;
  isFile: boolean;
}

function resolveReference(match: RegExpExecArray, environment: Environment): Part | null {
  const [source, variable, fallback] = match;
  if (source === '$${') return { text: '${', reference: null, isFile: false };
  if (variable === undefined) return null;
  const found = environment.lookup(variable);
  const reference = {
    variable,
    secret: false,
    failed: found.kind === 'failed',
    hasDefault: fallback !== undefined,
  };
  if (found.kind === 'found') {
    const { text, secret, isFile } = found;
    return { text, reference: { ...reference, secret }, isFile };
  }
  return { text: fallback ?? null, reference, isFile: false };
}

/**
 * Expands `${NAME}` and `${NAME:-text}` in a value of the file. What a variable holds is taken as it
 * is, never expanded again. `$${` stands for a literal `${`.
 */
export function expand(source: string, environment: Environment): Expansion {
  let [text, from, isFromFile] = ['', 0, false];
  const references: Reference[] = [];
  for (const match of source.matchAll(REFERENCE)) {
    const part = resolveReference(match, environment);
    if (part === null) {
      return { kind: 'invalid', message: 'expected ${NAME} or ${NAME:-text}; $${ is a literal ${' };
    }
    const isWhole = match[0] === source;
    if (isWhole && part.reference !== null && (part.text ?? '') === '') {
      return { kind: 'absent', reference: part.reference };
    }
    if (part.text === null) return unset(part.reference);
    text += source.slice(from, match.index) + part.text;
    from = match.index + match[0].length;
    if (part.reference !== null) references.push(part.reference);
    isFromFile ||= part.isFile;
  }
  const reference = references.find(({ secret }) => secret) ?? references[0] ?? null;
  return { kind: 'text', text: text + source.slice(from), reference, isFromFile };
}

function unset(reference: Reference | null): Expansion {
  const variable = reference?.variable ?? '';
  const hint = `give it a value, or a default as in \${${variable}:-text}`;
  return { kind: 'unset', message: `${variable} is not set; ${hint}` };
}

/** Every variable of the product; each may also name a file, as `NAME_FILE`. */
const KNOWN = [
  'RUNWATCH_API_TOKEN',
  'RUNWATCH_CONFIG',
  'RUNWATCH_DATA_DIR',
  'RUNWATCH_EGRESS_ALLOW',
  'RUNWATCH_ENCRYPTION_KEY',
  'RUNWATCH_HOST',
  'RUNWATCH_LOG_LEVEL',
  'RUNWATCH_PORT',
  'RUNWATCH_PUBLIC_URL',
  'RUNWATCH_SIGNING_SECRET',
  'RUNWATCH_URL',
  'RUNWATCH_WEBHOOK_SECRET',
  'RUNWATCH_WEBHOOK_URL',
];

/**
 * Variables that Kubernetes sets in every pod for a Service with a name that begins with runwatch.
 * Source: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
 */
const SERVICE_LINK = /_(SERVICE_(HOST|PORT)|PORT_\d+_(TCP|UDP|SCTP))(_\w+)?$/;

/** True for the address that Kubernetes gives as `RUNWATCH_PORT` and the like. */
function isServiceLink(value: string): boolean {
  return /^(tcp|udp|sctp):\/\/.+:\d+$/.test(value);
}

/**
 * Variables that look like ours and have no effect.
 * @param referenced the names that the file asks for
 */
function unknownVariables(
  env: NodeJS.ProcessEnv,
  referenced: ReadonlySet<string>,
): ConfigProblem[] {
  const known = new Set([...KNOWN, ...referenced]);
  return Object.entries(env).flatMap(([name, value = '']) => {
    if (!name.startsWith('RUNWATCH_') || value.trim() === '') return [];
    if (known.has(name) || known.has(name.replace(/_FILE$/, ''))) return [];
    if (SERVICE_LINK.test(name) || isServiceLink(value)) return [];
    const meant = suggest(name, [...KNOWN, ...KNOWN.map((one) => `${one}_FILE`)]);
    const message = `there is no such variable, so it has no effect${didYouMean(meant)}`;
    return [{ path: [name], message }];
  });
}
