import type { z } from 'zod';
import type { watchRequest } from './schemas/watch.ts';
import type { WatchRequest } from '../core/watch/register.ts';

/** A checked body in the words of the inside. */
export function toWatchRequest(body: z.output<typeof watchRequest>): WatchRequest {
  const { run_id: runId, timeout: timeoutMs, max_delay: maxDelayMs, ...same } = body;
  return {
    ...same,
    runId,
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...(maxDelayMs !== undefined && { maxDelayMs }),
  };
}
