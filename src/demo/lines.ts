import pc from 'picocolors';
import type { Display } from './display.ts';
import { render } from './line.ts';

const PLAIN = pc.createColors(false);

/** For pipes, logs and plain-text terminals: a line for each event, without control characters. */
export function createLines(write: (text: string) => void): Display {
  return {
    write: (line) => write(`${render(line, PLAIN).trimEnd()}\n`),
    update: () => undefined,
    close: () => undefined,
  };
}
