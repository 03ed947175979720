import type { Random } from '../core/backoff.ts';

/**
 * Returns a generator that gives the same sequence for the same seed; not for secrets.
 * Source: mulberry32 by Tommy Ettinger.
 */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

/** A whole number from `min` to `max`, both included. */
export function randomInteger(random: Random, min: number, max: number): number {
  return min + Math.floor(random() * (max - min + 1));
}

/** A version 4 UUID from the given generator. */
export function randomId(random: Random): string {
  const hex = Array.from({ length: 32 }, () => randomInteger(random, 0, 15).toString(16)).join('');
  const variant = randomInteger(random, 8, 11).toString(16);
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `4${hex.slice(13, 16)}`,
    `${variant}${hex.slice(17, 20)}`,
    hex.slice(20),
  ].join('-');
}
