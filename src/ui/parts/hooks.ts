import { signal } from '@preact/signals';
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { EventView } from '../../client/types.ts';
import { isPaused, onLive } from '../api/live.ts';
import { released } from '../app/press.ts';

/** The present moment, for ages; it moves once a second. Milliseconds since the epoch. */
export const now = signal(Date.now());

window.setInterval(() => {
  if (!document.hidden && released() === undefined) now.value = Date.now();
}, 1_000);

const narrow = window.matchMedia('(max-width: 640px)');

/** Whether the screen is as narrow as that of a phone. Must agree with the style sheets. */
export const isNarrow = signal(narrow.matches);

narrow.addEventListener('change', ({ matches }) => (isNarrow.value = matches));

/** What was asked of the API, and how it stands. */
export interface Loaded<Value> {
  /** The last answer; kept while a newer one is loading or fails. */
  value: Value | null;
  error: unknown;
  reload: () => void;
}

/** Shortest time between two loads of the same thing, ms: however many events come. */
const RELOAD_MS = 2_000;

/**
 * Loads something anew whenever `key` changes, when asked, and on everything that `on` says concerns it.
 * @param on true where an event makes the value stale
 */
export function useLoaded<Value>(
  key: string,
  load: (signal: AbortSignal) => Promise<Value>,
  { on = () => false, everyMs }: { on?: (event: EventView) => boolean; everyMs?: number } = {},
): Loaded<Value> {
  const [state, setState] = useState<{ key: string; value: Value | null; error: unknown }>({
    key,
    value: null,
    error: null,
  });
  const [turn, setTurn] = useState(0);
  const reload = useCallback(() => setTurn((before) => before + 1), []);
  const flight = useRef({ isOn: false, isStale: false });
  // A slow answer is shown, however often newer ones are asked for.
  const renew = () => {
    if (flight.current.isOn) flight.current.isStale = true;
    else reload();
  };
  const renewSoon = useStale(renew, on, everyMs);
  const current = useRef(load);
  current.current = load;
  useEffect(() => {
    const stop = new AbortController();
    flight.current = { isOn: true, isStale: false };
    void settle(current.current(stop.signal)).then((result) => {
      if (stop.signal.aborted) return undefined;
      const { isStale } = flight.current;
      flight.current = { isOn: false, isStale: false };
      setState((before) => ({
        key,
        value: result.error === null || before.key !== key ? result.value : before.value,
        error: result.error,
      }));
      if (isStale) renewSoon();
      return undefined;
    });
    return () => stop.abort();
  }, [key, turn]);
  const { value, error } = state.key === key ? state : { value: null, error: null };
  return { value, error, reload };
}

async function settle<Value>(
  work: Promise<Value>,
): Promise<{ value: Value; error: null } | { value: null; error: unknown }> {
  try {
    return { value: await work, error: null };
  } catch (error) {
    return { value: null, error };
  }
}

/**
 * Calls `reload` on what makes something stale, at most so often, and not while the user holds the screens still.
 * @returns does so as if something were
 */
export function useStale(
  reload: () => void,
  concerns: (event: EventView) => boolean,
  everyMs: number | undefined,
): () => void {
  const current = useRef({ reload, concerns });
  current.current = { reload, concerns };
  const timer = useRef<number | undefined>(undefined);
  const last = useRef(0);
  const soon = useCallback(() => {
    const waitMs = Math.max(0, last.current + RELOAD_MS - Date.now());
    timer.current ??= window.setTimeout(() => {
      timer.current = undefined;
      last.current = Date.now();
      if (isPaused.peek()) soon();
      else current.current.reload();
    }, waitMs);
  }, []);
  useEffect(() => {
    const stop = onLive((events) => {
      if (events === null || events.some((event) => current.current.concerns(event))) soon();
    });
    const interval =
      everyMs === undefined
        ? undefined
        : window.setInterval(() => {
            if (!document.hidden && !isPaused.peek()) soon();
          }, everyMs);
    return () => {
      stop();
      window.clearTimeout(timer.current);
      timer.current = undefined;
      window.clearInterval(interval);
    };
  }, [everyMs]);
  return soon;
}

/** Hears the live events while the component is shown. */
export function useLive(listener: (events: readonly EventView[] | null) => void): void {
  const current = useRef(listener);
  current.current = listener;
  useEffect(() => onLive((events) => current.current(events)), []);
}

/** The width of an element, in pixels. */
export function useWidth(box: { current: HTMLElement | null }): number {
  const [width, setWidth] = useState(800);
  useLayoutEffect(() => {
    const { current } = box;
    if (current === null) return undefined;
    setWidth(current.clientWidth);
    const observer = new ResizeObserver(() => setWidth(current.clientWidth));
    observer.observe(current);
    return () => observer.disconnect();
  }, []);
  return width;
}

/** Grows where a dialog has changed what another part of the screen shows. */
export const refreshed = signal(0);

/** Whether the component is still shown, for what is done after an answer. */
export function useIsShown(): { readonly current: boolean } {
  const isShown = useRef(true);
  useLayoutEffect(
    () => () => {
      isShown.current = false;
    },
    [],
  );
  return isShown;
}
