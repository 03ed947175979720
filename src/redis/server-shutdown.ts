import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';

const LOOK_AGAIN_MS = 25;
/** How long connections of this process, closed a moment ago, may still be on the server's list. */
const LINGER_MS = 500;

/**
 * Shuts a server down through `control`, unless anybody else is connected to it. When it returns
 * `stopped`, everything that was written is on disk.
 */
export async function shutDownUnlessUsed(control: Redis): Promise<'stopped' | 'left_running'> {
  const deadline = performance.now() + LINGER_MS;
  while (await hasOtherClients(control)) {
    if (performance.now() > deadline) return 'left_running';
    await delay(LOOK_AGAIN_MS);
  }
  const ended = new Promise<'stopped'>((resolve) => control.once('end', () => resolve('stopped')));
  // SHUTDOWN answers only to refuse; when it is obeyed, the connection ends.
  const refusal = control.shutdown().then(
    () => 'left_running' as const,
    (error: unknown) => {
      if (control.status === 'ready') throw error;
      return ended;
    },
  );
  return Promise.race([ended, refusal]);
}

async function hasOtherClients(control: Redis): Promise<boolean> {
  const list = (await control.client('LIST')) as string;
  return list.trim().split('\n').length > 1;
}
