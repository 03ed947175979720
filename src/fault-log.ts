import { messageOf } from './core/errors.ts';
import { isOutage } from './redis/failures.ts';
import type { Logger } from './telemetry/logger.ts';

/** The least time between two lines about the same fault, ms. */
const SAID_AGAIN_MS = 10_000;

/** Different faults that are counted apart; others count as one. */
const MOST_FAULTS = 50;

const OTHERS = 'others';

/**
 * Logs faults in work that is repeated later. The same fault is logged every 10 s at most, with the number
 * of its repeats. An outage of Redis is logged once, by the connections; here it has level debug.
 * @param what the name of the work, as the message of the line
 */
export function faultLog(log: Logger, what: string, fields: object = {}) {
  const silent = new Map<string, { times: number }>();

  function say(level: 'debug' | 'warn', error: string, times: number): void {
    // The message alone: errors of libraries carry data that does not belong in a log.
    log[level]({ ...fields, error, ...(times > 1 && { times }) }, what);
  }

  function keepSilent(key: string, error: string): void {
    const fault = { times: 0 };
    silent.set(key, fault);
    setTimeout(() => {
      silent.delete(key);
      if (fault.times > 0) say('warn', error, fault.times);
    }, SAID_AGAIN_MS).unref();
  }

  return (error: unknown): void => {
    const message = messageOf(error);
    if (error instanceof Error && isOutage(error)) return say('debug', message, 1);
    const key = silent.has(message) || silent.size < MOST_FAULTS ? message : OTHERS;
    const again = silent.get(key);
    if (again !== undefined) {
      again.times += 1;
      return;
    }
    say('warn', message, 1);
    keepSilent(key, message);
  };
}
