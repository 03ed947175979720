import Table from 'cli-table3';
import type { Output } from '../output.ts';
import { plain, wrapped } from './text.ts';

type Keep = 'always' | 'whole';

export interface Column<Row> {
  head: string;
  value: (row: Row) => string;
  /** Colours the text; its width must not change. */
  paint?: (text: string, row: Row) => string;
  align?: 'right';
  /** For ids, which are of no use when cut: shown `always`, or `whole` and else not at all. */
  keep?: Keep;
  /** Where the text links to on a terminal; null for nowhere. */
  link?: (row: Row) => string | null | undefined;
  /** True where time or a poll alone changes it, so that equal texts are a coincidence. */
  passes?: true;
}

/** What a table needs to know of where it is shown. */
type TableOutput = Pick<Output, 'columns' | 'colors' | 'links'>;

const GAP = '  ';

/** A column that gives way keeps this width, as long as dropping others makes room. */
const READABLE_WIDTH = 12;

/** How wide a column likes to be. */
export interface ColumnWidth {
  natural: number;
  keep?: Keep | undefined;
}

/**
 * Widths that fit, by column; null for a column that is left out. Texts are cut, the widest first;
 * where that is not enough, optional columns are left out from the right. The first column is kept.
 * @param available terminal columns for all of them and the gaps between
 */
export function fitWidths(columns: readonly ColumnWidth[], available: number): (number | null)[] {
  const widths: (number | null)[] = columns.map(({ natural }) => natural);
  for (;;) {
    cutWidest(widths, columns, available);
    if (totalOf(widths) <= available) return widths;
    const last = widths.findLastIndex((width, at) => width !== null && mayGo(columns, at));
    if (last < 0) return widths;
    widths[last] = null;
    for (const [at, width] of widths.entries()) {
      if (width !== null) widths[at] = columns[at]?.natural ?? width;
    }
  }
}

function mayGo(columns: readonly ColumnWidth[], at: number): boolean {
  return at > 0 && columns[at]?.keep !== 'always';
}

function totalOf(widths: readonly (number | null)[]): number {
  const shown = widths.filter((width) => width !== null);
  return shown.reduce((sum, width) => sum + width, GAP.length * (shown.length - 1));
}

function cutWidest(
  widths: (number | null)[],
  columns: readonly ColumnWidth[],
  available: number,
): void {
  for (let excess = totalOf(widths) - available; excess > 0; excess -= 1) {
    const soft = widths.map((width, at) => (columns[at]?.keep === undefined ? (width ?? 0) : 0));
    const widest = soft.indexOf(Math.max(...soft));
    const width = soft[widest] ?? 0;
    if (width <= READABLE_WIDTH) return;
    widths[widest] = width - 1;
  }
}

/** Texts of a cell that say nothing. */
const NOTHING: ReadonlySet<string> = new Set(['', '-', '0']);

/** Columns that have the same text in every row; the first one stays. */
function constantColumns<Row>(
  columns: readonly Column<Row>[],
  texts: readonly (readonly string[])[],
): ReadonlySet<number> {
  const [first = [], ...others] = texts;
  if (others.length === 0) return new Set();
  const constant = columns.flatMap(({ passes }, at) => {
    const text = first[at] ?? '';
    const isSame = at > 0 && others.every((cells) => cells[at] === text);
    return isSame && (passes !== true || NOTHING.has(text)) ? [at] : [];
  });
  return new Set(constant);
}

/** What the columns that are left out say, below the table. */
function noteOf<Row>(
  columns: readonly Column<Row>[],
  texts: readonly (readonly string[])[],
  { constant, fitted }: { constant: ReadonlySet<number>; fitted: readonly (number | null)[] },
  { colors, columns: width }: TableOutput,
): string {
  const same = columns.flatMap(({ head }, at) => {
    const text = texts[0]?.[at] ?? '';
    return constant.has(at) && !NOTHING.has(text) ? [`${head.toLowerCase()} ${text}`] : [];
  });
  const left = columns.flatMap(({ head }, at) =>
    fitted[at] === null && !constant.has(at) ? [head.toLowerCase()] : [],
  );
  const lines = [
    same.length === 0 ? '' : `(in every row: ${same.join(', ')})`,
    left.length === 0 ? '' : `(--wide also shows ${left.join(', ')})`,
  ];
  return lines
    .flatMap((line) => wrapped(line, width))
    .map((line) => `${colors.dim(line)}\n`)
    .join('');
}

/**
 * A table without lines. On a terminal, or with `COLUMNS`, it is fitted to that width; ids are never cut. What
 * every row has in common is said once below, with what was left out. In a pipe it shows everything.
 */
export function renderTable<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  output: TableOutput,
): string {
  const texts = rows.map((row) => columns.map((column) => plain(column.value(row))));
  const natural = columns.map(({ head, keep }, at) => ({
    natural: Math.max(head.length, ...texts.map((cells) => (cells[at] ?? '').length)),
    keep,
  }));
  const isFitted = Number.isFinite(output.columns);
  const constant = isFitted ? constantColumns(columns, texts) : new Set<number>();
  const varying = natural.flatMap((one, at) => (constant.has(at) ? [] : [{ ...one, at }]));
  const widths = fitWidths(varying, output.columns);
  const fitted = columns.map((_, at) => widths[varying.findIndex((one) => one.at === at)] ?? null);
  const shown = columns.flatMap((column, at) => {
    const width = fitted[at] ?? null;
    return width === null ? [] : [{ column, at, width }];
  });
  const table = new Table({
    chars: NO_LINES,
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
    colWidths: shown.map(({ width }) => width),
    colAligns: shown.map(({ column }) => column.align ?? 'left'),
  });
  table.push(shown.map(({ column }) => output.colors.dim(column.head)));
  for (const [index, row] of rows.entries()) {
    table.push(
      shown.map(({ column, at }) => {
        const text = texts[index]?.[at] ?? '';
        const content = column.paint?.(text, row) ?? text;
        const href = output.links ? safeLink(column.link?.(row)) : null;
        return href === null ? content : { content, href };
      }),
    );
  }
  return `${trimLines(table.toString())}\n${noteOf(columns, texts, { constant, fitted }, output)}`;
}

/** A link that may be written to a terminal: a URL of the web, with everything odd in it encoded. */
function safeLink(link: string | null | undefined): string | null {
  if (typeof link !== 'string' || !/^https?:/i.test(link) || !URL.canParse(link)) return null;
  return new URL(link).href;
}

/** A text that links to a URL on terminals which can do that (OSC 8). */
export function linked(
  text: string,
  link: string | null | undefined,
  { links }: Pick<Output, 'links'>,
): string {
  const href = links ? safeLink(link) : null;
  return href === null ? text : `\u001b]8;;${href}\u0007${text}\u001b]8;;\u0007`;
}

/** Labels and values below one another; a value of several lines hangs under its label. */
export function renderFields(
  fields: readonly (readonly [string, string])[],
  output: Output,
): string {
  const width = Math.max(...fields.map(([label]) => label.length));
  const hang = `\n${' '.repeat(width)}${GAP}`;
  return fields
    .map(([label, value]) => {
      const name = output.colors.dim(label.padEnd(width));
      return `${name}${GAP}${value.split('\n').join(hang)}\n`;
    })
    .join('');
}

const NO_LINES = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: GAP,
};

function trimLines(text: string): string {
  return text
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}
