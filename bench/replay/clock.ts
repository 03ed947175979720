/** When the virtual clock begins, milliseconds since the epoch. */
const EPOCH = Date.UTC(2026, 0, 1);

/** A time of the virtual clock, s, as the daemon counts time: milliseconds since the epoch. */
export function toMs(seconds: number): number {
  return EPOCH + Math.round(seconds * 1_000);
}

/** The reverse of {@link toMs}. */
export function toS(ms: number): number {
  return (ms - EPOCH) / 1_000;
}

export function iso(seconds: number): string {
  return new Date(toMs(seconds)).toISOString();
}
