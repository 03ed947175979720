import type { Config } from '../config/schema.ts';
import type { PollPolicy } from '../core/watch/observation.ts';
import type { RegisterDefaults } from '../core/watch/register.ts';

/** The options of watches that set none themselves, both registered and discovered ones. */
export function registerDefaults({ watches, polling }: Config): RegisterDefaults {
  return {
    timeoutMs: watches.timeout,
    minIntervalMs: polling.min_interval,
    profile: polling.profile,
  };
}

/** The configured limits by which a poll result is judged, ms. */
export function pollPolicy({ polling, watches }: Config): PollPolicy {
  return {
    minIntervalMs: polling.min_interval,
    maxIntervalMs: polling.max_interval,
    unreachableAfterMs: polling.unreachable_after,
    goneAfterMs: polling.gone_after,
    remindAfterMs: watches.remind_feedback,
    stallAfterMs: watches.stall_after,
  };
}
