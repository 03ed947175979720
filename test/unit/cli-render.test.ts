import { readFileSync } from 'node:fs';
import { Writable } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { outputOf } from '../../src/cli/output.ts';
import { eventLine } from '../../src/cli/render/events.ts';
import { fitWidths, renderFields, renderTable, type Column } from '../../src/cli/render/table.ts';
import { isPlain } from '../../src/core/control-characters.ts';
import { lasting, paint, plain, reflowed, relative, roughly } from '../../src/cli/render/text.ts';
import type { EventView } from '../../src/client/types.ts';
import { sampleEvent, sampleRun } from '../support/api-samples.ts';
import { anyText } from '../support/any-text.ts';

function output(columns: number | undefined, noColor = false) {
  const stream = Object.assign(new Writable({ write: (_c, _e, done) => done() }), {
    isTTY: columns !== undefined,
    ...(columns !== undefined && { columns }),
  });
  return outputOf(stream, { noColor });
}

const COLUMNS = [
  {
    head: 'ONE',
    value: (row: string[]) => row[0]!,
    paint: (text: string) => `\u001b[31m${text}\u001b[39m`,
  },
  { head: 'TWO', value: (row: string[]) => row[1]! },
  { head: 'N', value: (row: string[]) => row[2]!, align: 'right' as const },
];

describe('fitting columns', () => {
  const width = fc.record({
    natural: fc.integer({ min: 1, max: 200 }),
    keep: fc.constantFrom(undefined, 'always' as const, 'whole' as const),
  });

  test('a fitted table cuts no id, and exceeds the width only by columns that it must keep', () => {
    const columns = fc.array(width, { minLength: 1, maxLength: 9 });
    fc.assert(
      fc.property(columns, fc.integer({ min: 1, max: 400 }), (all, available) => {
        const fitted = fitWidths(all, available);
        const shown = fitted.filter((one) => one !== null);
        const total = shown.reduce((sum, one) => sum + one, 2 * (shown.length - 1));
        for (const [at, { natural, keep }] of all.entries()) {
          const one = fitted[at];
          if (keep === 'always') expect(one).toBe(natural);
          else if (keep === 'whole') expect([natural, null]).toContain(one);
          else expect(one ?? 0).toBeLessThanOrEqual(natural);
        }
        const staying = all.filter(({ keep }, at) => at === 0 || keep === 'always').length;
        expect(total <= available || shown.length === staying).toBe(true);
      }),
    );
  });

  test('fitting columns cuts texts before it leaves a column out, and leaves out the last first', () => {
    const id = { natural: 36, keep: 'always' as const };
    const texts = [{ natural: 30 }, { natural: 20 }];
    expect(fitWidths([id, ...texts], 90)).toEqual([36, 30, 20]);
    expect(fitWidths([id, ...texts], 70)).toEqual([36, 15, 15]);
    expect(fitWidths([id, ...texts], 60)).toEqual([36, 22, null]);
    expect(fitWidths([id, ...texts], 20)).toEqual([36, null, null]);
  });
});

