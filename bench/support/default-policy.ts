/** The limits of polling as they are by default; reminders and stalls are news that no bench is about. */
export const DEFAULT_POLICY = {
  minIntervalMs: 1_000,
  maxIntervalMs: 60_000,
  unreachableAfterMs: 120_000,
  goneAfterMs: 60_000,
  remindAfterMs: [],
  stallAfterMs: Infinity,
};
