import type { Environment } from './environment.ts';

/** The variable that a value came from, or would have come from. */
export interface Reference {
  variable: string;
  /** True when the value must not be shown, whatever setting it was given to. */
  secret: boolean;
  /** True when the variable names a file that could not be read, which is reported by itself. */
  failed: boolean;
  /** True when the file gives a default, even an empty one. */
  hasDefault: boolean;
}

/** The expansion of a text. `absent`: the text was a single reference to an unset variable. */
export type Expansion =
  | { kind: 'text'; text: string; reference: Reference | null }
  | { kind: 'absent'; reference: Reference }
  | { kind: 'invalid'; message: string };

/** An escaped `$${`, a well-formed reference, or the start of a malformed one. */
const REFERENCE = /\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{/g;

interface Part {
  text: string | null;
  reference: Reference | null;
}

function resolve(match: RegExpExecArray, environment: Environment): Part | null {
  const [source, variable, fallback] = match;
  if (source === '$${') return { text: '${', reference: null };
  if (variable === undefined) return null;
  const found = environment.lookup(variable);
  const reference = {
    variable,
    secret: false,
    failed: found.kind === 'failed',
    hasDefault: fallback !== undefined,
  };
  if (found.kind === 'found') {
    return { text: found.text, reference: { ...reference, secret: found.secret } };
  }
  return { text: fallback ?? null, reference };
}

/**
 * Expands `${NAME}` and `${NAME:-text}` in a value of the file. What a variable holds is taken as it
 * is, never expanded again. `$${` stands for a literal `${`.
 */
export function expand(source: string, environment: Environment): Expansion {
  let [text, from] = ['', 0];
  const references: Reference[] = [];
  for (const match of source.matchAll(REFERENCE)) {
    const part = resolve(match, environment);
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
  }
  const reference = references.find(({ secret }) => secret) ?? references[0] ?? null;
  return { kind: 'text', text: text + source.slice(from), reference };
}

function unset(reference: Reference | null): Expansion {
  const variable = reference?.variable ?? '';
  const hint = `give it a value, or a default as in \${${variable}:-text}`;
  return { kind: 'invalid', message: `${variable} is not set; ${hint}` };
}
