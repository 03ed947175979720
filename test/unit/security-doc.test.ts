import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';

const TESTS = join(import.meta.dirname, '..');
const DOCUMENT = readFileSync(join(TESTS, '../docs/security.md'), 'utf8');

const named = [...DOCUMENT.matchAll(/`([\w/-]+) › ([^`]+)`/g)];

test('each promise in docs/security.md names its tests', () => {
  const rows = DOCUMENT.split('\n').filter((line) => /^\| (?!promise|-)/.test(line));
  expect(rows.length).toBeGreaterThan(20);
  expect(rows.filter((row) => !row.includes(' › '))).toEqual([]);
  expect(named.length).toBeGreaterThan(40);
});

test.each(named.map(([, file = '', title = '']) => [title, file]))(
  'docs/security.md names the test "%s" in %s',
  (title, file) => {
    const path = join(TESTS, `${file}.test.ts`);
    expect([path, existsSync(path)]).toEqual([path, true]);
    const source = readFileSync(path, 'utf8');
    expect(source).toMatch(
      new RegExp(`(?:describe|it|test)(?:\\.each)?[^]*?['"\`]${escaped(title)}`),
    );
  },
);

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
