import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { openEnvironment, expand } from '../../src/config/environment.ts';

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'runwatch-expand-'));
  writeFileSync(join(directory, 'secret'), 'from the file\r\n\n');
  writeFileSync(join(directory, 'empty'), '\n');
});

afterAll(() => rmSync(directory, { recursive: true }));

function expandWith(source: string, env: NodeJS.ProcessEnv) {
  const environment = openEnvironment(env, directory);
  return { expansion: expand(source, environment), problems: environment.problems() };
}

function textOf(source: string, env: NodeJS.ProcessEnv = {}): string | null {
  const { expansion } = expandWith(source, env);
  return expansion.kind === 'text' ? expansion.text : null;
}

describe('references to environment variables', () => {
  test("a reference expands to the variable's value, anywhere in the text", () => {
    expect(textOf('${A}', { A: 'x' })).toBe('x');
    expect(textOf('a-${A}-${B}-c', { A: 'x', B: 'y' })).toBe('a-x-y-c');
  });

  test("a reference's default applies only where the variable is unset or empty", () => {
    expect(textOf('${A:-fallback}')).toBe('fallback');
    expect(textOf('${A:-fallback}', { A: '' })).toBe('fallback');
    expect(textOf('${A:-fallback}', { A: 'x' })).toBe('x');
    expect(textOf('http://${HOST:-localhost}:${PORT:-80}/')).toBe('http://localhost:80/');
    expect(textOf('a${A:-}b')).toBe('ab');
  });

  test('a value that is only a reference to an unset variable is absent', () => {
    for (const [source, hasDefault] of [
      ['${A}', false],
      ['${A:-}', true],
    ] as const) {
      expect(expandWith(source, { A: '' }).expansion).toEqual({
        kind: 'absent',
        reference: { variable: 'A', secret: false, failed: false, hasDefault },
      });
    }
  });

  test('an unset variable within a longer text is an error that names it', () => {
    const { expansion } = expandWith('https://${A}/', {});
    expect(expansion).toMatchObject({
      kind: 'unset',
      message: expect.stringContaining('A is not'),
    });
  });

  test('a doubled dollar sign escapes a reference', () => {
    expect(textOf('$${A}', { A: 'x' })).toBe('${A}');
    expect(textOf('$${A} ${A}', { A: 'x' })).toBe('${A} x');
    expect(textOf('$A $$ $', { A: 'x' })).toBe('$A $$ $');
  });

  test("a variable's value is not expanded again", () => {
    expect(textOf('${A}', { A: '${B} $${B} $&', B: 'y' })).toBe('${B} $${B} $&');
  });

  test.each(['${', '${}', '${1A}', '${A', '${A-b}', '${A:b}', 'x ${ A }'])(
    'a malformed reference is an error: %s',
    (source) => {
      expect(expandWith(source, { A: 'x' }).expansion.kind).toBe('invalid');
    },
  );

  test('the file of NAME_FILE replaces an unset NAME, without its last newlines', () => {
    expect(textOf('${A}', { A_FILE: 'secret' })).toBe('from the file');
    expect(textOf('${A}', { A_FILE: join(directory, 'secret') })).toBe('from the file');
    expect(textOf('${A}', { A: 'x', A_FILE: 'secret' })).toBe('x');
  });

  test('an empty or unreadable secret file is reported by its variable and path', () => {
    const missing = expandWith('${A}', { A_FILE: 'nowhere' });
    expect(missing.expansion).toMatchObject({ kind: 'absent', reference: { failed: true } });
    const [problem] = missing.problems;
    expect(problem).toMatchObject({
      path: ['A_FILE'],
      message: expect.stringMatching(/nowhere.*ENOENT/),
    });
    const empty = expandWith('${A} ${A}', { A_FILE: 'empty' });
    expect(empty.problems).toHaveLength(1);
    expect(empty.problems[0]?.message).toContain('is empty');
  });

  test('text without a dollar sign is never changed', () => {
    fc.assert(
      fc.property(
        fc.string().filter((text) => !text.includes('${')),
        (text) => {
          expect(textOf(text)).toBe(text);
        },
      ),
    );
  });

  test('escaping any text and expanding it returns the text', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('$', '{', '}', 'A', ':-', ' ')), (parts) => {
        const text = parts.join('');
        // A dollar sign right before the escape would belong to it.
        fc.pre(!text.includes('$${'));
        expect(
          textOf(
            text.replaceAll('${', () => '$${'),
            { A: 'x' },
          ),
        ).toBe(text);
      }),
    );
  });
});
