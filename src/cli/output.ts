import type { Readable } from 'node:stream';
import pc from 'picocolors';

export type Colors = ReturnType<typeof pc.createColors>;

/** Where text goes, and what it can show there. */
export interface Output {
  stream: NodeJS.WritableStream;
  /** The file descriptor of the stream; undefined where it has none. */
  fd: number | undefined;
  write: (text: string) => void;
  isTty: boolean;
  /** Width of the terminal; without one `COLUMNS`, else Infinity, so that nothing is cut in a pipe. */
  columns: number;
  /** Lines of the terminal; Infinity where there is none. */
  readonly rows: number;
  colors: Colors;
  /** True where a text may link to a URL (OSC 8). */
  links: boolean;
}

export interface CliIo {
  /** Data. */
  stdout: Output;
  /** Diagnostics and progress. */
  stderr: Output;
  stdin: Readable & { isTTY?: boolean };
}

type Sink = NodeJS.WritableStream & {
  fd?: number;
  isTTY?: boolean;
  columns?: number;
  rows?: number;
};

/**
 * An output on a stream, with the colours and the width of its terminal; without one, no colours.
 * @param columns the width without a terminal; absent, there is no limit
 */
export function outputOf(
  stream: Sink,
  {
    noColor,
    isDumb = false,
    columns = Infinity,
  }: { noColor: boolean; isDumb?: boolean; columns?: number | undefined },
): Output {
  const isTty = stream.isTTY === true;
  return {
    stream,
    fd: stream.fd,
    write: (text) => void stream.write(text),
    isTty,
    columns: isTty ? (stream.columns ?? 80) : columns,
    // A terminal may be resized while it shows a table.
    get rows() {
      return isTty ? (stream.rows ?? 24) : Infinity;
    },
    colors: pc.createColors(isTty && !noColor),
    links: isTty && !isDumb && !noColor,
  };
}

/** The same output as wide as its tables like to be. */
export function widened(output: Output, isWide: boolean | undefined): Output {
  return isWide === true ? { ...output, columns: Infinity } : output;
}
