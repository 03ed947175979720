import { messageOf } from '../core/errors.ts';
import { isOutage } from '../redis/guard.ts';
import type { Logger } from '../telemetry/logger.ts';

/**
 * Tells of faults in work that is done again later. That Redis is away is told of once, by its
 * connections, and not again by everybody who notices.
 * @param what the work, as the line's message
 */
export function faultLog(log: Logger, what: string, fields: object = {}) {
  return (error: unknown): void => {
    const level = error instanceof Error && isOutage(error) ? 'debug' : 'warn';
    // The message alone: libraries hang on their errors what does not belong in a log.
    log[level]({ ...fields, error: messageOf(error) }, what);
  };
}
