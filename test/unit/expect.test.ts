import { jestExpect } from '@jest/expect';
import { describe, expect, it } from '@jest/globals';

const throwing = () => {
  throw new Error('full');
};
const CASES: [actual: unknown, matcher: string, ...expected: unknown[]][] = [
  [1, 'toBe', 1],
  [NaN, 'toBe', NaN],
  [0, 'toBe', -0],
  [{ a: [1, undefined] }, 'toEqual', { a: [1, undefined], b: undefined }],
  [{ a: 1 }, 'toEqual', { a: 2 }],
  [new Map([[1, [2]]]), 'toEqual', new Map([[1, [3]]])],
  [{ a: 'xyz' }, 'toEqual', { a: jestExpect.stringContaining('y') }],
  [{ a: undefined }, 'toStrictEqual', {}],
  [{ a: 1, b: [{ c: 2, d: 3 }] }, 'toMatchObject', { b: [{ c: 2 }] }],
  [{ a: 1 }, 'toMatchObject', { a: 2 }],
  [null, 'toMatchObject', {}],
  ['abc', 'toContain', 'b'],
  [['abc'], 'toContain', 'b'],
  [null, 'toContain', 'b'],
  [[{ a: 1 }], 'toContainEqual', { a: 1 }],
  ['abc', 'toMatch', /B/],
  [[1, 2], 'toHaveLength', 3],
  [{}, 'toHaveLength', 3],
  [{ a: { b: 1 } }, 'toHaveProperty', 'a.b'],
  [{ a: { b: 1 } }, 'toHaveProperty', 'a.b', 2],
  [2, 'toBeGreaterThan', 1],
  ['2', 'toBeLessThanOrEqual', 1],
  [0.3, 'toBeCloseTo', 0.1 + 0.2],
  [null, 'toBeNull'],
  [undefined, 'toBeDefined'],
  [throwing, 'toThrow', 'full'],
  [throwing, 'toThrow', 'empty'],
  [() => 1, 'toThrow'],
];

/** What a matcher throws, or null. */
function thrownBy(expectation: object, matcher: string, expected: unknown[]): Error | null {
  try {
    (expectation as Record<string, (...args: unknown[]) => void>)[matcher]?.(...expected);
    return null;
  } catch (error) {
    return error as Error;
  }
}

/** The message of that, without places in files. */
function wordsOf(...thrown: Parameters<typeof thrownBy>): string | undefined {
  return thrownBy(...thrown)?.message.replaceAll(/^ +at .*$\n?/gm, '');
}

describe("the suite's expect", () => {
  it.each(CASES)('holds of %p as that of jest does: %s %p', (actual, matcher, ...expected) => {
    const is = wordsOf(jestExpect(actual), matcher, expected);
    const isNot = wordsOf(jestExpect(actual).not, matcher, expected);
    expect([is, isNot]).not.toEqual([undefined, undefined]);
    expect(wordsOf(expect(actual), matcher, expected)).toBe(is);
    expect(wordsOf(expect(actual).not, matcher, expected)).toBe(isNot);
  });

  it('points at the line of the test', () => {
    const lines = thrownBy(expect(1), 'toBe', [2])?.stack?.split('\n') ?? [];
    expect(lines.find((line) => line.startsWith('    at '))).toContain('expect.test.ts');
  });

  it('calls a function that is expected to throw once', () => {
    let calls = 0;
    const count = () => {
      calls += 1;
    };
    expect(thrownBy(expect(count), 'toThrow', [])).not.toBeNull();
    expect(calls).toBe(1);
  });

  it('fails of what holds only when it is read again', () => {
    const once = [1].values();
    expect(thrownBy(expect(once).not, 'toContain', [1])).not.toBeNull();
  });
});
