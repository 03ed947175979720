import { useEffect, useLayoutEffect, useState } from 'preact/hooks';
import type { PageView } from '../../client/types.ts';
import { recall, remember } from '../app/router.ts';

/** The most that one page of the API holds. */
export const PAGE_SIZE = 200;

/** Of so many rows each is read again in its place. */
const MOST_RENEWED = 2_000;

/** A listing, page by page, as far as it was read. */
export interface List<Item> {
  /** What it is filtered by. */
  key: string;
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
  /**
   * The same after what is being read, unless the rows are held as the page comes.
   * @returns false where they were, and stayed
   */
  refresh: (isHeld: () => boolean) => Promise<boolean>;
  /**
   * Reads the rows again that are shown, which keep their places; not those of a list that is long by far. An error
   * leaves them as they are.
   */
  renew: () => Promise<void>;
  /** Refreshes the list, or renews the rows where they are held. */
  update: (isHeld: () => boolean) => Promise<void>;
  /** Whether a user has scrolled on to further pages, which a list that begins anew would take away. */
  isScrolledOn: () => boolean;
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
  const [reader] = useState(() => new ListReader<Item>(setState, setLoading));
  const shown = state.key === key ? state : empty<Item>(key);
  reader.asked = { key, loadPage, keyOf, items: shown.items };
  useEffect(() => {
    reader.open(keptOf<Item>(key));
    return reader.stop;
  }, [key]);
  // At once: a quick user opens a row before effects run.
  useLayoutEffect(() => {
    if (state.isRead && state.error === null) remember(memoryOf(state.key), state);
  }, [state]);

  const { reload, refresh, patch } = reader;
  return {
    ...shown,
    hasMore: shown.cursor !== null,
    isLoading,
    reload,
    refresh,
    loadMore: () => reader.loadMore(shown.cursor),
    renew: () => reader.renew(),
    update: async (isHeld) => {
      const isShown = !isHeld() && (await refresh(isHeld));
      if (!isShown) await reader.renew();
    },
    isScrolledOn: () => reader.asked.items.length > PAGE_SIZE && window.scrollY > 0,
    patch,
  };
}

type Change<Item> = (item: Item) => Item;

const NEVER = () => false;

/**
 * Reads the pages of one list, one at a time. `reload` calls off what is being read; all others wait for it.
 */
class ListReader<Item> {
  /** What the list is by now, as it was drawn last. */
  asked!: {
    key: string;
    loadPage: LoadPage<Item>;
    keyOf: (item: Item) => string;
    items: readonly Item[];
  };
  private ended = new AbortController();
  private reading: Promise<boolean> | null = null;
  /** What waits for its turn. */
  private refreshing: Promise<boolean> | null = null;
  private renewing: Promise<boolean> | null = null;
  /** Where the page begins that is wanted after what is being read. */
  private wanted: string | null = null;
  /** Changes of rows since each answer was asked for, which it may not have. */
  private readonly missed = new Set<Change<Item>[]>();
  private readonly setState: (change: Change<State<Item>>) => void;
  private readonly setLoading: (isLoading: boolean) => void;

  constructor(
    setState: (change: Change<State<Item>>) => void,
    setLoading: (isLoading: boolean) => void,
  ) {
    this.setState = setState;
    this.setLoading = setLoading;
  }

  /** Shows the rows as they were left, and reads them again; without them, the first page. */
  open(kept: State<Item> | null): void {
    if (kept === null) return this.reload();
    this.stop();
    this.setState(() => kept);
    this.setLoading(false);
    const { key } = this.asked;
    this.asked.items = kept.items;
    this.reading = this.readAgain((error) =>
      this.setState((before) => failed(before, { key, error })),
    );
  }

  readonly stop = (): void => {
    this.ended.abort();
    this.ended = new AbortController();
    this.reading = null;
    this.refreshing = null;
    this.renewing = null;
    this.wanted = null;
  };

