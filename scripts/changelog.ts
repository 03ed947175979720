import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { groupBy } from '../src/core/arrays.ts';

/** The sections of a version, in their order. */
const SECTIONS = ['Alerts', 'API', 'Dashboard', 'Watching', 'Delivery', 'Running'];

/** What `## Unreleased` says besides its entries. */
export const POINTER = 'Newer changes are in `changes/`, a file each; a release gathers them here.';

interface Change {
  /** The file, from the root. */
  path: string;
  section: string;
  text: string;
}

/**
 * The changes since the last release.
 * @throws Error with a line for each file of a wrong form: where, what was expected and what was found
 */
export async function readChanges(root: string): Promise<Change[]> {
  const folder = join(root, 'changes');
  const names = (await readdir(folder)).filter((name) => !name.startsWith('.'));
  const changes = await Promise.all(
    names.toSorted().map(async (name) => {
      const [section = '', ...lines] = (await readFile(join(folder, name), 'utf8')).split('\n');
      return { path: `changes/${name}`, section, text: lines.join('\n').trim() };
    }),
  );
  const faults = changes.flatMap((change) => faultOf(change) ?? []);
  if (faults.length > 0) throw new Error(faults.join('\n'));
  return changes;
}

function faultOf({ path, section, text }: Change): string | null {
  if (!/^changes\/[a-z0-9-]+\.md$/.test(path))
    return `${path}: expected a name of small letters, digits and hyphens that ends in .md`;
  if (!SECTIONS.includes(section))
    return `${path}:1: expected one of ${SECTIONS.join(', ')}, got ${JSON.stringify(section)}`;
  if (text === '') return `${path}:2: expected what users notice, but it is missing`;
  const marked = text.split('\n').find((line) => /^\s*([-*#]|$)/.test(line));
  if (marked === undefined) return null;
  return `${path}: expected one paragraph without headings and lists, got ${JSON.stringify(marked)}`;
}

interface ReleaseEntry {
  version: string;
  date: string;
  changes: readonly Change[];
}

/** The released versions of a changelog, the newest first. */
export function versionsIn(changelog: string): string[] {
  return [...changelog.matchAll(/^## (\d\S*) /gm)].map(([, version = '']) => version);
}

/**
 * The changelog with a version in the place of what is unreleased.
 * @throws Error where it has no such place, or an entry in an unknown section
 */
export function withRelease(changelog: string, { version, date, changes }: ReleaseEntry): string {
  const title = `## ${version} (${date})`;
  const [, before, unreleased, earlier] =
    /^(.*\n)## Unreleased\n(.*?)((?:\n## .*)?)$/s.exec(changelog) ?? [];
  if (before === undefined || unreleased === undefined || earlier === undefined)
    throw new Error('CHANGELOG.md: expected a heading ## Unreleased, but it is missing');
  const [intro = '', ...parts] = unreleased.replace(`${POINTER}\n`, '').trim().split(/^### /m);
  const entries = new Map(parts.map((part) => entriesOf(part)));
  const unknown = [...entries.keys()].find((section) => !SECTIONS.includes(section));
  if (unknown !== undefined)
    throw new Error(`CHANGELOG.md: expected one of ${SECTIONS.join(', ')}, got ### ${unknown}`);
  for (const [section, its] of groupBy(changes, (change) => change.section))
    entries.set(section, [...(entries.get(section) ?? []), ...its.map(bulletOf)]);
  const sections = SECTIONS.flatMap((section) => {
    const its = entries.get(section);
    return its === undefined ? [] : [`### ${section}\n\n${its.join('\n')}`];
  });
  const paragraphs = ['## Unreleased', POINTER, title, intro.trim(), ...sections];
  return `${before}${paragraphs.filter((text) => text !== '').join('\n\n')}\n${earlier}`;
}

function entriesOf(part: string): [section: string, entries: string[]] {
  const [section = '', ...lines] = part.split('\n');
  return [section, [lines.join('\n').trim()]];
}

function bulletOf({ text }: Change): string {
  return `- ${text.replaceAll('\n', '\n  ')}`;
}
