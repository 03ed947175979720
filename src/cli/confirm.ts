import { createInterface } from 'node:readline';
import type { CommandLine } from './command-line.ts';
import { usageError } from './exit.ts';

/**
 * Asks before something is done that cannot be taken back. Anything but yes means no.
 * @throws a usage error without a terminal to ask on, or once its input has ended
 */
export async function confirm(
  { io, signal }: Pick<CommandLine, 'io' | 'signal'>,
  question: string,
): Promise<boolean> {
  if (io.stdin.isTTY !== true) {
    throw usageError(`there is no terminal to ask on: "${question}" Answer with --yes.`);
  }
  // As where ids were typed: a terminal gives nothing after Ctrl-D.
  if (io.stdin.readableEnded) {
    throw usageError(
      `standard input has ended, with no answer to "${question}" Answer with --yes.`,
    );
  }
  io.stderr.write(`${question} [y/N] `);
  const lines = createInterface({ input: io.stdin, signal });
  for await (const line of lines) {
    lines.close();
    return /^y(es)?$/i.test(line.trim());
  }
  signal.throwIfAborted();
  // The end of the input leaves the cursor on the line of the question.
  io.stderr.write('\n');
  return false;
}
