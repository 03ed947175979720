import type { SentEventType } from '../../core/event/event.ts';
import type { Channel, Message } from './channel.ts';

type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';

/** A logger without a level of its own: it writes every line. */
export type EventLogger = Record<LogLevel, (fields: { event: unknown }, msg: string) => void>;

interface LogChannelOptions {
  logger: EventLogger;
  /** The level of events that need no attention. */
  level: LogLevel;
  /** Milliseconds since the epoch. */
  now: () => number;
}

/** Levels of events that need attention; part of the contract. */
const URGENT: Partial<Record<SentEventType, LogLevel>> = {
  'run.failed': 'error',
  'run.stopped': 'warn',
  'run.awaiting_human_feedback': 'warn',
  'run.gone': 'warn',
  'watch.expired': 'warn',
  'watch.unreachable': 'warn',
  'watch.recovered': 'warn',
};

/** Writes each event as one JSON line. A written line counts as delivered. */
export function createLogChannel({ logger, level, now }: LogChannelOptions): Channel {
  return {
    send({ eventType, body }: Message) {
      const at = now();
      logger[URGENT[eventType] ?? level]({ event: JSON.parse(body) }, eventType);
      const durationMs = Math.max(0, now() - at);
      return Promise.resolve({
        kind: 'delivered',
        attempt: { at, status: null, error: null, durationMs, response: null },
      });
    },
  };
}
