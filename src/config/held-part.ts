import { groupBy } from '../core/arrays.ts';
import { expectation } from './problems.ts';
import { valueAt } from './schema-walk.ts';
import { configSchema, type Config } from './schema.ts';

/**
 * The names that settings may refer to, as they were written: also those of entries that are faulty. Null
 * where a fault hides some.
 */
export interface WrittenNames {
  sources: readonly string[] | null;
  rules: readonly string[] | null;
  intervals: readonly string[] | null;
}

/** @param root of settings that need not be valid */
export function writtenNames(root: unknown): WrittenNames {
  return {
    sources: keysOf(valueAt(root, ['sources'])),
    rules: namesOf(valueAt(root, ['rules'])),
    intervals: keysOf(valueAt(root, ['time_intervals'])),
  };
}

function keysOf(map: unknown = {}): string[] | null {
  return typeof map !== 'object' || map === null || Array.isArray(map) ? null : Object.keys(map);
}

function namesOf(list: unknown = []): string[] | null {
  if (!Array.isArray(list)) return null;
  const names = list.map((entry) => valueAt(entry, ['name']));
  return names.every((name) => typeof name === 'string') ? names : null;
}

/** What holds of settings that are not all valid, so that it can be seen together in the same round. */
export interface HeldPart {
  /** Without each faulty entry of a map or list, and else without each faulty section. */
  config: Config;
  /** The sections that lack something. */
  lost: ReadonlySet<string>;
}

/**
 * @param root of the settings
 * @param paths of all faults
 * @returns null where nothing can be made of the rest
 */
export function heldPart(root: object, paths: readonly PropertyKey[][]): HeldPart | null {
  const held: Record<string, unknown> = { ...root };
  for (const key of Object.keys(held))
    if (!Object.hasOwn(configSchema.shape, key)) delete held[key];
  const faults = groupBy(
    paths.filter(({ length }) => length > 0),
    ([section]) => String(section),
  );
  const places = new Map<string, number[]>();
  for (const [section, its] of faults) {
    const faulty = new Set(its.map(([, entry]) => String(entry)));
    const given = held[section];
    delete held[section];
    if (!ENTRIES.has(section) || its.some(({ length }) => length === 1)) continue;
    const sound = Object.entries(Object(given)).filter(([entry]) => !faulty.has(entry));
    const isList = Array.isArray(given);
    held[section] = isList ? sound.map(([, entry]) => entry) : Object.fromEntries(sound);
    if (isList) {
      const kept = sound.map(([at]) => Number(at));
      places.set(section, kept);
    }
  }
  const parsed = configSchema.safeParse(held, { error: expectation });
  if (!parsed.success) return null;
  const spread = [...places].map(([section, sound]) => [
    section,
    atPlaces(parsed.data[section as 'rules'], sound),
  ]);
  return {
    config: { ...parsed.data, ...Object.fromEntries(spread) },
    lost: new Set(faults.keys()),
  };
}

/** Sections whose entries stand for themselves. */
const ENTRIES = new Set([
  'sources',
  'workflows',
  'endpoints',
  'rules',
  'time_intervals',
  'inhibit_rules',
]);

/** A list with gaps, which iteration by callbacks passes over, so that an entry is said by its place in the file. */
function atPlaces<Entry>(entries: readonly Entry[], places: readonly number[]): Entry[] {
  const spread: Entry[] = [];
  entries.forEach((entry, index) => (spread[places[index] ?? index] = entry));
  return spread;
}
