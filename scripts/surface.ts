import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readChanges } from './changelog.ts';
import { additionsTo, type Break, breaksOf, entriesText, parseEntries } from './surface/entry.ts';
import { KINDS } from './surface/kinds.ts';

/** What users of the last release rely on; a release alone writes it. */
const FOLDER = 'test/fixtures/surface';

/** What the next release does to users of the last one. */
export interface SurfaceChanges {
  /** What they lose. */
  breaks: readonly Break[];
  /** What of that no file of changes/ names. */
  unannounced: readonly Break[];
  /** What is new to them. */
  additions: readonly string[];
}

/** Compares what is there with what the last release recorded. */
export async function surfaceChanges(root: string): Promise<SurfaceChanges> {
  const ofKinds = await Promise.all(
    Object.entries(KINDS).map(async ([kind, { direction, read }]) => {
      const recorded = parseEntries(await readFile(fileOf(root, kind), 'utf8'));
      const present = await read(root);
      return {
        breaks: breaksOf(kind, direction, { recorded, present }),
        additions: additionsTo(recorded, present).map((name) => `${kind} ${name}`),
      };
    }),
  );
  const breaks = ofKinds.flatMap((one) => one.breaks);
  const announced = new Set(
    (await readChanges(root)).flatMap(({ text }) => text.split('\n').map((line) => line.trim())),
  );
  return {
    breaks,
    unannounced: breaks.filter(({ line }) => !announced.has(line)),
    additions: ofKinds.flatMap((one) => one.additions),
  };
}

/** The texts of the recording by their paths from the root, as a release writes them. */
export async function surfaceTexts(root: string): Promise<Record<string, string>> {
  const texts = await Promise.all(
    Object.entries(KINDS).map(async ([kind, { read }]) => [
      `${FOLDER}/${kind}.txt`,
      entriesText(await read(root)),
    ]),
  );
  return Object.fromEntries(texts) as Record<string, string>;
}

function fileOf(root: string, kind: string): string {
  return join(root, FOLDER, `${kind}.txt`);
}
