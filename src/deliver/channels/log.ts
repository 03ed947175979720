import { messageOf } from '../../core/errors.ts';
import type { SentEventType } from '../../core/event/event.ts';
import { withoutResult, type Channel, type Message } from './channel.ts';

type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';

/** A log without a level of its own: it writes every line. */
interface EventLines {
  /** Resolves once the line is written. @throws an error when no line can be written now */
  write(level: LogLevel, fields: { event: unknown }, msg: string): Promise<void>;
}

/** Levels of events that need attention; part of the contract. */
const URGENT: Partial<Record<SentEventType, LogLevel>> = {
  'run.failed': 'error',
  'run.stopped': 'warn',
  'run.awaiting_human_feedback': 'warn',
  'run.gone': 'warn',
  'watch.expired': 'warn',
  'batch.failed': 'warn',
  'watch.unreachable': 'warn',
  'watch.recovered': 'warn',
};

/**
 * Writes each event as one JSON line, and delivers by that alone. A log that cannot be written is a trouble of
 * this process, not of the endpoint: the delivery waits, or another process makes it. Where no endpoint is configured,
 * there is one of this kind (`allEndpoints` in `deliver/endpoints.ts`).
 * @param level of events that need no attention
 * @param now milliseconds since the epoch
 */
export function createLogChannel(log: EventLines, level: LogLevel, now: () => number): Channel {
  return {
    async send({ eventType, body }: Message, signal) {
      const at = now();
      const fields = { event: JSON.parse(body) as unknown };
      const written = log.write(URGENT[eventType] ?? level, fields, eventType).catch(unwritten);
      await unlessAborted(written, signal);
      const durationMs = Math.max(0, now() - at);
      return {
        kind: 'delivered',
        attempt: { at, status: null, error: null, durationMs, response: null },
      };
    },
  };
}

function unwritten(error: unknown): never {
  throw withoutResult('log_unwritable', `the log cannot be written: ${messageOf(error)}`);
}

/** @throws RunwatchError `attempt_aborted` when aborted first: the line may be written yet */
function unlessAborted(written: Promise<void>, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(withoutResult('attempt_aborted'));
    signal?.addEventListener('abort', abort);
    void written.then(resolve, reject).finally(() => signal?.removeEventListener('abort', abort));
  });
}
