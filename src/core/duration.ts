const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;

/** What an error message says was expected in place of an invalid duration. */
export const DURATION_HINT = 'a duration such as 250ms, 10s, 5m, 2h or 7d';

/**
 * Reads a duration such as `250ms`, `10s`, `5m`, `2h` or `7d`.
 * @returns whole milliseconds, or null when the text is not a duration
 */
export function parseDuration(text: string): number | null {
  const match = DURATION.exec(text.trim());
  if (match === null) return null;
  const unit = match[2] as keyof typeof UNIT_MS;
  return Math.round(Number(match[1]) * UNIT_MS[unit]);
}

/** Writes milliseconds in the largest unit that divides them: 90000 → `90s`, 120000 → `2m`. */
export function formatDuration(ms: number): string {
  for (const unit of ['d', 'h', 'm', 's'] as const) {
    if (ms >= UNIT_MS[unit] && ms % UNIT_MS[unit] === 0) return `${ms / UNIT_MS[unit]}${unit}`;
  }
  return `${ms}ms`;
}
