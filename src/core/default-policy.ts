import type { PollPolicy } from './look.ts';

/** The limits of polling where nothing is configured; without reminders and stalls. */
export const DEFAULT_POLICY: PollPolicy = {
  minIntervalMs: 1_000,
  maxIntervalMs: 60_000,
  unreachableAfterMs: 120_000,
  goneAfterMs: 60_000,
  remindAfterMs: [],
  stallAfterMs: Infinity,
};
