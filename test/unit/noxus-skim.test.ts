import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { PageSkimmer } from '../../src/noxus/skim.ts';

/** Skims a text that comes in pieces of so many bytes. */
function skim(text: string, pieceBytes = 65_536): PageSkimmer {
  const skimmer = new PageSkimmer();
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    skimmer.push(bytes.subarray(at, at + pieceBytes));
  }
  return skimmer;
}

/** A run with nothing in it that is nested. */
function flat(run: Record<string, unknown>) {
  return Object.fromEntries(
    Object.entries(run).map(([name, value]) => [name, typeof value === 'object' ? null : value]),
  );
}

describe('skimming a page of runs', () => {
  test('leaves the flat fields of each run, however the bytes are cut', () => {
    const run = fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue());
    const page = fc.record({ items: fc.array(run), total: fc.nat() });
    fc.assert(
      fc.property(page, fc.integer({ min: 1, max: 40 }), fc.boolean(), (given, bytes, isSpaced) => {
        const text = JSON.stringify(given, null, isSpaced ? 2 : 0);
        const skimmed = JSON.parse(skim(text, bytes).text());
        const expected = { ...given, items: given.items.map(flat) };
        expect(skimmed).toEqual(JSON.parse(JSON.stringify(expected)));
      }),
    );
  });

  test('drops strings that no id or status is as long as, and keeps their neighbours', () => {
    const items = [{ id: 'a', input: '\\"'.repeat(50_000), status: 'running' }];
    const { items: skimmed } = JSON.parse(skim(JSON.stringify({ items }), 1_000).text());
    expect(skimmed).toEqual([{ id: 'a', input: null, status: 'running' }]);
  });

  test('is not led astray by brackets and quotes in strings', () => {
    const items = [{ id: '}]"\\', more: { text: '{"[' }, status: '{' }];
    const { items: skimmed } = JSON.parse(skim(JSON.stringify({ items })).text());
    expect(skimmed).toEqual([{ id: '}]"\\', more: null, status: '{' }]);
  });

  test('gives the whole runs of a page that was cut off', () => {
    const items = ['a', 'b', 'c'].map((id) => ({ id, definitions: { text: 'x'.repeat(99) } }));
    const text = JSON.stringify({ items });
    const cut = skim(text.slice(0, text.indexOf('"c"') + 20));
    expect(JSON.parse(cut.textOfWholeRuns() ?? '')).toEqual({
      items: [
        { id: 'a', definitions: null },
        { id: 'b', definitions: null },
      ],
    });
    expect(skim(text.slice(0, 20)).textOfWholeRuns()).toBeNull();
  });

  test.each(['', '<html>', '{"items": [', '{"items": [{"id": "a}]}', '{"items": [{id: 1}]}', '\0'])(
    'makes nothing sound of %j',
    (text) => {
      expect(() => JSON.parse(skim(text).text())).toThrow(SyntaxError);
    },
  );

  test('holds no more than a page of flat fields may take', () => {
    const items = Array.from({ length: 200_000 }, (_, at) => ({ id: `run-${at}` }));
    const skimmer = skim(JSON.stringify({ items }));
    expect(skimmer.isFull).toBe(true);
    expect(skimmer.text().length).toBeLessThanOrEqual(1_048_576);
  });
});
