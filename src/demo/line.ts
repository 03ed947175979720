import type { Colors } from '../cli/output.ts';
import { paint } from '../cli/render/text.ts';

/** A piece of a line, in the colours of where it is written. */
export type Span = (colors: Colors) => string;

/** A line of the demo before it is written. */
export type Line = readonly Span[];

/** Prints a line. */
export type Print = (line: Line) => void;

export const BLANK: Line = [];

export function text(words: string): Span {
  return () => words;
}

export function bold(words: string): Span {
  return (colors) => colors.bold(words);
}

export function dim(words: string): Span {
  return (colors) => colors.dim(words);
}

/** Text in the colour of a status, a state or an event type. */
export function inColorOf(word: string, words: string): Span {
  return (colors) => paint(words, word, colors);
}

export function render(line: Line, colors: Colors): string {
  return line
    .map((span) => span(colors))
    .join('')
    .trimEnd();
}

/** `62 ms`, `2.4 s` */
export function delayText(ms: number): string {
  return ms < 1_000 ? `${Math.max(0, Math.round(ms))} ms` : seconds(ms);
}

/** `2.4 s` */
export function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
