import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';

const ROOT = join(import.meta.dirname, '../..');

/** Folders of `src` that are about Noxus alone. */
const OF_NOXUS = /^(noxus|simulator|demo)\//;

/** Where else `src` may say Noxus: the file, what it says, and why. */
const SOURCE_LINES: [file: string, text: RegExp, why: string][] = [
  ['core/run/snapshot.ts', /Unbounded for Noxus|older SDK of Noxus/, 'says what Noxus alone sends'],
  ['core/feed/run-list.ts', /largest page of runs that Noxus gives/, 'the size of a page of Noxus'],
  ['http/schemas/common.ts', /Noxus run|Of Noxus: 1 to 128/, 'the form of ids of Noxus'],
  ['fetch/event-stream.ts', /Noxus's SDK waits for as long/, 'where a number comes from'],
  ['config/hosts.ts', /Where Noxus is/, 'the base_url of a Noxus workspace'],
  [
    'config/source-schema.ts',
    /the API key of a Noxus workspace|literal\('noxus'\)|A workspace of Noxus, or/,
    'a workspace of Noxus is one type of source',
  ],
  [
    'http/schemas/source.ts',
    /enum\(\['noxus', 'http'\]\)|noxus: a workspace of Noxus\. http:/,
    'a workspace of Noxus is one type of source',
  ],
  ['source/source.ts', /'noxus' \| 'http'|\?\? 'noxus'/, 'the type of a source'],
  ['cli/local/try.ts', /noxus/i, 'a run of Noxus is tried as well, and its answers are not mapped'],
  ['ui/screens/runs-empty.tsx', /Noxus/, 'how to begin with Noxus'],
  ['ui/screens/system.tsx', /Noxus/, 'what a source is, and how to begin with Noxus'],
  ['cli/verbs/wait.ts', /./, '--direct asks Noxus itself'],
  ['cli/wait/direct-account.ts', /./, '--direct asks Noxus itself'],
  ['client/wait-observer.ts', /by Noxus itself/, '--direct asks Noxus itself'],
  ['cli/local/local-verbs.ts', /./, '--direct asks Noxus itself'],
  ['cli/local/run-reader.ts', /./, '--direct asks Noxus itself'],
  ['cli/verbs/doctor.ts', /noxus-api-key/, 'the credential of the unit of systemd'],
  ['cli/local/simulate.ts', /fake Noxus/, 'the simulator'],
  [
    'cli/verbs/local.ts',
    /fake Noxus|noxus-sdk|noxus_sdk|Noxus is simulated/,
    'the simulator, and the demo',
  ],
];

/** Where goldens may say Noxus. */
const GOLDEN_LINES: [file: string, text: RegExp, why: string][] = [
  ['openapi.json', /The id of a Noxus run|Of Noxus: 1 to 128/, 'the form of ids of Noxus'],
  ['help.txt', /ask Noxus itself|Noxus is asked directly/, '--direct asks Noxus itself'],
  ['help.txt', /fake Noxus|noxus-sdk|noxus_sdk|Noxus is simulated/, 'the simulator, and the demo'],
  ['help.txt', /noxus-simulator-key/, 'the key of the simulator'],
  [
    'configuration-problems.txt',
    /the API key of a Noxus workspace|expected noxus or http/,
    'a workspace of Noxus is one type of source',
  ],
  [
    'configuration-keys.txt',
    /^sources\.<name>\..*( of noxus:|`noxus`)/,
    'a workspace of Noxus is one type of source',
  ],
  [
    'events.json',
    /"(message|help)": "[^"]*\bNoxus\b/,
    'the label of the source that they are about',
  ],
  [
    'verbs.json',
    /"message": "Noxus does not know this run \(404\)"|"label": "Noxus"/,
    'the label of its source',
  ],
  [
    'openapi.json',
    /^ *"noxus",$|noxus: a workspace of Noxus\. http:/,
    'a workspace of Noxus is one type of source',
  ],
  ['verbs.json', /"type": "noxus"/, 'the type of a source'],
];

/** Variables and addresses of Noxus, and what is imported from its folder. */
const NAMES = /\bNOXUS_[A-Z_]+|\bnoxus\.ai\b|noxus\/[\w-]+\.ts'/g;

/** The lines of a text in which Noxus stands as a word. */
function linesOn(text: string): string[] {
  const lines = text.split('\n');
  return lines.filter((line) => /\bnoxus(?![A-Za-z])/i.test(line.replaceAll(NAMES, '')));
}

function unexpectedIn(
  files: readonly string[],
  folder: string,
  allowed: typeof SOURCE_LINES,
): string[] {
  return files.flatMap((file) =>
    linesOn(readFileSync(join(ROOT, folder, file), 'utf8'))
      .filter((line) => !allowed.some(([where, text]) => where === file && text.test(line)))
      .map((line) => `${folder}/${file}: ${line.trim()}`),
  );
}

test('only what is about Noxus alone says Noxus in the source', () => {
  const files = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' }).filter(
    (file) => /\.(tsx?|html)$/.test(file) && !OF_NOXUS.test(file),
  );
  expect(files.length).toBeGreaterThan(300);
  expect(unexpectedIn(files, 'src', SOURCE_LINES)).toEqual([]);
});

test('help, the API document, metrics and other texts that people read say Noxus only where it is meant', () => {
  const files = readdirSync(join(ROOT, 'test/goldens'));
  expect(files).toContain('openapi.json');
  expect(unexpectedIn(files, 'test/goldens', GOLDEN_LINES)).toEqual([]);
});
