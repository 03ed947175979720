import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { RunSkimmer } from '../../src/fetch/skim.ts';
import { anyText } from '../support/any-text.ts';

const PAGE = { fieldDepth: 3, fields: { has: () => true }, maxKeptBytes: 1_048_576 };

/** Skims a text that arrives in pieces of this many bytes. */
function skim(text: string, pieceBytes = 65_536, options: Options = PAGE): RunSkimmer {
  const skimmer = new RunSkimmer(options);
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    skimmer.push(bytes.subarray(at, at + pieceBytes));
  }
  return skimmer;
}

type Options = ConstructorParameters<typeof RunSkimmer>[0];

/** A run without nested values. */
function flat(run: Record<string, unknown>) {
  return Object.fromEntries(
    Object.entries(run).map(([name, value]) => [name, typeof value === 'object' ? null : value]),
  );
}

describe('skimming a page of runs', () => {
  test('skimming keeps the flat fields of each run, wherever the bytes are split', () => {
    const run = fc.dictionary(anyText(), fc.jsonValue());
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

  test('skimming drops overlong strings, and keeps their neighbours', () => {
    const items = [{ id: 'a', input: '\\"'.repeat(50_000), status: 'running' }];
    const { items: skimmed } = JSON.parse(skim(JSON.stringify({ items }), 1_000).text());
    expect(skimmed).toEqual([{ id: 'a', input: null, status: 'running' }]);
  });

  test('brackets and quotes in strings do not mislead skimming', () => {
    const items = [{ id: '}]"\\', more: { text: '{"[' }, status: '{' }];
    const { items: skimmed } = JSON.parse(skim(JSON.stringify({ items })).text());
    expect(skimmed).toEqual([{ id: '}]"\\', more: null, status: '{' }]);
  });

  test('skimming gives the complete runs of a truncated page', () => {
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
    'skimming finds no valid page in %j',
    (text) => {
      expect(() => JSON.parse(skim(text).text())).toThrow(SyntaxError);
    },
  );

  test.each([1, 3])('skimming keeps only the wanted fields, at depth %i', (fieldDepth) => {
    const name = fc.oneof(fc.constantFrom('id', 'status'), anyText());
    const run = fc.dictionary(name, fc.jsonValue());
    const options = { fieldDepth, fields: new Set(['id', 'status']), maxKeptBytes: 65_536 };
    fc.assert(
      fc.property(run, fc.integer({ min: 1, max: 40 }), fc.boolean(), (given, bytes, isSpaced) => {
        const body = fieldDepth === 1 ? given : { items: [given, given], total: 2 };
        const text = JSON.stringify(body, null, isSpaced ? 2 : 0);
        const skimmed = JSON.parse(skim(text, bytes, options).text());
        const wanted = Object.entries(flat(JSON.parse(JSON.stringify(given))));
        const expected = Object.fromEntries(wanted.filter(([key]) => options.fields.has(key)));
        const whole = fieldDepth === 1 ? expected : { items: [expected, expected], total: 2 };
        expect(skimmed).toEqual(whole);
      }),
      { numRuns: 300 },
    );
  });

  test("skimming keeps a run's fields however large its input is", () => {
    const fields = new Set(['id', 'status']);
    const text = JSON.stringify({
      ...Object.fromEntries(
        Array.from({ length: 9_000 }, (_, at) => [`flat-${at}`, 'x'.repeat(9)]),
      ),
      input: 'x'.repeat(500_000),
      id: 'a',
      definitions: { nodes: Array.from({ length: 9_000 }, () => ({ id: 'b', status: '}' })) },
      status: 'running',
    });
    const skimmer = skim(text, 65_536, { fieldDepth: 1, fields, maxKeptBytes: 1_024 });
    expect(JSON.parse(skimmer.text())).toEqual({ id: 'a', status: 'running' });
  });

  test('skimming holds no more memory than a page of flat fields may take', () => {
    const items = Array.from({ length: 200_000 }, (_, at) => ({ id: `run-${at}` }));
    const skimmer = skim(JSON.stringify({ items }));
    expect(skimmer.isFull).toBe(true);
    expect(skimmer.text().length).toBeLessThanOrEqual(1_048_576);
  });
});
