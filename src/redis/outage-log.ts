import type { RedisLog } from './log.ts';

interface Options {
  log: RedisLog;
  place: string;
  /** Milliseconds between reminders while Redis is away. */
  remindEveryMs: number;
}

/** Tells of an outage when it begins, now and then while it lasts, and when it is over. */
export interface OutageLog {
  /** The last thing that went wrong; it becomes the reason of an outage. */
  failed(reason: string): void;
  lost(): void;
  back(): void;
  /** No further lines. */
  close(): void;
}

/** However many connections break and however often they try, this is all that is logged of it. */
export function createOutageLog({ log, place, remindEveryMs }: Options): OutageLog {
  let outage: { since: number; reminder: NodeJS.Timeout } | null = null;
  let reason: string | null = null;
  let closed = false;

  const tell = (since: number): void => {
    const away_ms = Math.round(performance.now() - since);
    log.warn({ code: 'redis_unavailable', redis: place, away_ms, reason }, 'Redis is away');
  };
  const end = (): void => {
    clearInterval(outage?.reminder);
    outage = null;
    reason = null;
  };
  return {
    failed(why) {
      reason = why;
    },
    lost() {
      if (outage !== null || closed) return;
      const since = performance.now();
      const reminder = setInterval(() => tell(since), remindEveryMs).unref();
      outage = { since, reminder };
      tell(since);
    },
    back() {
      if (outage === null) return;
      const away_ms = Math.round(performance.now() - outage.since);
      end();
      log.info({ redis: place, away_ms }, 'Redis is back');
    },
    close() {
      closed = true;
      end();
    },
  };
}
