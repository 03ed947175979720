import type { SettingsDocument } from './document.ts';
import { pathKey, type ConfigProblem } from './problems.ts';

/** A key of a map that had another name, which is taken with a warning for at least one minor version. */
export interface RenamedKey {
  /** The map; `<name>` stands for any name in it, `[]` for any item of a list. */
  map: string;
  old: string;
  key: string;
  /** The version that renamed it. */
  since: string;
  /** The version that does not take the old name any more. */
  until: string;
}

export const RENAMED_KEYS: readonly RenamedKey[] = [
  { map: 'polling', old: 'batch', key: 'lists', since: '0.1.0', until: '0.3.0' },
];

/**
 * Takes settings under their old names for those under the new ones, with a warning each. A setting
 * under both names is a problem of the document.
 */
export function withNewNames(
  document: SettingsDocument,
  renamedKeys: readonly RenamedKey[] = RENAMED_KEYS,
): { document: SettingsDocument; warnings: ConfigProblem[] } {
  let renamed = document;
  const [problems, warnings]: [ConfigProblem[], ConfigProblem[]] = [[...document.problems], []];
  for (const { map, old, key, until } of renamedKeys) {
    const pattern = segments(`${map}.${old}`);
    for (const path of pathsOf(renamed).filter((one) => matches(one, pattern))) {
      const to = [...path.slice(0, -1), key];
      const called = `it is called ${to.join('.')} now`;
      const isGivenTwice = renamed.places.has(pathKey(to));
      if (isGivenTwice) {
        problems.push({ path, message: `${called}, which is given, too; remove one of them` });
      } else {
        const message = `${called}, and version ${until} does not take the old name; rename it`;
        warnings.push({ path, message });
      }
      renamed = rename(renamed, path, to, isGivenTwice);
    }
  }
  return { document: { ...renamed, problems }, warnings };
}

function segments(pattern: string): string[] {
  return pattern.replaceAll('[]', '.[]').split('.');
}

function pathsOf({ places }: SettingsDocument): string[][] {
  return [...places.keys()].map((key) => key.split(pathKey(['', ''])));
}

function matches(path: readonly string[], pattern: readonly string[]): boolean {
  return (
    path.length === pattern.length &&
    pattern.every((one, at) => one === path[at] || one === '<name>' || one === '[]')
  );
}

/** The document with the setting, and what is below it, under its new name alone. */
function rename(
  document: SettingsDocument,
  from: readonly string[],
  to: readonly string[],
  isGivenTwice: boolean,
): SettingsDocument {
  const [old, fresh] = [pathKey(from), pathKey(to)];
  const isBelow = (key: string) => key === old || key.startsWith(pathKey([old, '']));
  const moved = <Entry>(entries: ReadonlyMap<string, Entry>) => {
    const copies = [...entries].flatMap(([key, entry]): [string, Entry][] =>
      isBelow(key) && !isGivenTwice ? [[fresh + key.slice(old.length), entry]] : [],
    );
    return new Map([...entries, ...copies]);
  };
  return {
    ...document,
    value: withRenamed(document.value, from, to.at(-1) ?? ''),
    places: moved(document.places),
    references: moved(document.references),
    ofFiles: moved(document.ofFiles),
    absent: document.absent.map((one) =>
      isBelow(pathKey(one.path)) ? { ...one, path: [...to, ...one.path.slice(to.length)] } : one,
    ),
  };
}

/** The value with another name for the key at the end of a path; one that has the name already keeps its value. */
function withRenamed(
  value: unknown,
  [key = '', ...rest]: readonly string[],
  name: string,
): unknown {
  if (Array.isArray(value)) {
    return value.map((item: unknown, at) =>
      String(at) === key ? withRenamed(item, rest, name) : item,
    );
  }
  const { [key]: its, ...others } = Object(value) as Record<string, unknown>;
  if (rest.length === 0) return { [name]: its, ...others };
  return { ...others, [key]: withRenamed(its, rest, name) };
}
