import type { Config } from '../config/schema.ts';
import { messageOf } from '../core/errors.ts';
import { startPeriodic, type Periodic } from '../periodic.ts';
import type { Health } from './health.ts';

/** How long one request may take, ms. */
const TIMEOUT_MS = 10_000;

type Result = 'sent' | 'failed' | 'not_ready';

interface HeartbeatDependencies {
  settings: NonNullable<Config['heartbeat']>;
  health: Pick<Health, 'checks'>;
  isDraining: () => boolean;
  /** Sends one GET. @returns the status of the answer */
  get: (url: string, timeoutMs: number) => Promise<number>;
  count: (result: Result) => void;
  log: {
    warn(fields: object, message: string): void;
    info(fields: object, message: string): void;
  };
}

/**
 * Calls an address as long as this process is ready, for a service that raises an alarm when the calls
 * stop. A failure is logged once, and so is its end.
 */
export function startHeartbeat(deps: HeartbeatDependencies): Periodic {
  const { settings, count, log } = deps;
  let failure: string | null = null;

  async function send(): Promise<void> {
    const found = (await isReady(deps)) ? await tryToSend(deps) : 'not_ready';
    if (found === 'not_ready') return count('not_ready');
    count(found === null ? 'sent' : 'failed');
    if (found !== null && failure === null) log.warn({ error: found }, 'heartbeat.failed');
    if (found === null && failure !== null) log.info({}, 'heartbeat.recovered');
    failure = found;
  }

  const onError = (error: unknown) => log.warn({ error: messageOf(error) }, 'heartbeat.failed');
  return startPeriodic(send, { everyMs: settings.every, onError });
}

async function isReady({ health, isDraining }: HeartbeatDependencies): Promise<boolean> {
  if (isDraining()) return false;
  return (await health.checks()).every(({ status }) => status !== 'failed');
}

/** @returns what went wrong, without the address, which may be a credential; null for nothing */
async function tryToSend({ settings, get }: HeartbeatDependencies): Promise<string | null> {
  try {
    const status = await get(settings.url, TIMEOUT_MS);
    return status >= 200 && status <= 299 ? null : `answered ${status}`;
  } catch (error) {
    return messageOf(error).replaceAll(settings.url, 'the address');
  }
}
