import type { PageView, WatchQuery } from './types.ts';

/** Most that the API gives in one page. */
export const PAGE_SIZE = 200;

/** What a query says of its page. */
type Paging = Pick<WatchQuery, 'limit' | 'cursor'>;

/**
 * Every item of a listing, page after page: `for await (const watch of paginate(client.listWatches, {}))`.
 * @param list `listWatches`, `listEvents`, `listDeliveries` or `listPolling` of a client
 */
export async function* paginate<Item, Query extends Paging>(
  list: (query: Query) => Promise<PageView<Item>>,
  query?: NoInfer<Query>,
): AsyncGenerator<Item> {
  let cursor: string | undefined;
  do {
    const page = await list({
      limit: PAGE_SIZE,
      ...query,
      ...(cursor !== undefined && { cursor }),
    } as Query);
    yield* page.data;
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined);
}

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
    if (next === null || data.length >= limit) return { ...page, data, next_cursor: next };
    cursor = next;
  }
}
