import { Redis } from 'ioredis';
import { messageOf } from '../core/errors.ts';

const ANSWER_TIMEOUT_MS = 5_000;
const DISCONNECT_TIMEOUT_MS = 250;

/** What stands behind a socket path. */
type Probe =
  /** Nothing listens there. */
  | { kind: 'absent' }
  /** A server that is reading its data in, and will answer later. */
  | { kind: 'loading' }
  /** Something listens, but gives no sensible answer in time. */
  | { kind: 'silent'; reason: string }
  /** A server at work; the connection is the caller's to close. */
  | { kind: 'ready'; control: Redis; dir: string; pid: number };

/** Looks once at who answers on a unix socket. Never throws. */
export async function probeServer(socketPath: string): Promise<Probe> {
  const control = new Redis({
    path: socketPath,
    connectionName: 'runwatch-control',
    lazyConnect: true,
    connectTimeout: ANSWER_TIMEOUT_MS,
    commandTimeout: ANSWER_TIMEOUT_MS,
    disconnectTimeout: DISCONNECT_TIMEOUT_MS,
    enableReadyCheck: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    // The supervisor wants to know when the connection breaks, and connects anew by itself.
    retryStrategy: null,
  });
  let failure: unknown = null;
  control.on('error', (error) => (failure ??= error));
  try {
    await control.connect();
    const [, dir] = (await control.config('GET', 'dir')) as [string, string];
    const info = await control.info('server');
    const pid = Number(/^process_id:(\d+)/m.exec(info)?.[1] ?? 0);
    return { kind: 'ready', control, dir, pid };
  } catch (error) {
    control.disconnect();
    return refusal(failure ?? error);
  }
}

function refusal(error: unknown): Probe {
  const reason = messageOf(error);
  if (/ENOENT|ECONNREFUSED|ENOTSOCK/.test(reason)) return { kind: 'absent' };
  if (reason.startsWith('LOADING')) return { kind: 'loading' };
  return { kind: 'silent', reason };
}
