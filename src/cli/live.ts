import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, RunwatchError } from '../core/errors.ts';
import type { CliContext } from './context.ts';
import { usageError } from './exit.ts';
import { plain } from './render/text.ts';

/** Between two requests to the daemon, ms. */
const EVERY_MS = 2_000;

/**
 * Shows a text anew again and again, in place, until Ctrl-C.
 * @throws a usage error without a terminal
 */
export async function liveTable(
  { io: { stdout }, now, signal }: CliContext,
  render: () => Promise<string>,
): Promise<never> {
  if (!stdout.isTty) {
    throw usageError('--watch needs a terminal; `runwatch events --follow` prints changes');
  }
  let shown = await render();
  // The alternate screen, without a cursor; what stood there before comes back.
  stdout.write('\u001b[?1049h\u001b[?25l');
  try {
    for (;;) {
      const time = new Date(now()).toISOString().slice(11, 19);
      stdout.write(frameOf(`${time} UTC, every 2 s; Ctrl-C ends\n\n${shown}`, stdout.rows));
      await sleep(EVERY_MS, undefined, { signal });
      shown = await render().catch(ifItMayPass);
    }
  } finally {
    stdout.write('\u001b[?25h\u001b[?1049l');
  }
}

/** A daemon that restarts is waited for. */
function ifItMayPass(error: unknown): string {
  if (error instanceof RunwatchError && error.retriable) return `${plain(messageOf(error))}\n`;
  throw error;
}

/** Overwrites what stands on the screen line by line, so that nothing flickers. */
function frameOf(text: string, rows: number): string {
  const lines = text.trimEnd().split('\n');
  const fitting = lines.length < rows ? lines : [...lines.slice(0, rows - 2), '…'];
  return `\u001b[H${fitting.map((line) => `${line}\u001b[K`).join('\n')}\u001b[J`;
}
