import { ancestry, pathKey, type Path } from './problem.ts';
import { childValue, valueAt } from './walk.ts';

/** The settings while layers are merged, before they are checked. */
export interface Draft {
  root: unknown;
  /** The variables and flags that settings came from, by `pathKey`. */
  labels: Map<string, string>;
}

/**
 * Lays one setting over the draft.
 * @param label the variable or flag that it came from
 */
export function put(
  draft: Draft,
  path: Path,
  { value, label }: { value: unknown; label: string },
): void {
  draft.root = withValue(draft.root, path, value);
  if (valueAt(draft.root, path) === value) draft.labels.set(pathKey(path), label);
}

/**
 * A copy with one value replaced. Where the file has no map on the path, it is kept, for the check
 * to report.
 */
function withValue(root: unknown, [key, ...rest]: Path, value: unknown): unknown {
  if (key === undefined) return value;
  const base = root ?? (typeof key === 'number' ? [] : {});
  const child = withValue(childValue(base, key), rest, value);
  if (Array.isArray(base)) return typeof key === 'number' ? base.toSpliced(key, 1, child) : root;
  return typeof base === 'object' ? { ...base, [key]: child } : root;
}

/** The variable or flag that a setting, or the map around it, came from. */
export function labelOf({ labels }: Draft, path: Path): string | null {
  for (const ancestor of ancestry(path)) {
    const label = labels.get(pathKey(ancestor));
    if (label !== undefined) return label;
  }
  return null;
}