describe('a table', () => {
  test('a table links on a terminal to what can be opened, and to nothing else', () => {
    const link = (row: string[]) => row[1] ?? null;
    const columns = [{ head: 'ONE', value: (row: string[]) => row[0]!, link }];
    const url = 'https://app.example/runs/a b\u001bc';
    expect(renderTable([['x', url]], columns, output(80))).toContain(
      '\u001b]8;;https://app.example/runs/a%20b%1Bc\u0007x',
    );
    expect(renderTable([['x', url]], columns, output(undefined))).toBe('ONE\nx\n');
    expect(renderTable([['x', 'javascript:1']], columns, output(80))).not.toContain(']8;;');
  });

  test('a table names the columns that it leaves out', () => {
    const id = { ...COLUMNS[0]!, keep: 'always' as const };
    const text = renderTable(
      [['a'.repeat(36), 'b'.repeat(30), '7']],
      [id, ...COLUMNS.slice(1)],
      output(45),
    );
    expect(stripVTControlCharacters(text)).toContain('(--wide also shows two, n)');
  });

  const TWO_ROWS = [
    ['x', 'same', '5'],
    ['y', 'same', '0'],
  ];

  test('a table on a terminal says once, below, what every row has in common', () => {
    const text = stripVTControlCharacters(renderTable(TWO_ROWS, COLUMNS, output(40)));
    expect(text).toBe('ONE  N\nx    5\ny    0\n(in every row: two same)\n');
    const none = TWO_ROWS.map(([one = '', , n = '']) => [one, '-', n]);
    expect(stripVTControlCharacters(renderTable(none, COLUMNS, output(40)))).toBe(
      'ONE  N\nx    5\ny    0\n',
    );
  });

  test('a table keeps what every row has in common in a pipe, in one row alone, and where time made it so', () => {
    expect(renderTable(TWO_ROWS, COLUMNS, output(undefined))).toMatch(/^ONE +TWO +N\n/);
    const head = (rows: string[][], columns: Column<string[]>[]) =>
      stripVTControlCharacters(renderTable(rows, columns, output(40))).split('\n')[0];
    expect(head(TWO_ROWS.slice(1), COLUMNS)).toMatch(/TWO/);
    const passing = COLUMNS.map((one) => ({ ...one, passes: true as const }));
    expect(head(TWO_ROWS, passing)).toMatch(/TWO/);
    const none = TWO_ROWS.map(([one = '', , n = '']) => [one, '-', n]);
    expect(head(none, passing)).not.toMatch(/TWO/);
  });

  test('what a table says below it is broken between words at the width of the terminal', () => {
    const rows = TWO_ROWS.map(([one = '', , n = '']) => [one, 'b '.repeat(40).trim(), n]);
    const lines = stripVTControlCharacters(renderTable(rows, COLUMNS, output(40))).split('\n');
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(40);
    expect(lines.slice(3).join(' ')).toContain(`(in every row: two ${rows[0]?.[1]})`);
  });

  test('a table fits the terminal, and marks what it cut', () => {
    const rows = [['a'.repeat(20), 'b'.repeat(30), '7']];
    const lines = stripVTControlCharacters(renderTable(rows, COLUMNS, output(40))).split('\n');
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(40);
    expect(lines[1]).toMatch(/^a+… {2}b+… {2}7$/);
  });

  test('a table is not cut without a terminal', () => {
    const rows = [['a'.repeat(300), 'b', '7']];
    expect(renderTable(rows, COLUMNS, output(undefined))).toContain('a'.repeat(300));
  });

  test('a table aligns its columns, with numbers on the right', () => {
    const rows = [
      ['x', 'y', '5'],
      ['xxxx', 'yy', '1234'],
    ];
    const text = stripVTControlCharacters(renderTable(rows, COLUMNS, output(undefined)));
    expect(text).toBe('ONE   TWO     N\nx     y       5\nxxxx  yy   1234\n');
  });

  test('a table shows control characters of foreign text as marks', () => {
    const rows = [['a\u001b[2Jb\nc', '', '']];
    const text = renderTable(rows, COLUMNS.slice(1), output(undefined));
    expect(text).not.toContain('\u001b');
    expect(renderTable([['x', '\u001b[2J\n', '']], COLUMNS.slice(1), output(undefined))).toContain(
      '\u{fffd}[2J\u{fffd}',
    );
  });
});

describe('fields', () => {
  test("a field's value of several lines is indented under its label", () => {
    const text = renderFields(
      [
        ['a', '1'],
        ['long', 'x\ny'],
      ],
      output(undefined),
    );
    expect(text).toBe('a     1\nlong  x\n      y\n');
  });
});

