import { inspect } from 'node:util';
import { messageOf, RunwatchError } from '../core/errors.ts';
import type { Output } from './context.ts';

/** Tells of an error: a sentence for what we know, the stack only where it was asked for. */
export function reportError(
  stderr: Output,
  error: unknown,
  { verbose }: { verbose: boolean },
): void {
  const prefix = stderr.colors.red('error:');
  const message = messageOf(error);
  const sentence =
    error instanceof RunwatchError
      ? message
      : `${message} (unexpected; --verbose shows where it comes from)`;
  stderr.write(`${prefix} ${sentence}\n`);
  if (verbose) stderr.write(`${inspect(error)}\n`);
}

/** A remark that is neither data nor an error. */
export function note(stderr: Output, text: string): void {
  stderr.write(`${stderr.colors.dim(text)}\n`);
}

/** A document on stdout. */
export function writeJson(stdout: Output, value: unknown): void {
  stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}
