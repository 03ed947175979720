import type { Keys } from './keys.ts';

/**
 * The KEYS of a script, after their number: those that it knows by their place, then those that its
 * plans name. A text that ends with a colon is the beginning of keys that cannot be declared. The
 * script finds them by what it reads, such as the delivery that is due next.
 */
export function declaredKeys(
  { queuePrefix }: Keys,
  byPlace: readonly string[],
  ...plans: unknown[]
): [number, ...string[]] {
  const named = new Set<string>();
  collect(plans, `${queuePrefix}:`, named);
  const declared = [...byPlace, ...named];
  return [declared.length, ...declared];
}

function collect(value: unknown, beginning: string, found: Set<string>): void {
  if (typeof value === 'string') {
    if (value.startsWith(beginning) && !value.endsWith(':')) found.add(value);
  } else if (typeof value === 'object' && value !== null) {
    for (const part of Object.values(value)) collect(part, beginning, found);
  }
}
