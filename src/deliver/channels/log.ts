import type { SentEventType } from '../../core/event/event.ts';
import type { Channel, Message } from './channel.ts';

type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';

/** What this channel needs of a logger. Its threshold must let every level through. */
export type EventLogger = Record<LogLevel, (fields: { event: unknown }, msg: string) => void>;

interface LogChannelOptions {
  logger: EventLogger;
  /** For events that call for nobody's attention. */
  level: LogLevel;
  /** Milliseconds since the epoch. */
  now: () => number;
}

/** Events that somebody should look at; the levels are part of the contract. */
const URGENT: Partial<Record<SentEventType, LogLevel>> = {
  'run.failed': 'error',
  'run.stopped': 'warn',
  'run.awaiting_human_feedback': 'warn',
  'run.stalled': 'warn',
  'run.gone': 'warn',
  'watch.expired': 'warn',
  'watch.unreachable': 'warn',
  'watch.recovered': 'warn',
  'endpoint.failing': 'error',
  'endpoint.disabled': 'error',
  'delivery.exhausted': 'error',
};

/** Writes each event as one JSON line. A line once written cannot fail, so it always delivers. */
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
