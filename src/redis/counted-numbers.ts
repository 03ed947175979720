import type { Redis } from 'ioredis';
import type { Keys } from './keys.ts';
import { findNumbers, type FoundNumbers, type NumberQuery } from './numbers.ts';

/** Listings count what matches up to here. */
export const MOST_COUNTED = 10_000;

/** How many match in all. */
export interface Total {
  total: number;
  /** There are more, or there may be: not all numbers were examined. */
  isCapped: boolean;
}

interface CountedQuery extends Omit<NumberQuery, 'order'> {
  limit: number;
}

/** One page of numbers, newest first, and how many there are from the newest to the oldest. */
export async function countedNumbers(
  redis: Redis,
  keys: Keys,
  { limit, from, ...query }: CountedQuery,
): Promise<FoundNumbers & Total> {
  const newest = { ...query, order: 'newest' as const };
  const all = await findNumbers(redis, keys, newest, MOST_COUNTED);
  const counted = { total: all.numbers.length, isCapped: all.next !== null };
  const left =
    from === undefined ? all.numbers : all.numbers.filter((number) => number < Number(from));
  if (left.length > limit || !counted.isCapped) return { ...pageOf(left, limit), ...counted };
  return { ...(await findNumbers(redis, keys, { ...newest, from }, limit)), ...counted };
}

/** The first numbers of all that are left. */
export function pageOf(numbers: readonly number[], limit: number): FoundNumbers {
  const page = numbers.slice(0, limit);
  return { numbers: page, next: numbers.length > limit ? String(page.at(-1)) : null };
}