  readonly reload = (): void => {
    this.stop();
    void this.start(undefined, NEVER);
  };

  readonly refresh = (isHeld: () => boolean): Promise<boolean> =>
    (this.refreshing ??= this.inTurn(() => {
      this.refreshing = null;
      return this.start(undefined, isHeld);
    }, true));

  loadMore(cursor: string | null): void {
    if (cursor === null) return;
    if (this.reading !== null) this.wanted = cursor;
    else void this.start(cursor, NEVER);
  }

  async renew(): Promise<void> {
    if (this.asked.items.length > MOST_RENEWED) return;
    this.renewing ??= this.inTurn(() => {
      this.renewing = null;
      this.reading = this.readAgain(() => undefined);
      return this.reading;
    }, true);
    await this.renewing;
  }

  readonly patch = (change: Change<Item>): void => {
    for (const missed of this.missed) missed.push(change);
    this.setState((before) => changed(before, change));
  };

  /** Does something once nothing is being read; `otherwise` where that is called off. */
  private async inTurn<Value>(work: () => Promise<Value>, otherwise: Value): Promise<Value> {
    const { signal } = this.ended;
    // At least once: by then what waits is known.
    do await this.reading;
    while (this.reading !== null);
    return signal.aborted ? otherwise : work();
  }

  private start(cursor: string | undefined, isHeld: () => boolean): Promise<boolean> {
    this.setLoading(true);
    this.reading = this.read(cursor, isHeld);
    return this.reading;
  }

  /** @returns false where rows were held as the page came */
  private async read(cursor: string | undefined, isHeld: () => boolean): Promise<boolean> {
    const { key, loadPage, keyOf } = this.asked;
    const { signal } = this.ended;
    const missed = this.changesFromNow();
    let isShown = true;
    let next: string | null = null;
    try {
      const page = await loadPage({ limit: PAGE_SIZE, cursor }, signal);
      if (signal.aborted) return true;
      isShown = !isHeld();
      next = isShown ? page.next_cursor : this.wanted;
      if (isShown)
        this.setState((before) =>
          missed.reduce(changed, joined(before, page, { key, cursor, keyOf })),
        );
    } catch (error) {
      if (signal.aborted) return true;
      this.setState((before) => failed(before, { key, error }));
    } finally {
      this.missed.delete(missed);
    }
    // The page that is wanted while a further one is read is that one.
    this.goOn(cursor === undefined ? next : null);
    return isShown;
  }

  /** Reads the next page where that was asked for meanwhile. */
  private goOn(cursor: string | null): void {
    const { wanted } = this;
    this.reading = null;
    this.wanted = null;
    this.setLoading(false);
    if (wanted !== null) this.loadMore(cursor);
  }

  /** As many pages as rows were read. They keep their places, and new ones are not among them. */
  private async readAgain(onError: (error: unknown) => void): Promise<boolean> {
    const { loadPage, keyOf, items } = this.asked;
    const { signal } = this.ended;
    const missed = this.changesFromNow();
    const newest = new Map<string, Item>();
    let [cursor, read]: [string | undefined, number] = [undefined, 0];
    try {
      do {
        const page = await loadPage({ limit: PAGE_SIZE, cursor }, signal);
        for (const item of page.data) newest.set(keyOf(item), item);
        cursor = page.next_cursor ?? undefined;
        read += page.data.length;
      } while (cursor !== undefined && read < items.length);
      if (signal.aborted) return true;
      this.setState((before) =>
        missed.reduce(
          changed,
          changed(before, (item) => newest.get(keyOf(item)) ?? item),
        ),
      );
    } catch (error) {
      if (signal.aborted) return true;
      onError(error);
    } finally {
      this.missed.delete(missed);
    }
    this.goOn(this.wanted);
    return true;
  }

  private changesFromNow(): Change<Item>[] {
    const missed: Change<Item>[] = [];
    this.missed.add(missed);
    return missed;
  }
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
