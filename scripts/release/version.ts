/** How far a version is from the one before; each says what may change. */
export const STEPS = ['patch', 'minor', 'major'] as const;
export type Step = (typeof STEPS)[number];

/** A version by its numbers; null for what is none. Those before a release, such as 1.0.0-rc.1, are none. */
export function parseVersion(text: string): [number, number, number] | null {
  const [, ...numbers] = /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)$/.exec(text) ?? [];
  const [major, minor, patch] = numbers.map(Number);
  return major === undefined || minor === undefined || patch === undefined
    ? null
    : [major, minor, patch];
}

/** The version that follows by a step. @throws Error where the text is no version */
export function nextVersion(version: string, step: Step): string {
  const [major, minor, patch] = partsOf(version);
  if (step === 'major') return `${major + 1}.0.0`;
  return step === 'minor' ? `${major}.${minor + 1}.0` : `${major}.${minor}.${patch + 1}`;
}

/** Below 0 where `a` is older than `b`, above 0 where it is newer. @throws Error where one is no version */
export function compareVersions(a: string, b: string): number {
  const theirs = partsOf(b);
  const differences = partsOf(a).map((part, at) => part - (theirs[at] ?? 0));
  return differences.find((difference) => difference !== 0) ?? 0;
}

function partsOf(version: string): [number, number, number] {
  const parts = parseVersion(version);
  if (parts === null) throw new Error(`expected a version such as 0.2.0, got ${version}`);
  return parts;
}
