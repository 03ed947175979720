import type { PageView } from './wire.ts';

/** Most that the API gives in one page. */
const PAGE_SIZE = 200;

/**
 * Follows the cursors of a listing until there is enough.
 * @param limit how many items at most; Infinity for all
 * @returns what the API would have answered, had its pages been that long
 */
export async function collectPages<Item>(
  fetchPage: (paging: { limit: number; cursor: string | undefined }) => Promise<PageView<Item>>,
  limit: number,
): Promise<PageView<Item>> {
  const data: Item[] = [];
  let cursor: string | undefined;
  for (;;) {
    const page = await fetchPage({ limit: Math.min(limit - data.length, PAGE_SIZE), cursor });
    data.push(...page.data);
    const next = page.next_cursor ?? null;
    if (next === null || data.length >= limit) return { data, next_cursor: next };
    cursor = next;
  }
}
