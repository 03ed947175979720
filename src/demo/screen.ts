import pc from 'picocolors';
import type { WatchView } from '../client/types.ts';
import type { Colors } from '../cli/context.ts';
import { plain } from '../cli/render/text.ts';
import {
  render,
  widthOf,
  type Line,
  BLANK,
  bold,
  dim,
  fit,
  inColorOf,
  seconds,
  text,
  type Span,
} from './line.ts';

/** Where the demo prints its progress. */
export interface Display {
  /** Prints a permanent line. */
  write(line: Line): void;
  /** Shows the present state. */
  update(view: View): void;
  /** Leaves the table on the screen and restores the cursor; lines go on below it. */
  close(): void;
}

/** One run as the table shows it. */
export interface Row {
  name: string;
  /** The daemon's watch; null before registration. */
  watch: Pick<WatchView, 'state' | 'run' | 'error'> | null;
  /** Webhooks that have arrived, and that are expected. */
  received: number;
  expected: number;
}

/** Everything that the live table shows. */
export interface View {
  rows: readonly Row[];
  elapsedMs: number;
  /** Requests to Noxus so far. */
  requests: number;
}

interface Room {
  columns: number;
  /** Lines of the terminal. */
  lines: number;
}

const NAME_WIDTH = 22;
const PERCENT_WIDTH = 5;
const STATUS_WIDTH = 16;
const RECEIVED_WIDTH = 15;
const GAPS = 7;

/** Lines besides those of the runs: a blank one, the header, the footer, and the cursor's line. */
const FRAME_LINES = 4;

/** The table as lines that fit; rows without room are counted. */
export function renderTable(view: View, { columns, lines }: Room): Line[] {
  const room = Math.max(lines - FRAME_LINES, 1);
  const cut = view.rows.length > room;
  const shown = cut ? view.rows.slice(0, room - 1) : view.rows;
  const barWidth = barWidthFor(columns);
  const table: Line[] = [
    BLANK,
    headLine(barWidth),
    ...shown.map((row) => rowLine(row, barWidth)),
    ...(cut ? [[dim(` and ${view.rows.length - shown.length} more`)]] : []),
    footLine(view),
  ];
  // The last column remains free: a terminal may break the line there.
  return table.map((line) => fit(line, columns - 1));
}

function barWidthFor(columns: number): number {
  const others = NAME_WIDTH + PERCENT_WIDTH + STATUS_WIDTH + RECEIVED_WIDTH + GAPS;
  return Math.min(Math.max(columns - 1 - others, 5), 30);
}

function headLine(barWidth: number): Line {
  const progress = 'progress'.slice(0, barWidth).padEnd(barWidth + PERCENT_WIDTH + 1);
  return [
    dim(
      ` ${'a run that'.padEnd(NAME_WIDTH)} ${progress}  ${'status'.padEnd(STATUS_WIDTH)}  webhooks`,
    ),
  ];
}

function rowLine({ name, watch, received, expected }: Row, barWidth: number): Line {
  const progress = Math.min(Math.max(watch?.run?.progress ?? 0, 0), 100);
  const filled = Math.floor((progress / 100) * barWidth);
  const status = statusOf(watch);
  const percent = watch?.run ? `${progress} %` : '';
  return [
    text(` ${name.padEnd(NAME_WIDTH)} `),
    inColorOf(status.word, '█'.repeat(filled)),
    dim('░'.repeat(barWidth - filled)),
    text(` ${percent.padStart(PERCENT_WIDTH)}  `),
    inColorOf(status.word, plain(status.shown).slice(0, STATUS_WIDTH).padEnd(STATUS_WIDTH)),
    text('  '),
    receivedSpan(received, expected),
  ];
}

/** The text for a run's status, and the word that decides its colour. */
function statusOf(watch: Row['watch']): { shown: string; word: string } {
  if (watch === null) return { shown: '', word: 'queued' };
  if (watch.state !== 'active' && watch.state !== 'finished') {
    return { shown: watch.state, word: watch.state };
  }
  if (watch.error !== null) return { shown: troubleOf(watch.error.code), word: 'expired' };
  const status = watch.run?.status ?? 'not seen yet';
  if (status === 'awaiting_human_feedback') return { shown: 'awaiting human', word: status };
  return { shown: status, word: status };
}

function troubleOf(code: string): string {
  if (code === 'rate_limited') return 'throttled (429)';
  return code === 'not_found' ? 'gone? (404)' : 'no answer';
}

function receivedSpan(received: number, expected: number): Span {
  if (expected === 0 && received === 0) return dim('none expected');
  if (received === expected) return inColorOf('completed', `✔ ${received} of ${expected}`);
  return dim(`  ${received} of ${expected}`);
}

function footLine({ rows, elapsedMs, requests }: View): Line {
  const received = rows.reduce((sum, row) => sum + row.received, 0);
  const expected = rows.reduce((sum, row) => sum + row.expected, 0);
  return [
    text(' '),
    bold(`${received} of ${expected}`),
    text(' webhooks verified'),
    dim(`  ·  ${requests} requests to Noxus  ·  ${seconds(elapsedMs)}`),
  ];
}

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

/** Moves to the table's first line. In a window made smaller, long lines have wrapped. */
function upOver(table: readonly Line[], columns: number): string {
  const height = table.reduce(
    (sum, line) => sum + Math.max(1, Math.ceil(widthOf(line) / columns)),
    0,
  );
  return height === 0 ? '\r' : `\r\x1b[${height}A`;
}

const PLAIN = pc.createColors(false);

/** For pipes, logs and plain-text terminals: a line for each event, without control characters. */
export function createLines(write: (text: string) => void): Display {
  return {
    write: (line) => write(`${render(line, PLAIN).trimEnd()}\n`),
    update: () => undefined,
    close: () => undefined,
  };
}
