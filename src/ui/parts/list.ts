import { useCallback, useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { PageView } from '../../client/types.ts';
import { recall, remember } from '../app/router.ts';

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
  /** Reads the rows again that are shown, which keep their places. An error leaves them as they are. */
  renew: () => Promise<void>;
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
  const [state, setState] = useState(() => keptOf<Item>(key) ?? empty<Item>(key));
  const [isLoading, setLoading] = useState(!state.isRead);
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
    const kept = keptOf<Item>(key);
    if (kept === null) {
      reload();
    } else {
      // A page that was being read for another filter is called off.
      Object.assign(current.current, { stop: new AbortController(), isBusy: false });
      setState(kept);
      setLoading(false);
      const { stop } = current.current;
      void renewed(kept, current.current, stop.signal).then(
        (after) => stop.signal.aborted || setState(after),
        (error: unknown) =>
          stop.signal.aborted || setState((before) => failed(before, { key, error })),
      );
    }
    return () => current.current.stop.abort();
  }, [reload]);
  // At once: a quick user opens a row before effects run.
  useLayoutEffect(() => {
    if (state.isRead && state.error === null) remember(memoryOf(state.key), state);
  }, [state]);

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
    renew: async () => {
      const { stop } = current.current;
      const after = await renewed(shown, current.current, stop.signal).catch(() => UNCHANGED);
      if (!stop.signal.aborted) setState(after);
    },
    patch: useCallback((change) => {
      setState((before) => changed(before, change));
    }, []),
  };
}

const UNCHANGED = <Item>(before: State<Item>): State<Item> => before;

/**
 * Reads rows again, as those that a user has come back to: as many pages as were read. Rows keep their places, and new ones are
 * not among them.
 * @returns the change of the state
 */
async function renewed<Item>(
  { items }: State<Item>,
  { loadPage, keyOf }: { loadPage: LoadPage<Item>; keyOf: (item: Item) => string },
  signal: AbortSignal,
): Promise<(before: State<Item>) => State<Item>> {
  const newest = new Map<string, Item>();
  let [cursor, read]: [string | undefined, number] = [undefined, 0];
  do {
    const page = await loadPage({ limit: PAGE_SIZE, cursor }, signal);
    for (const item of page.data) newest.set(keyOf(item), item);
    cursor = page.next_cursor ?? undefined;
    read += page.data.length;
  } while (cursor !== undefined && read < items.length);
  return (before) => changed(before, (item) => newest.get(keyOf(item)) ?? item);
}

/** By which name the rows of a list are remembered. */
const memoryOf = (key: string) => `list ${key}`;

/** The rows as they were left, on a return; null where there are none. */
const keptOf = <Item>(key: string) => recall(memoryOf(key)) as State<Item> | null;

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