describe('an event', () => {
  const what = (details: Partial<EventView['data']>) =>
    eventLine(sampleEvent('evt_1', details), output(undefined), (id) => id).split('run-1  ')[1];

  test("an event's line says what happened to the run, and how long it took for an end", () => {
    const run = sampleRun({ status: 'running', progress: 40 });
    expect(what({})).toBe('running → completed, 100%');
    expect(what({ run, lasted_ms: 5_400_000, usual_ms: 300_000 })).toBe(
      'running, 40%, for 1h 30m, usually 5m at most',
    );
    expect(what({ run, lasted_ms: 5_400_000, usual_ms: null })).toBe('running, 40%, for 1h 30m');
    expect(what({ run, reminder: 2, waited_ms: 86_400_000 })).toBe(
      'running, 40%, reminder 2, waited 1d',
    );
  });
});

describe('colour', () => {
  test('colour appears on a terminal, and neither in a pipe nor with NO_COLOR', () => {
    expect(output(80).colors.red('x')).not.toBe('x');
    expect(output(undefined).colors.red('x')).toBe('x');
    expect(output(80, true).colors.red('x')).toBe('x');
  });
});

describe('help', () => {
  test('no line of a help is wider than 80 columns, and each says first what its verb does', () => {
    const help = readFileSync(new URL('../goldens/help.txt', import.meta.url), 'utf8');
    expect(help.split('\n').filter((line) => line.length > 80)).toEqual([]);
    const verbs = help.split(/^=== .* --help$/m).slice(1);
    expect(verbs.length).toBeGreaterThan(40);
    for (const verb of verbs) expect(verb).toMatch(/^\nUsage: .+\n\n[A-Z]/);
  });

  test('paragraphs are broken anew where a line is too wide, and examples stay', () => {
    const text =
      'One two three.\nFour five.\n\nSix.\nSeven.\n\nExamples:\n  eight nine ten eleven\n';
    expect(reflowed(text, 12)).toBe(
      'One two\nthree. Four\nfive.\n\nSix.\nSeven.\n\nExamples:\n  eight nine ten eleven\n',
    );
    expect(reflowed(text, 80)).toBe(text);
  });
});

describe('text', () => {
  test.each(['__proto__', 'constructor', 'toString'])('the status %s has no colour', (status) => {
    expect(paint(status, status, output(80).colors)).toBe(status);
  });

  test.each(['\u202e', '\u2066', '\u009b', '\u007f', '\u2028', '\u0000'])(
    'the character %j is shown as a mark',
    (character) => expect(plain(`a${character}b`)).toBe('a\u{fffd}b'),
  );

  test('plain text holds nothing that a terminal would act on', () => {
    fc.assert(
      fc.property(anyText(), (text) => {
        expect(isPlain(plain(text))).toBe(true);
        expect(plain(plain(text))).toBe(plain(text));
      }),
    );
  });

  test.each([
    [499, '0s'],
    [999, '1s'],
    [59_999, '1m'],
    [60_000, '1m'],
    [3_599_999, '1h'],
    [7_140_000, '1h 59m'],
    [7_199_900, '2h'],
    [86_399_999, '1d'],
    [604_799_000, '7d'],
    [-5, '0s'],
  ])('%d ms round to %s', (ms, text) => {
    expect(roughly(ms)).toBe(text);
  });

  test.each([
    [0, '0ms'],
    [812.4, '812ms'],
    [999.6, '1.0s'],
    [1_540, '1.5s'],
    [9_960, '10s'],
    [59_600, '1m'],
    [65_000, '1m 5s'],
    [7_325_000, '2h 2m'],
    [90_000_000, '1d 1h'],
  ])('%d ms last %s', (ms, text) => {
    expect(lasting(ms)).toBe(text);
  });

  test.each([
    [null, '-'],
    ['1970-01-01T00:00:10.000Z', 'now'],
    ['1970-01-01T00:00:00.000Z', '10s ago'],
    ['1970-01-01T00:05:10.000Z', 'in 5m'],
    ['1970-01-01T02:00:09.900Z', 'in 2h'],
    ['1970-01-01T01:59:10.000Z', 'in 1h 59m'],
    ['never\u0007', 'never\u{fffd}'],
  ])('the time %s, ten seconds later, is shown as %s', (iso, text) => {
    expect(relative(iso, 10_000)).toBe(text);
  });
});
