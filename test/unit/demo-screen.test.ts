import pc from 'picocolors';
import { describe, expect, test } from '@jest/globals';
import { render, widthOf } from '../../src/demo/line.ts';
import {
  createLines,
  createScreen,
  renderTable,
  type Row,
  type View,
} from '../../src/demo/screen.ts';

const PLAIN = pc.createColors(false);
const COLORS = pc.createColors(true);
// oxlint-disable-next-line no-control-regex
const ESCAPES = /\x1b\[[?\d;]*[A-Za-z]/g;

function row(
  name: string,
  change: Partial<Row> & { status?: string; progress?: number } = {},
): Row {
  const { status = 'running', progress = 50, ...rest } = change;
  const run = { status, progress } as NonNullable<NonNullable<Row['watch']>['run']>;
  return { name, watch: { state: 'active', run, error: null }, received: 0, expected: 1, ...rest };
}

function view(rows: Row[]): View {
  return { rows, elapsedMs: 4_321, requests: 17 };
}

function textOf(rows: Row[], columns = 80, lines = 24): string[] {
  return renderTable(view(rows), { columns, lines }).map((line) => render(line, PLAIN).trimEnd());
}

describe('table of the demo', () => {
  test("the demo's table shows each run's progress, and its last event", () => {
    const rows = [
      row('completes'),
      row('remains queued', { expected: 0, status: 'queued', progress: 0 }),
    ];
    expect(textOf(rows)).toEqual([
      '',
      ' a run that             progress              status            webhooks',
      ' completes              ███████░░░░░░░  50 %  running             0 of 1',
      ' remains queued         ░░░░░░░░░░░░░░   0 %  queued            none expected',
      ' 0 of 1 webhooks verified  ·  17 requests to Noxus  ·  4.3 s',
    ]);
  });

  test.each([
    ['what the daemon cannot tell', { code: 'unavailable' }, 'no answer'],
    ['a pause', { code: 'rate_limited' }, 'throttled (429)'],
    ['a run that is not there for the moment', { code: 'not_found' }, 'gone? (404)'],
  ])("the demo's table names %s instead of the status", (_what, { code }, shown) => {
    const error = { code, message: '', since: '' };
    const watch = { state: 'active' as const, run: null, error };
    expect(textOf([row('a', { watch })])[2]).toContain(shown);
  });

  test.each([['gone'], ['expired']] as const)(
    "the demo's table says that a watch is %s",
    (state) => {
      const watch = { state, run: null, error: null };
      expect(textOf([row('a', { watch, received: 1 })])[2]).toMatch(
        new RegExp(`${state} .*✔ 1 of 1$`),
      );
    },
  );

  test('progress outside 0 to 100 fills the bar or leaves it empty', () => {
    const [, , over, under] = textOf([row('a', { progress: 900 }), row('b', { progress: -3 })]);
    expect(over).toContain('██████████████ 100 %');
    expect(under).toContain('░░░░░░░░░░░░░░   0 %');
  });

  test.each([[20], [40], [60], [80], [200]])("the demo's table fits into %d columns", (columns) => {
    const table = renderTable(view([row('has an unknown status')]), { columns, lines: 24 });
    expect(Math.max(...table.map(widthOf))).toBeLessThan(columns);
  });

  test("the demo's table counts rows without room", () => {
    const rows = Array.from({ length: 14 }, (_, at) => row(`run ${at}`));
    const lines = textOf(rows, 80, 10);
    expect(lines).toHaveLength(9);
    expect(lines.at(-2)).toBe(' and 9 more');
    expect(lines.at(-3)).toContain('run 4');
  });
});

/** What a terminal shows after all of this output. */
function play(written: string): string[] {
  const screen: string[] = [];
  let at = 0;
  // oxlint-disable-next-line no-control-regex
  for (const [token] of written.matchAll(/\x1b\[[?\d;]*[A-Za-z]|\n|\r|[^\x1b\n\r]+/g)) {
    // oxlint-disable-next-line no-control-regex
    const up = /^\x1b\[(\d+)A$/.exec(token)?.[1];
    if (up !== undefined) at -= Number(up);
    else if (token === '\n') at += 1;
    else if (token === '\x1b[J') screen.splice(at);
    else if (!token.startsWith('\x1b') && token !== '\r') screen[at] = token;
    else if (token === '\x1b[K') screen[at] ??= '';
  }
  return screen.map((line) => line.trimEnd());
}

describe('the screen of the demo', () => {
  function open({ columns = 80, rows = 24 } = {}) {
    let written = '';
    const terminal = { columns, rows, write: (text: string) => (written += text) };
    return { terminal, screen: createScreen(terminal, PLAIN), written: () => written };
  }

  test("the demo's screen redraws the table in place, and prints lines above it", () => {
    const { screen, written } = open();
    screen.update(view([row('completes', { progress: 10 })]));
    screen.write([{ text: 'something happened' }]);
    screen.update(view([row('completes', { progress: 90 })]));
    const shown = play(written());
    expect(shown[0]).toBe('something happened');
    expect(shown).toHaveLength(5);
    expect(shown[3]).toContain('90 %');
  });

  test('a demo table that becomes shorter leaves no old lines behind', () => {
    const { screen, written } = open();
    screen.update(view([row('a'), row('b'), row('c')]));
    screen.update(view([row('a')]));
    expect(play(written())).toHaveLength(4);
  });

  test("the demo's screen finds the table's top after the window became narrower", () => {
    const { screen, terminal, written } = open();
    screen.update(view([row('a')]));
    const before = written().length;
    terminal.columns = 40;
    screen.update(view([row('a')]));
    // Four lines, three of them wider than the window now.
    expect(written().slice(before)).toContain('\x1b[7A');
  });

  test("the demo's screen restores the cursor, once, and goes on in plain lines", () => {
    const { screen, written } = open();
    screen.update(view([row('a')]));
    expect(written()).toContain('\x1b[?25l');
    const before = written().length;
    screen.close();
    screen.close();
    screen.update(view([row('b')]));
    screen.write([{ text: 'the end' }]);
    expect(written().slice(before)).toBe('\x1b[?25hthe end\n');
  });
});

describe('plain lines', () => {
  test('plain demo lines hold no control characters, and no table', () => {
    let written = '';
    const lines = createLines((text) => (written += text));
    lines.write([{ text: 'red', style: (text, colors) => colors.red(text) }, { text: '  ' }]);
    lines.update(view([row('a')]));
    lines.close();
    expect(written).toBe('red\n');
  });
});

describe('a styled line', () => {
  test("a styled line's width is that of its visible text", () => {
    const [, , line] = renderTable(view([row('a')]), { columns: 80, lines: 24 });
    expect(render(line!, COLORS)).not.toBe(render(line!, PLAIN));
    expect(render(line!, COLORS).replaceAll(ESCAPES, '')).toHaveLength(widthOf(line!));
  });
});
