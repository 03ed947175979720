import { messageOf } from '../core/errors.ts';
import { isOutage } from '../redis/guard.ts';
import type { Logger } from '../telemetry/logger.ts';

/** Time between two lines about the same fault, ms. */
const SAID_AGAIN_MS = 10_000;

/** Different faults that are told apart; those beyond count as one. */
const MOST_FAULTS = 50;

const OTHERS = 'others';

/**
 * Tells of faults in work that is done again later: of the same one a line every 10 s, with how often
 * it came meanwhile. That Redis is away or refuses is told of once, by its connections, and not again
 * by everybody who notices.
 * @param what the work, as the line's message
 */
export function faultLog(log: Logger, what: string, fields: object = {}) {
  const silent = new Map<string, { times: number }>();

  function say(level: 'debug' | 'warn', error: string, times: number): void {
    // The message alone: libraries hang on their errors what does not belong in a log.
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
