import { pino, stdTimeFunctions, type DestinationStream, type Logger } from 'pino';
import { createLineFormatter } from './log-line.ts';

export type { Logger } from 'pino';

interface LoggerOptions {
  level: string;
  /** Set on a terminal, for lines to read; without it each line is a JSON object. */
  terminal?: { colors: boolean } | null;
  destination: DestinationStream & NodeJS.WritableStream;
}

/** The process's logger. It redacts nothing: callers must not pass private data. */
export function createLogger({ level, terminal = null, destination }: LoggerOptions): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    terminal === null ? destination : readable(destination, terminal),
  );
}

function readable(destination: DestinationStream, options: { colors: boolean }): DestinationStream {
  const format = createLineFormatter(options);
  return { write: (json) => destination.write(format(json)) };
}
