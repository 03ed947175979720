import type { Colors } from '../cli/context.ts';
import { paint } from '../cli/render/text.ts';

/** A piece of a line. Its style adds only escape sequences, which have no width. */
export interface Span {
  text: string;
  style?: (text: string, colors: Colors) => string;
}

/**
 * A line before it is written. Its text and its style are separate, so that its width can be
 * measured.
 */
export type Line = readonly Span[];

export const BLANK: Line = [];

export function text(words: string): Span {
  return { text: words };
}

export function bold(words: string): Span {
  return { text: words, style: (painted, colors) => colors.bold(painted) };
}

export function dim(words: string): Span {
  return { text: words, style: (painted, colors) => colors.dim(painted) };
}

/** Text in the colour of a status, a state or an event type. */
export function inColorOf(word: string, words: string): Span {
  return { text: words, style: (painted, colors) => paint(painted, word, colors) };
}

/** The width of a line in columns; the demo writes only characters of one column. */
export function widthOf(line: Line): number {
  return line.reduce((sum, span) => sum + span.text.length, 0);
}

/** The line, cut off at a width. */
export function fit(line: Line, columns: number): Line {
  let left = columns;
  return line.map((span) => {
    const cut = { ...span, text: span.text.slice(0, Math.max(left, 0)) };
    left -= span.text.length;
    return cut;
  });
}

export function render(line: Line, colors: Colors): string {
  return line.map(({ text: words, style }) => style?.(words, colors) ?? words).join('');
}

/** `62 ms`, `2.4 s` */
export function delayText(ms: number): string {
  return ms < 1_000 ? `${Math.max(0, Math.round(ms))} ms` : seconds(ms);
}

/** `2.4 s` */
export function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
