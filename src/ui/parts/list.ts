import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import type { PageView } from '../../client/types.ts';

/** The most that one page of the API holds. */
export const PAGE_SIZE = 200;

/** A listing, page by page, as far as it was read. */
export interface List<Item> {
  items: readonly Item[];
  /** How many there are in all; null where the daemon does not say. */
  total: number | null;
  /** True where there are more than the daemon counts. */
  isCapped: boolean;
  hasMore: boolean;
  isLoading: boolean;
  /** False before the first answer. */
  isRead: boolean;
  error: unknown;
  loadMore: () => void;
  /** Begins again at the first page, and keeps the rows until it is there. */
  reload: () => void;
  /** The same, unless the rows are held as the page comes. @returns false where they were, and stayed */
  refresh: (isHeld: () => boolean) => Promise<boolean>;
  /** Changes rows in place. */
  patch: (change: (item: Item) => Item) => void;
}

interface State<Item> {
  key: string;
  items: readonly Item[];
  /** The keys of the items, which grow with them. */
  known: Set<string>;
  cursor: string | null;
  total: number | null;
  isCapped: boolean;
  isRead: boolean;
  error: unknown;
}

type LoadPage<Item> = (
  paging: { limit: number; cursor: string | undefined },
  signal: AbortSignal,
) => Promise<PageView<Item>>;

/** @param key changes with whatever the listing is filtered by */
export function useList<Item>(
  key: string,
  loadPage: LoadPage<Item>,
  keyOf: (item: Item) => string,
): List<Item> {
  const [state, setState] = useState<State<Item>>(() => empty(key));
  const [isLoading, setLoading] = useState(true);
  const current = useRef({ loadPage, keyOf, stop: new AbortController(), isBusy: false });
  Object.assign(current.current, { loadPage, keyOf });

  const load = useCallback(
    async (cursor: string | undefined, isHeld: () => boolean = () => false): Promise<boolean> => {
      const { stop } = current.current;
      let isShown = true;
      current.current.isBusy = true;
      setLoading(true);
      try {
        const page = await current.current.loadPage({ limit: PAGE_SIZE, cursor }, stop.signal);
        if (stop.signal.aborted) return true;
        isShown = !isHeld();
        if (isShown)
          setState((before) => joined(before, page, { key, cursor, keyOf: current.current.keyOf }));
      } catch (error) {
        if (stop.signal.aborted) return true;
        setState((before) => failed(before, { key, error }));
      }
      current.current.isBusy = false;
      setLoading(false);
      return isShown;
    },
    [key],
  );
  const refresh = useCallback(
    (isHeld?: () => boolean) => {
      current.current.stop.abort();
      current.current.stop = new AbortController();
      return load(undefined, isHeld);
    },
    [load],
  );
  const reload = useCallback(() => void refresh(), [refresh]);
  useEffect(() => {
    reload();
    return () => current.current.stop.abort();
  }, [reload]);

  const shown = state.key === key ? state : empty<Item>(key);
  return {
    ...shown,
    hasMore: shown.cursor !== null,
    isLoading,
    reload,
    refresh,
    loadMore: () => {
      if (shown.cursor !== null && !current.current.isBusy) void load(shown.cursor);
    },
    patch: useCallback((change) => {
      setState((before) => changed(before, change));
    }, []),
  };
}

function failed<Item>(
  before: State<Item>,
  { key, error }: { key: string; error: unknown },
): State<Item> {
  return { ...(before.key === key ? before : empty<Item>(key)), error, isRead: true };
}

/** The same state where no item changes. */
function changed<Item>(before: State<Item>, change: (item: Item) => Item): State<Item> {
  const items = before.items.map(change);
  return items.some((item, at) => item !== before.items[at]) ? { ...before, items } : before;
}

function empty<Item>(key: string): State<Item> {
  return {
    key,
    items: [],
    known: new Set(),
    cursor: null,
    total: null,
    isCapped: false,
    isRead: false,
    error: null,
  };
}

/** A row may come twice where rows move between pages: the first one is kept. */
function joined<Item>(
  before: State<Item>,
  page: PageView<Item>,
  {
    key,
    cursor,
    keyOf,
  }: { key: string; cursor: string | undefined; keyOf: (item: Item) => string },
): State<Item> {
  const { items, known } = cursor === undefined || before.key !== key ? empty<Item>(key) : before;
  const added = page.data.filter((item) => !known.has(keyOf(item)));
  for (const item of added) known.add(keyOf(item));
  return {
    key,
    items: [...items, ...added],
    known,
    cursor: page.next_cursor,
    total: page.total ?? null,
    isCapped: page.total_capped === true,
    isRead: true,
    error: null,
  };
}
