/** A page of a listing. `nextCursor` is opaque, and null on the last page. */
export interface Page<Item> {
  items: Item[];
  nextCursor: string | null;
}

/** How many match in all. */
export interface Total {
  /** Up to 10,000. */
  total: number;
  /** There are more, or the search for them ended before it had examined all. */
  isCapped: boolean;
}

/** A page that says how many there are on all pages. */
export interface CountedPage<Item> extends Page<Item>, Total {}
