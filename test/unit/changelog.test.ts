import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { POINTER, readChanges, versionsIn, withRelease } from '../../scripts/changelog.ts';

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

test('each file of changes/ begins with a section of the changelog and has one paragraph', async () => {
  await expect(readChanges(ROOT)).resolves.toEqual(expect.any(Array));
});

test('the changelog says where unreleased changes are, and a release finds its place in it', () => {
  const changelog = readFileSync(join(ROOT, 'CHANGELOG.md'), 'utf8');
  expect(changelog).toContain(`\n## Unreleased\n\n${POINTER}\n`);
  const released = withRelease(changelog, { version: '99.0.0', date: '2026-12-01', changes: [] });
  expect(released).toContain(`\n## Unreleased\n\n${POINTER}\n\n## 99.0.0 (2026-12-01)\n\n`);
  expect(versionsIn(released)).toEqual(['99.0.0', ...versionsIn(changelog)]);
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
])('changes/%s with the text %j is refused', async (name, text, message) => {
  write({ [`changes/${name}`]: text });
  await expect(readChanges(root)).rejects.toThrow(message);
});

test('a release refuses a changelog without a place for it, or with an unknown section', () => {
  const entry = { version: '0.2.0', date: '2026-12-01', changes: [] };
  expect(() => withRelease('# Changelog\n', entry)).toThrow('## Unreleased');
  expect(() => withRelease('# Changelog\n\n## Unreleased\n\n### Apis\n\n- A\n', entry)).toThrow(
    'got ### Apis',
  );
});

test('a release gathers the files of changes/ behind what was unreleased', async () => {
  const before = `# Changelog

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
`;
  write({
    'changes/b-fix.md': 'API\n\nA route is new\nand in two lines.\n',
    'changes/a-page.md': 'Dashboard\nA page is new.\n',
  });
  const changes = await readChanges(root);
  expect(withRelease(before, { version: '0.2.0', date: '2026-12-01', changes })).toBe(`# Changelog

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
});
