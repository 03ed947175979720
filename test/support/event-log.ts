import type { EventLog } from '../../src/telemetry/logger.ts';

/** A log that takes every line, and passes its level, fields and message on. */
export function eventLogTo(note: (level: string, fields: object, msg: string) => void): EventLog {
  return {
    async write(...entry) {
      note(...entry);
    },
    trouble: () => null,
    listen: () => undefined,
  };
}
