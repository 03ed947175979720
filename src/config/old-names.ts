import type { SettingsDocument } from './document.ts';
import { pathKey, type Finding } from './problems.ts';
import { type Path, childValue } from './schema-walk.ts';

/** A key of a section that had another name. */
interface Renaming {
  section: string;
  old: string;
  name: string;
}

const RENAMED: readonly Renaming[] = [{ section: 'polling', old: 'batch', name: 'lists' }];

/**
 * Takes settings under their old names for those under the new ones, with a warning each. A setting
 * under both names is a finding of the document.
 */
export function withNewNames(document: SettingsDocument): {
  document: SettingsDocument;
  warnings: Finding[];
} {
  let renamed = document;
  const [findings, warnings]: [Finding[], Finding[]] = [[...document.findings], []];
  for (const renaming of RENAMED) {
    const { section, old, name } = renaming;
    const path: Path = [section, old];
    if (!renamed.positions.has(pathKey(path))) continue;
    const called = `it is called ${section}.${name} now`;
    if (renamed.positions.has(pathKey([section, name]))) {
      findings.push({ path, message: `${called}, which is given, too; remove one of them` });
    } else {
      warnings.push({ path, message: `${called}; rename it` });
    }
    renamed = rename(renamed, renaming);
  }
  return { document: { ...renamed, findings }, warnings };
}

/** The document with the setting under its new name alone. */
function rename(document: SettingsDocument, { section, old, name }: Renaming): SettingsDocument {
  const { [old]: value, ...others } = Object(childValue(document.value, section)) as object & {
    [key: string]: unknown;
  };
  const from = pathKey([section, old]);
  const copied = <Entry>(entries: ReadonlyMap<string, Entry>) => {
    const entry = entries.get(from);
    return entry === undefined
      ? new Map(entries)
      : new Map([...entries, [pathKey([section, name]), entry]]);
  };
  return {
    ...document,
    value: { ...Object(document.value), [section]: { [name]: value, ...others } },
    positions: copied(document.positions),
    references: copied(document.references),
    absent: document.absent.map((one) =>
      pathKey(one.path) === from ? { ...one, path: [section, name] } : one,
    ),
  };
}
