import { computed, signal } from '@preact/signals';

/** A screen's address below the server's root: `/runs`, with its query. */
export interface Address {
  path: string;
  query: URLSearchParams;
}

/** Where the server's root lies, as a path that ends in `/`; a proxy may serve it below another. */
export const ROOT = new URL('.', document.baseURI).pathname;

function read(): Address {
  const { pathname, search } = window.location;
  const path = pathname.startsWith(ROOT) ? pathname.slice(ROOT.length) : '';
  return { path: `/${path}`.replace(/(.)\/$/, '$1'), query: new URLSearchParams(search) };
}

export const address = signal<Address>(read());

/** An entry of the browser's history. */
interface Entry {
  id: string;
  /** How many entries of ours lie before it. */
  depth: number;
  /** The entry from which a link led here; null where the page was loaded here. */
  from: string | null;
}

let made = 0;

function newEntry(depth: number, from: string | null): Entry {
  made += 1;
  // An entry outlives a reload of the page: a number alone would name two.
  return { id: `${performance.timeOrigin} ${made}`, depth, from };
}

let entry: Entry = (window.history.state as Entry | null) ?? newEntry(0, null);

/** Whether Back or Forward led to the entry, and nothing of its address has changed since. */
let isReturn = false;

/** What pages remember, by entry: the last ones are kept. */
const memory = new Map<string, Map<string, unknown>>();

const MOST_ENTRIES = 40;

/** Keeps something for a return to an entry, the present one if none is named. */
export function remember(name: string, value: unknown, at: string | null = entry.id): void {
  if (at === null) return;
  const ofEntry = memory.get(at) ?? new Map<string, unknown>();
  ofEntry.set(name, value);
  memory.delete(at);
  memory.set(at, ofEntry);
  for (const oldest of [...memory.keys()].slice(0, -MOST_ENTRIES)) memory.delete(oldest);
}

/** What was kept, where Back or Forward has led to this entry; else null. */
export function recall(name: string): unknown {
  return isReturn ? recallAt(name, entry.id) : null;
}

function recallAt(name: string, at: string | null): unknown {
  return at === null ? null : (memory.get(at)?.get(name) ?? null);
}

/** What the page kept from which a link led here; null where there is none. */
export function recallOfList(name: string): unknown {
  return recallAt(name, entry.from);
}

/** Keeps something for a return to the page from which a link led here. */
export function rememberOfList(name: string, value: unknown): void {
  remember(name, value, entry.from);
}

/** Whether Back leads to a page of ours. */
export function canGoBack(): boolean {
  return entry.depth > 0;
}

/** A way back that is as good as taken. */
let leaving: number | undefined;

/** Goes back once, however often before the page has changed. */
export function goBack(): void {
  if (leaving !== undefined) return;
  leaving = window.setTimeout(() => (leaving = undefined), BACK_WITHIN_MS);
  window.history.back();
}

/** No browser takes longer for a way back within the page, ms. */
const BACK_WITHIN_MS = 1_000;

/** True on a wall: no controls are shown. */
export const isKiosk = computed(() => address.value.query.has('kiosk'));

/** The fields of an address; those without a value are left out. */
export type Fields = Record<string, string | number | null | undefined>;

/** The address of a screen, or of a route of the API, as the browser takes it. */
export function href(path: string, fields: Fields = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) {
    if (value !== null && value !== undefined && value !== '') query.set(name, String(value));
  }
  const text = query.toString();
  return `${ROOT}${path.slice(1)}${text === '' ? '' : `?${text}`}`;
}

/** Where a run is shown; without its source, the API finds the one that has it. */
export function runPath({
  run_id: id,
  source,
}: {
  run_id: string;
  source?: string | undefined;
}): string {
  const parts = source === undefined ? [id] : [source, id];
  return `/runs/${parts.map(encodeURIComponent).join('/')}`;
}

export function alertPath(id: string): string {
  return `/alerts/${encodeURIComponent(id)}`;
}

export function deliveryPath(id: string): string {
  return `/deliveries/${encodeURIComponent(id)}`;
}

/** Where a batch is shown, by its name or its id: a name may come to stand for a later one. */
export function batchPath(name: string): string {
  return `/batches/${encodeURIComponent(name)}`;
}

/** Goes to an address that {@link href} made. */
export function go(to: string, { replace = false } = {}): void {
  isReturn = false;
  if (replace) {
    window.history.replaceState(entry, '', to);
  } else {
    remember('scroll', window.scrollY);
    entry = newEntry(entry.depth + 1, entry.id);
    window.history.pushState(entry, '', to);
  }
  address.value = read();
  if (!replace) window.scrollTo(0, 0);
}

/** Changes some fields of the query and keeps the others and the screen. */
export function setQuery(fields: Fields, { replace = true } = {}): void {
  const { path, query } = address.peek();
  go(href(path, { ...Object.fromEntries(query), ...fields }), { replace });
}

/** Lets links, Back and Forward change the screen without loading the page anew. */
export function startRouter(): void {
  // The content of a page comes later: see `useScrollBack`.
  window.history.scrollRestoration = 'manual';
  window.history.replaceState(entry, '');
  window.addEventListener('popstate', ({ state }) => {
    remember('scroll', window.scrollY);
    window.clearTimeout(leaving);
    leaving = undefined;
    entry = (state as Entry | null) ?? newEntry(0, null);
    isReturn = true;
    address.value = read();
  });
  document.addEventListener('click', (event) => {
    const { button, metaKey, ctrlKey, shiftKey, altKey, defaultPrevented } = event;
    if (defaultPrevented || button !== 0 || metaKey || ctrlKey || shiftKey || altKey) return;
    const link = (event.target as Element).closest('a');
    if (link === null) return;
    const to = linkTarget(link);
    if (to === null) return;
    event.preventDefault();
    go(to);
  });
}

function linkTarget(link: HTMLAnchorElement | SVGAElement): string | null {
  const text = link.getAttribute('href');
  if (text === null || link.getAttribute('target') !== null || link.hasAttribute('download')) {
    return null;
  }
  const url = new URL(text, document.baseURI);
  const isOurs = url.origin === window.location.origin && url.pathname.startsWith(ROOT);
  const isPage = !/^(docs|openapi\.json|metrics|readyz)/.test(url.pathname.slice(ROOT.length));
  return isOurs && isPage && url.hash === '' ? `${url.pathname}${url.search}` : null;
}
