import type { Asked } from '../api/types.ts';

/** A filter of a list: its text is in the address, and each use of it follows from this. */
export interface Filter<Subject> {
  /** Its name in the address. */
  name: string;
  /** Its text where the address has none. */
  usual?: string;
  /** What the API takes for its text, if not that. */
  read?: (text: string) => unknown;
  /** Whether it leaves rows out: an order does not. */
  narrows: boolean;
  /** True where a control of the page shows and sets it; any other has a chip: see {@link uncontrolledIn}. */
  hasControl?: true;
  /** Whether what an event is about passes; false where only the daemon can tell. */
  admits: (text: string, subject: Subject) => boolean;
}

/** The filters of a list, by their names in the API: each that the API has. */
export type Filters<Query, One> = Readonly<Record<Exclude<keyof Query, 'limit' | 'cursor'>, One>>;

type Address = Pick<URLSearchParams, 'get'>;

/**
 * The listing that an address asks for, as the API takes it, which judges it.
 * @param isMeant leaves filters out
 */
export function askedOf<Query>(
  filters: Filters<Query, Filter<never>>,
  address: Address,
  isMeant: (filter: Filter<never>) => boolean = () => true,
): Asked<Omit<Query, 'limit' | 'cursor'>> {
  const entries = Object.entries<Filter<never>>(filters).map(([field, filter]) => {
    const { name, usual = null, read = (text) => text } = filter;
    const text = isMeant(filter) ? (textOf(address, name) ?? usual) : null;
    return [field, text === null ? null : read(text)];
  });
  return Object.fromEntries(entries) as Asked<Omit<Query, 'limit' | 'cursor'>>;
}

/** The filters that an address has a text for, and that text. */
export function filtersIn<One extends { name: string }>(
  filters: Readonly<Record<string, One>>,
  address: Address,
): { filter: One; text: string }[] {
  return Object.values(filters).flatMap((filter) => {
    const text = textOf(address, filter.name);
    return text === null ? [] : [{ filter, text }];
  });
}

/** The filters that an address has a text for, and that no control of the page shows. */
export function uncontrolledIn<One extends Filter<never>>(
  filters: Readonly<Record<string, One>>,
  address: Address,
) {
  return filtersIn(filters, address).filter(({ filter }) => filter.hasControl !== true);
}

/** Whether an address leaves rows out, by filters of other names than some. */
export function isNarrowed(
  filters: Readonly<Record<string, Filter<never>>>,
  address: Address,
  besides: readonly string[] = [],
): boolean {
  return filtersIn(filters, address).some(
    ({ filter: { name, narrows } }) => narrows && !besides.includes(name),
  );
}

/** How many filters of an address leave rows out; the two ends of a range of time are one. */
export function countOn(
  filters: Readonly<Record<string, Filter<never>>>,
  address: Address,
): number {
  const names = filtersIn(filters, address)
    .filter(({ filter }) => filter.narrows)
    .map(({ filter: { name } }) => (name === 'until' ? 'since' : name));
  return new Set(names).size;
}

/** Whether what an event is about passes every filter of an address. */
export function admits<Subject>(
  filters: Readonly<Record<string, Filter<Subject>>>,
  address: Address,
  subject: Subject,
): boolean {
  return filtersIn(filters, address).every(({ filter, text }) => filter.admits(text, subject));
}

/** Whether a text names a value: several stand by comma. */
export function isAmong(text: string, value: string | null | undefined): boolean {
  return text.split(',').includes(value ?? '');
}

function textOf(address: Address, name: string): string | null {
  const text = address.get(name);
  return text === '' ? null : text;
}
