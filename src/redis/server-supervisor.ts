import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { RedisLog } from './log.ts';

const FIRST_PAUSE_MS = 200;
const MAX_PAUSE_MS = 5_000;
/** A server that ran for this long had started well; the next restart is immediate again. */
const STEADY_AFTER_MS = 10_000;

/** A server that answers, and the connection by whose end its death is noticed. */
export interface RunningServer {
  control: Redis;
  pid: number;
  /** False when this process has just started it. */
  reused: boolean;
}

interface Supervision {
  first: RunningServer;
  /** Finds the server or starts one; may be called again after it has failed. */
  ensure: () => Promise<RunningServer>;
  log: RedisLog;
}

/** Brings a server back whenever its control connection ends, with growing pauses, until `letGo`. */
export function superviseServer({ first, ensure, log }: Supervision): {
  /** Disconnects, and waits for a restart that is under way. */
  letGo(): Promise<void>;
} {
  const released = new AbortController();
  let current = first.control;
  let recovery: Promise<void> = Promise.resolve();

  /** `failures` are the starts before this one that came to nothing. */
  const watch = (server: RunningServer, failures: number): void => {
    const since = performance.now();
    current = server.control;
    log.info({ pid: server.pid, reused: server.reused }, 'the Redis server is running');
    const onEnd = (): void => {
      if (released.signal.aborted) return;
      log.warn({ pid: server.pid }, 'the Redis server went away');
      const wasSteady = performance.now() - since > STEADY_AFTER_MS;
      recovery = recover(wasSteady ? 0 : failures + 1);
    };
    // It may have died since it was found, and then no event is to come.
    if (current.status === 'end') onEnd();
    else current.once('end', onEnd);
  };

  const attempt = async (pauseMs: number): Promise<RunningServer | null> => {
    try {
      await delay(pauseMs, undefined, { signal: released.signal });
      return await ensure();
    } catch (error) {
      if (!released.signal.aborted) log.error({ err: error }, 'the Redis server does not start');
      return null;
    }
  };

  const recover = async (failuresBefore: number): Promise<void> => {
    for (let failures = failuresBefore; !released.signal.aborted; failures += 1) {
      const server = await attempt(pauseAfter(failures));
      if (server !== null && !released.signal.aborted) return watch(server, failures);
      server?.control.disconnect();
    }
  };

  watch(first, 0);
  return {
    async letGo() {
      released.abort();
      if (current.status !== 'end') current.disconnect();
      await recovery;
    },
  };
}

/** Milliseconds before a restart, after so many that did not last. */
function pauseAfter(failures: number): number {
  return failures === 0 ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** (failures - 1), MAX_PAUSE_MS);
}
