import type { Readable } from 'node:stream';
import pc from 'picocolors';
import type { CliEnv } from '../config/cli-env.ts';
import type { Random } from '../core/backoff.ts';

export type Colors = ReturnType<typeof pc.createColors>;

/** Where text goes, and what it can show there. */
export interface Output {
  stream: NodeJS.WritableStream;
  write: (text: string) => void;
  isTty: boolean;
  /** Width of the terminal; Infinity where there is none, so that nothing is cut in a pipe. */
  columns: number;
  colors: Colors;
}

export interface CliIo {
  /** Data. */
  stdout: Output;
  /** Diagnostics and progress. */
  stderr: Output;
  stdin: Readable & { isTTY?: boolean };
}

/** What the process gives to the command line. */
export interface CliHost {
  io: CliIo;
  env: CliEnv;
  version: string;
  now: () => number;
  random: Random;
  /** For how long a daemon on this machine that does not listen yet is waited for, ms. */
  startupMs: number;
  /**
   * A signal that aborts on Ctrl-C and the like; its reason is a RunwatchError. The handlers are only
   * put in place by the first call, so that `serve` keeps its own.
   */
  interrupts: () => AbortSignal;
}

/** What a verb works with. */
export interface CliContext extends Omit<CliHost, 'interrupts'> {
  signal: AbortSignal;
}

type Sink = NodeJS.WritableStream & { isTTY?: boolean; columns?: number };

/** Looks at a stream once: colour and width are those of its terminal, or none. */
export function outputOf(stream: Sink, { noColor }: { noColor: boolean }): Output {
  const isTty = stream.isTTY === true;
  return {
    stream,
    write: (text) => void stream.write(text),
    isTty,
    columns: isTty ? (stream.columns ?? 80) : Infinity,
    colors: pc.createColors(isTty && !noColor),
  };
}

/** Resolves when the signal is aborted, at once when it was before. */
export async function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    signal.addEventListener(
      'abort',
      () => {
        resolve();
      },
      { once: true },
    );
  });
}
