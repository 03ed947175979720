import Table from 'cli-table3';
import type { Output } from '../context.ts';
import { plain } from './text.ts';

export interface Column<Row> {
  head: string;
  value: (row: Row) => string;
  /** Colours the text; its width must not change. */
  paint?: (text: string, row: Row) => string;
  align?: 'right';
}

const GAP = '  ';
const LEAST_WIDTH = 6;

/**
 * Widths that fit: the widest columns give way first, and none below {@link LEAST_WIDTH}.
 * @param available columns for all of them, without the gaps between
 */
export function fitWidths(natural: readonly number[], available: number): number[] {
  const widths = [...natural];
  let excess = widths.reduce((sum, width) => sum + width, 0) - available;
  while (excess > 0) {
    const widest = widths.indexOf(Math.max(...widths));
    const width = widths[widest] ?? 0;
    if (width <= LEAST_WIDTH) break;
    widths[widest] = width - 1;
    excess -= 1;
  }
  return widths;
}

/** A table without lines, cut to the width of the terminal, and never cut in a pipe. */
export function renderTable<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  output: Output,
): string {
  const texts = rows.map((row) => columns.map((column) => plain(column.value(row))));
  const natural = columns.map((column, index) =>
    Math.max(column.head.length, ...texts.map((cells) => (cells[index] ?? '').length)),
  );
  const widths = fitWidths(natural, output.columns - GAP.length * (columns.length - 1));
  const table = new Table({
    chars: NO_LINES,
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
    colWidths: widths,
    colAligns: columns.map((column) => column.align ?? 'left'),
  });
  table.push(columns.map(({ head }) => output.colors.dim(head)));
  for (const [index, row] of rows.entries()) {
    table.push(
      columns.map((column, at) => {
        const text = texts[index]?.[at] ?? '';
        return column.paint?.(text, row) ?? text;
      }),
    );
  }
  return `${trimLines(table.toString())}\n`;
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
