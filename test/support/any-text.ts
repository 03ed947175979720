import fc from 'fast-check';

const SURROGATES = { from: 0xd800, count: 0x800 };
const MOST = 0x10ffff - SURROGATES.count;

const character = fc.integer({ min: 0, max: MOST }).map(
  (at) => String.fromCodePoint(at < SURROGATES.from ? at : at + SURROGATES.count),
  (text) => {
    const point = typeof text === 'string' ? (text.codePointAt(0) ?? -1) : -1;
    if (point < 0 || text !== String.fromCodePoint(point)) throw new Error('no character');
    return point < SURROGATES.from ? point : point - SURROGATES.count;
  },
);

/**
 * Any text, as `fc.string({ unit: 'binary' })`, which first makes a table of a million characters for
 * each use.
 */
export function anyText(constraints: { maxLength?: number } = {}): fc.Arbitrary<string> {
  return fc.string({ ...constraints, unit: character });
}
