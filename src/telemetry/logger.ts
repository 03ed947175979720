import { pino, stdTimeFunctions, type DestinationStream, type Logger } from 'pino';
import { PinoPretty } from 'pino-pretty';
import { revealControls } from '../core/controls.ts';

export type { Logger } from 'pino';

interface LoggerOptions {
  level: string;
  /** True for people at a terminal; programs get one JSON object a line. */
  pretty: boolean;
  destination: DestinationStream & NodeJS.WritableStream;
}

/** The process's logger. What is private is never handed to it; it redacts nothing after the fact. */
export function createLogger({ level, pretty, destination }: LoggerOptions): Logger {
  const stream = pretty ? PinoPretty({ destination, ignore: 'pid,hostname' }) : destination;
  return pino(
    {
      level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      // Parsed and printed for people, what came from elsewhere must not steer their terminal.
      ...(pretty && { hooks: { streamWrite: revealControls } }),
    },
    stream,
  );
}
