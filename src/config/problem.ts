/** The way to a setting: keys of maps and indexes of lists. */
export type Path = readonly (string | number)[];

/** Where something stands in a file; both count from 1. */
export interface Position {
  line: number;
  column: number;
}

/** Something that is wrong with a setting, wherever its value came from. */
export interface ObservationDraft {
  path: Path;
  message: string;
}

/** One problem of the configuration, for its author. */
export interface ConfigProblem {
  /** The file as it was named or found; null when the value is not from the file. */
  file: string | null;
  line: number | null;
  column: number | null;
  /** A dotted path such as `polling.min_interval`, a variable such as `RUNWATCH_PORT`, or a flag. */
  key: string;
  /** What was expected and what was found instead; never the value of a secret. */
  message: string;
}

/** A problem with something that stands in no file. */
export function problemWith(key: string, message: string): ConfigProblem {
  return { file: null, line: null, column: null, key, message };
}

/** One line: `config/runwatch.yaml:12:3 polling.min_intervall: unknown key`. */
export function formatProblem({ file, line, column, key, message }: ConfigProblem): string {
  const place = [file, line, column].filter((part) => part !== null).join(':');
  const subject = [place, key].filter((part) => part !== '').join(' ');
  return `${subject}: ${message}`;
}

function subjectOf({ file, line, column, key }: ConfigProblem): string {
  return [file, line, column, key].join('\0');
}

function byPlace(a: ConfigProblem, b: ConfigProblem): number {
  return (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0);
}

/**
 * One problem per setting, in the order of the file: of several consequences of one mistake, only
 * the first is worth reading.
 */
export function tidy(problems: readonly ConfigProblem[]): ConfigProblem[] {
  const first = new Map<string, ConfigProblem>();
  for (const problem of problems) {
    if (!first.has(subjectOf(problem))) first.set(subjectOf(problem), problem);
  }
  return [...first.values()].sort(byPlace);
}

/** A path as a key of a Map; the separator occurs in no key of a text file. */
export function pathKey(path: Path): string {
  return path.join('\0');
}

/** Every path from a setting up to the root, the longest first. */
export function* ancestry(path: Path): Generator<Path> {
  for (let { length } = path; length >= 0; length -= 1) yield path.slice(0, length);
}
