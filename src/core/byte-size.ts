const UNIT_BYTES = { kb: 1_024, mb: 1_024 ** 2, gb: 1_024 ** 3 } as const;

const SIZE = /^(\d+)(kb|mb|gb)$/i;

/** What an error message says was expected in place of an invalid size. */
export const SIZE_HINT = 'a size such as 512mb or 2gb';

/**
 * Reads a size as Redis writes it: `512mb` is 512 × 1,024 × 1,024 bytes.
 * @returns bytes, or null when the text is not a size
 */
export function parseSize(text: string): number | null {
  const [, amount, unit = ''] = SIZE.exec(text.trim()) ?? [];
  if (amount === undefined) return null;
  return Number(amount) * UNIT_BYTES[unit.toLowerCase() as keyof typeof UNIT_BYTES];
}

/** Writes bytes in the largest unit that divides them, else in whole megabytes, rounded down. */
export function formatSize(bytes: number): string {
  for (const unit of ['gb', 'mb', 'kb'] as const) {
    if (bytes >= UNIT_BYTES[unit] && bytes % UNIT_BYTES[unit] === 0) {
      return `${bytes / UNIT_BYTES[unit]}${unit}`;
    }
  }
  return `${Math.floor(bytes / UNIT_BYTES.mb)}mb`;
}
