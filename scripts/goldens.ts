// Records what users and programs see, into test/goldens: `npm run goldens`. With --check it compares, and
// ends with 1 and the lines that differ. test/integration/goldens.test.ts runs the same comparison.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { record } from './goldens/records.ts';

const FOLDER = fileURLToPath(new URL('../test/goldens', import.meta.url));

/** So many differing lines of a file are shown. */
const MOST_LINES = 40;

/** Compares what is seen now with the recording. @returns a line for each that differs; empty where none does */
export async function differences(): Promise<string[]> {
  const found: string[] = [];
  for (const [name, text] of Object.entries(await record())) {
    const recorded = await readFile(join(FOLDER, name), 'utf8').catch(() => '');
    const lines = changedLines(recorded.split('\n'), text.split('\n'));
    if (lines.length > 0) found.push(`test/goldens/${name}:`, ...lines);
  }
  return found;
}

/** Lines that only one side has, `-` of the recording and `+` of now, in order. */
function changedLines(recorded: readonly string[], now: readonly string[]): string[] {
  let [before, after] = [0, 0];
  const changes: string[] = [];
  while (before < recorded.length || after < now.length) {
    if (recorded[before] === now[after]) {
      before += 1;
      after += 1;
      continue;
    }
    const { removed, added } = nextChange(recorded.slice(before), now.slice(after));
    changes.push(
      ...recorded.slice(before, before + removed).map((line) => `  ${before + 1} - ${line}`),
    );
    changes.push(...now.slice(after, after + added).map((line) => `  ${after + 1} + ${line}`));
    before += removed;
    after += added;
  }
  const more = changes.length - MOST_LINES;
  return more > 0 ? [...changes.slice(0, MOST_LINES), `  … and ${more} more`] : changes;
}

/** How many lines each side has until both go on alike; the fewest together. */
function nextChange(recorded: readonly string[], now: readonly string[]) {
  for (let skipped = 1; skipped < recorded.length + now.length; skipped += 1) {
    for (let removed = Math.max(0, skipped - now.length); removed <= skipped; removed += 1) {
      const added = skipped - removed;
      const isMatch = recorded[removed] !== undefined && recorded[removed] === now[added];
      if (isMatch) return { removed, added };
    }
  }
  return { removed: recorded.length, added: now.length };
}

async function write(): Promise<void> {
  await mkdir(FOLDER, { recursive: true });
  for (const [name, text] of Object.entries(await record())) {
    await writeFile(join(FOLDER, name), text);
  }
}

async function check(): Promise<void> {
  const found = await differences();
  if (found.length === 0) return;
  process.stdout.write(`${found.join('\n')}\n`);
  process.stdout.write('`npm run goldens` records a wanted change.\n');
  process.exitCode = 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await (process.argv.includes('--check') ? check() : write());
}
