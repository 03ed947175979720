import { useState } from 'preact/hooks';
import type { Selection } from './table.tsx';

/** The rows that a user chose, by their keys. */
export interface Chosen<Item> extends Selection {
  items: readonly Item[];
  clear: () => void;
}

export function useSelection<Item>(
  items: readonly Item[],
  keyOf: (item: Item) => string,
): Chosen<Item> {
  const [keys, setKeys] = useState<ReadonlySet<string>>(new Set());
  return {
    keys,
    items: keys.size === 0 ? [] : items.filter((item) => keys.has(keyOf(item))),
    toggle(key) {
      const next = new Set(keys);
      if (!next.delete(key)) next.add(key);
      setKeys(next);
    },
    toggleAll() {
      setKeys(keys.size >= items.length ? new Set() : new Set(items.map(keyOf)));
    },
    clear: () => setKeys(new Set()),
  };
}
