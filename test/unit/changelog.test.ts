import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { POINTER, readChanges, release } from '../../scripts/changelog.ts';

const ROOT = join(import.meta.dirname, '../..');

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'runwatch-changelog-'));
  mkdirSync(join(root, 'changes'));
});

afterEach(() => rmSync(root, { recursive: true }));

function write(files: Record<string, string>): void {
  for (const [path, text] of Object.entries(files)) writeFileSync(join(root, path), text);
}

const changelog = () => readFileSync(join(root, 'CHANGELOG.md'), 'utf8');

test('each file of changes/ begins with a section of the changelog and has one paragraph', async () => {
  await expect(readChanges(ROOT)).resolves.toEqual(expect.any(Array));
});

test('the changelog says where unreleased changes are, and a release finds its place in it', async () => {
  write({ 'CHANGELOG.md': readFileSync(join(ROOT, 'CHANGELOG.md'), 'utf8') });
  expect(changelog()).toContain(`\n## Unreleased\n\n${POINTER}\n`);
  await release(root, ['99.0.0', '2026-12-01']);
  expect(changelog()).toContain(`\n## Unreleased\n\n${POINTER}\n\n## 99.0.0 (2026-12-01)\n\n`);
});

test.each([
  ['fixed.txt', 'API\nText.\n', 'changes/fixed.txt: expected a name of small letters, digits'],
  ['Fixed.md', 'API\nText.\n', 'changes/Fixed.md: expected a name of small letters, digits'],
  [
    'a.md',
    'Apis\nText.\n',
    'changes/a.md:1: expected one of Alerts, API, Dashboard, Watching, Delivery, Running, got "Apis"',
  ],
  ['a.md', '', 'changes/a.md:1: expected one of Alerts'],
  ['a.md', 'API\n', 'changes/a.md:2: expected what users notice, but it is missing'],
  [
    'a.md',
    'API\n- Text.\n',
    'changes/a.md: expected one paragraph without headings and lists, got "- Text."',
  ],
  ['a.md', 'API\nText.\n\nMore.\n', 'changes/a.md: expected one paragraph'],
])('a release refuses changes/%s with the text %j', async (name, text, message) => {
  write({ [`changes/${name}`]: text, 'CHANGELOG.md': '# Changelog\n\n## Unreleased\n' });
  await expect(release(root, ['0.2.0', '2026-12-01'])).rejects.toThrow(message);
  expect(readdirSync(join(root, 'changes'))).toEqual([name]);
  expect(changelog()).toBe('# Changelog\n\n## Unreleased\n');
});

test('a release refuses a version that is none, one that is there already, and a changelog without a place for it', async () => {
  write({ 'CHANGELOG.md': '# Changelog\n\n## Unreleased\n\n## 0.1.0 (2026-01-01)\n' });
  await expect(release(root, [])).rejects.toThrow('expected a version and a date');
  await expect(release(root, ['0.2', '2026-12-01'])).rejects.toThrow('expected a version');
  await expect(release(root, ['0.2.0', 'today'])).rejects.toThrow('expected a version and a date');
  await expect(release(root, ['0.1.0', '2026-12-01'])).rejects.toThrow('a version 0.1.0 already');
  write({ 'CHANGELOG.md': '# Changelog\n' });
  await expect(release(root, ['0.2.0', '2026-12-01'])).rejects.toThrow('## Unreleased');
});

test('a release gathers the files of changes/ behind what was unreleased, and removes them', async () => {
  write({
    'CHANGELOG.md': `# Changelog

## Unreleased

${POINTER}

**Look here first.** A word.

### API

- What is old
  in two lines.
- More.

### Running

- Last.

## 0.1.0 (2026-01-01)

### API

- Earliest.
`,
    'changes/b-fix.md': 'API\n\nA route is new\nand in two lines.\n',
    'changes/a-page.md': 'Dashboard\nA page is new.\n',
  });
  await release(root, ['0.2.0', '2026-12-01']);
  expect(changelog()).toBe(`# Changelog

## Unreleased

${POINTER}

## 0.2.0 (2026-12-01)

**Look here first.** A word.

### API

- What is old
  in two lines.
- More.
- A route is new
  and in two lines.

### Dashboard

- A page is new.

### Running

- Last.

## 0.1.0 (2026-01-01)

### API

- Earliest.
`);
  expect(readdirSync(root).toSorted()).toEqual(['CHANGELOG.md', 'changes']);
  expect(readdirSync(join(root, 'changes'))).toEqual([]);
});
