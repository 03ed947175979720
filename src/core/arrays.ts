export function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

/** Items by key: the keys in the order of their first items, the items in their own order. */
export function groupBy<Item, Key>(
  items: readonly Item[],
  keyOf: (item: Item, at: number) => Key,
): Map<Key, Item[]> {
  const groups = new Map<Key, Item[]>();
  for (const [at, item] of items.entries()) {
    const key = keyOf(item, at);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

/** Items in their order, so many at a time. */
export function* chunksOf<Item>(items: readonly Item[], size: number): Iterable<Item[]> {
  for (let at = 0; at < items.length; at += size) yield items.slice(at, at + size);
}

/** The results of a step for each item, in their order; so many steps are under way at a time. */
export async function mapInChunks<Item, Result>(
  items: readonly Item[],
  size: number,
  step: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  for (const some of chunksOf(items, size)) results.push(...(await Promise.all(some.map(step))));
  return results;
}

/** `a`, `a or b`, `a, b or c`. */
export function inWords(names: readonly string[], word: 'and' | 'or'): string {
  const last = names.at(-1) ?? '';
  return names.length < 2 ? last : `${names.slice(0, -1).join(', ')} ${word} ${last}`;
}
