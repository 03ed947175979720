import { readSettings, type Absence } from './document.ts';
import { labelOf, type Draft } from './draft.ts';
import type { Environment } from './environment.ts';
import type { Reference } from './expand.ts';
import { ancestry, pathKey, problemWith } from './problem.ts';
import type { ConfigProblem, ObservationDraft, Position } from './problem.ts';
import { parseYaml } from './yaml.ts';

/** What a file says, and where it says so. */
export interface SettingsFile {
  /** The file as it was named or found; null when there is none. */
  name: string | null;
  value: unknown;
  /** By `pathKey`. */
  positions: ReadonlyMap<string, Position>;
  /** The variables behind values, by `pathKey`. */
  references: ReadonlyMap<string, Reference>;
  /** Settings that are absent because their variable gives nothing. */
  absent: readonly Absence[];
  problems: ConfigProblem[];
  /** True when the YAML is so faulty that its settings mean nothing. */
  broken: boolean;
}

export const NO_FILE: SettingsFile = {
  name: null,
  value: undefined,
  positions: new Map(),
  references: new Map(),
  absent: [],
  problems: [],
  broken: false,
};

/** Reads the settings of a file. */
export function readSettingsFile(
  { name, text }: { name: string; text: string },
  environment: Environment,
): SettingsFile {
  const yaml = parseYaml(text);
  const syntax = yaml.problems.map((problem) => ({ file: name, ...problem }));
  if (yaml.broken) return { ...NO_FILE, name, problems: syntax, broken: true };
  const { findings, ...settings } = readSettings(yaml, environment);
  const problems = [...syntax, ...findings.map((finding) => place(finding, { name, ...settings }))];
  return { name, ...settings, problems, broken: false };
}

/** Gives a finding the place in the file, the variable or the flag that its setting came from. */
export function locate(
  finding: ObservationDraft,
  { draft, file }: { draft: Draft; file: SettingsFile },
): ConfigProblem {
  const label = labelOf(draft, finding.path);
  return label === null ? place(finding, file) : problemWith(label, finding.message);
}

/** A setting that the file lacks is placed where the map is that ought to hold it. */
function place(
  { path, message }: ObservationDraft,
  { name, positions }: Pick<SettingsFile, 'name' | 'positions'>,
): ConfigProblem {
  const key = path.join('.');
  const position = [...ancestry(path)]
    .map((ancestor) => positions.get(pathKey(ancestor)))
    .find((known) => known !== undefined);
  if (position === undefined || name === null) return problemWith(key, message);
  return { file: name, ...position, key, message };
}
