import { pino, stdTimeFunctions, type DestinationStream, type Logger } from 'pino';
import { revealControls } from '../core/controls.ts';

export type { Logger } from 'pino';

interface LoggerOptions {
  level: string;
  /** True for users at a terminal; programs get one JSON object a line. */
  pretty: boolean;
  destination: DestinationStream & NodeJS.WritableStream;
}

/** The process's logger. It redacts nothing: callers must not pass private data. */
export async function createLogger({ level, pretty, destination }: LoggerOptions): Promise<Logger> {
  const stream = pretty ? await prettyStream(destination) : destination;
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

/** Loaded for terminals only: a daemon without one starts faster. */
async function prettyStream(destination: LoggerOptions['destination']): Promise<DestinationStream> {
  const { PinoPretty } = await import('pino-pretty');
  return PinoPretty({ destination, ignore: 'pid,hostname' });
}
