import type { Colors } from '../cli/context.ts';
import type { Display } from './display.ts';
import { render, widthOf, type Line } from './line.ts';
import { renderTable, type View } from './table.ts';

const HIDE_CURSOR = '\x1b[?25l';
const SHOW_CURSOR = '\x1b[?25h';
const CLEAR_REST_OF_LINE = '\x1b[K';
const CLEAR_BELOW = '\x1b[J';

/** The size assumed for a terminal that reports none. */
const USUAL = { columns: 80, rows: 24 };

/** A terminal, with its present size. */
interface Terminal {
  write(text: string): unknown;
  columns?: number;
  rows?: number;
}

/**
 * For a terminal: lines scroll above a table that is redrawn in place. Every frame is a single
 * write that overwrites in place, so that nothing flickers.
 */
export function createScreen(terminal: Terminal, colors: Colors): Display {
  let view: View | null = null;
  /** The table on the screen, above the cursor. */
  let drawn: Line[] = [];
  let closed = false;

  const draw = (above: readonly Line[]) => {
    const { columns = USUAL.columns, rows = USUAL.rows } = terminal;
    const table = view === null ? [] : renderTable(view, { columns, lines: rows });
    const lines = [...above, ...table].map((line) => render(line, colors) + CLEAR_REST_OF_LINE);
    const frame = lines.map((line) => `${line}\n`).join('');
    terminal.write(HIDE_CURSOR + upOver(drawn, columns) + frame + CLEAR_BELOW);
    drawn = table;
  };

  return {
    write(line) {
      if (closed) terminal.write(`${render(line, colors)}\n`);
      else draw([line]);
    },
    update(next) {
      if (closed) return;
      view = next;
      draw([]);
    },
    close() {
      if (closed) return;
      closed = true;
      terminal.write(SHOW_CURSOR);
    },
  };
}

/** Moves to the table's first line; a window made smaller has wrapped lines that were too long. */
function upOver(table: readonly Line[], columns: number): string {
  const height = table.reduce(
    (sum, line) => sum + Math.max(1, Math.ceil(widthOf(line) / columns)),
    0,
  );
  return height === 0 ? '\r' : `\r\x1b[${height}A`;
}
