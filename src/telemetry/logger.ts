import { pino, stdTimeFunctions, type DestinationStream, type Logger } from 'pino';
import { PinoPretty } from 'pino-pretty';
import { revealControls } from '../core/controls.ts';

export type { Logger } from 'pino';

interface LoggerOptions {
  level: string;
  /** True for users at a terminal; programs get one JSON object a line. */
  pretty: boolean;
  destination: DestinationStream & NodeJS.WritableStream;
}

/** The process's logger. Callers never give it private data; it redacts nothing. */
export function createLogger({ level, pretty, destination }: LoggerOptions): Logger {
  const stream = pretty ? PinoPretty({ destination, ignore: 'pid,hostname' }) : destination;
  return pino(
    {
      level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      // Parsing restores control characters of foreign text, which must not control the user's
      // terminal.
      ...(pretty && { hooks: { streamWrite: revealControls } }),
    },
    stream,
  );
}
