import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { EventView } from '../../client/types.ts';
import { isPaused } from '../api/live.ts';
import { released } from '../app/press.ts';
import { isKiosk } from '../app/router.ts';
import { plural } from './format.ts';
import type { List } from './list.ts';
import { useLive } from './hooks.ts';

interface NewsOptions<Item> {
  keyOf: (event: EventView) => string;
  keyOfItem: (item: Item) => string;
  /** Whether what an event is about belongs into the list. */
  isWanted: (event: EventView) => boolean;
  /** The row after an event about it. */
  patch: (item: Item, event: EventView) => Item;
  /** True where the user holds rows by a selection. */
  isHeld: boolean;
  /** How many there are by now; a registration alone causes no event. */
  total?: number | null | undefined;
}

export interface News {
  /** How many new rows wait to be shown. */
  count: number;
  show: () => void;
  /** Whether rows must keep their places. */
  isHeld: () => boolean;
  /** Says that the pointer or the keyboard is on a row. */
  hold: (isHeld: boolean) => void;
}

/** Shortest time between two loads of a list that is not held, ms. */
const RELOAD_MS = 3_000;

/**
 * Applies live events to a list. Rows that are shown change in place. New ones wait to be asked for while
 * the pointer, the keyboard, a selection or a scrolled page keeps the rows in their places.
 */
export function useNews<Item>(list: List<Item>, options: NewsOptions<Item>): News {
  const [waiting, setWaiting] = useState<ReadonlySet<string>>(new Set());
  const [isStale, setStale] = useState(false);
  /** Events were missed of which the rows know nothing. */
  const isBlind = useRef(false);
  const pointer = useRef(false);
  const selection = useRef(false);
  selection.current = options.isHeld;
  const [turn, setTurn] = useState(0);
  const { keyOf, keyOfItem, isWanted, patch } = options;
  const keysOf = useKeysOf(keyOfItem);
  const isHeld = () =>
    isPaused.peek() ||
    released() !== undefined ||
    (pointer.current && !isKiosk.peek()) ||
    selection.current ||
    window.scrollY > 80;
  const unseen = Math.max(0, (options.total ?? 0) - (list.total ?? Infinity));
  const show = () => {
    setWaiting(new Set());
    setStale(false);
    list.reload();
  };
  const showUnlessHeld = async () => {
    setWaiting(new Set());
    setStale(false);
    const wasBlind = isBlind.current;
    isBlind.current = false;
    if (await list.refresh(isHeld)) return;
    isBlind.current ||= wasBlind;
    setWaiting((since) => new Set([...waiting, ...since]));
    setStale(isStale);
  };
  useLive((events) => {
    if (events === null) {
      isBlind.current = true;
      return setStale(true);
    }
    const newest = new Map(events.map((event) => [keyOf(event), event]));
    const known = keysOf(list.items);
    list.patch((item) => {
      const event = newest.get(keyOfItem(item));
      return event === undefined ? item : patch(item, event);
    });
    const added = [...newest]
      .filter(([key, event]) => !known.has(key) && isWanted(event))
      .map(([key]) => key);
    setWaiting((before) =>
      added.every((key) => before.has(key)) ? before : new Set([...before, ...added]),
    );
  });
  useLayoutEffect(() => {
    setWaiting(new Set());
    setStale(false);
  }, [list.key]);
  useEffect(() => {
    if (waiting.size === 0 && !isStale && unseen === 0) return;
    const timer = window.setTimeout(
      () => {
        if (!isHeld()) return void showUnlessHeld();
        if (isBlind.current) void list.renew();
        isBlind.current = false;
        setTurn((before) => before + 1);
      },
      turn === 0 ? 400 : RELOAD_MS,
    );
    return () => window.clearTimeout(timer);
  }, [waiting, isStale, unseen, turn]);
  return {
    count: Math.max(waiting.size, unseen),
    show,
    isHeld,
    hold: (held) => (pointer.current = held),
  };
}

/** Shows the new rows that wait, once a user wants them. */
export function NewsButton({ news, noun }: { news: News; noun: string }) {
  if (news.count === 0) return null;
  return (
    <button type="button" class="news" onClick={news.show}>
      {plural(news.count, noun)}
    </button>
  );
}

/** The keys of a list, gathered once for each list: there may be thousands, and events many times a second. */
function useKeysOf<Item>(
  keyOfItem: (item: Item) => string,
): (items: readonly Item[]) => ReadonlySet<string> {
  const last = useRef<{ items: readonly Item[]; keys: ReadonlySet<string> } | null>(null);
  return (items) => {
    if (last.current?.items !== items) {
      last.current = { items, keys: new Set(items.map(keyOfItem)) };
    }
    return last.current.keys;
  };
}
