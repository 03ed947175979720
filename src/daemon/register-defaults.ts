import type { Config } from '../config/schema.ts';
import type { RegisterDefaults } from '../core/watch/register.ts';

/** What watches have that say nothing else, be they registered or discovered. */
export function registerDefaults({ watches, polling }: Config): RegisterDefaults {
  return {
    timeoutMs: watches.timeout,
    minIntervalMs: polling.min_interval,
    profile: polling.profile,
  };
}
