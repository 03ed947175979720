import type { Query } from '../client/transport.ts';
import type { PageView } from '../client/wire.ts';

interface Listing {
  /** What is listed, such as `watch`. */
  what: string;
  /** What to say where there is none at all. */
  none: string;
  filters: Query;
  /** Lists without filters. */
  list: (query: Query) => Promise<PageView<unknown>>;
}

/** Says of an empty listing whether there is nothing, or nothing that matches. */
export async function whyNothing({ what, none, filters, list }: Listing): Promise<string> {
  const given = Object.values(filters).some((value) => value !== undefined);
  if (!given) return none;
  const { data } = await list({ limit: 1 });
  return data.length === 0 ? none : `No ${what} matches; without the filters there are some.`;
}
