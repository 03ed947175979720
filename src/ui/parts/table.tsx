import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { useKeys } from '../app/keys.ts';
import { go, recall, remember } from '../app/router.ts';
import { isNarrow } from './hooks.ts';

export interface Column<Item> {
  name: string;
  /** Says how wide it is, and on what width of screen it goes. */
  className: string;
  render: (item: Item) => ComponentChildren;
}

interface Selection {
  keys: ReadonlySet<string>;
  toggle: (key: string) => void;
  toggleAll: () => void;
}

/** The rows that a user chose, by their keys. */
export interface Chosen<Item> extends Selection {
  items: readonly Item[];
  /** Selects every row that the table has now. */
  selectAll: () => void;
  clear: () => void;
  /** Takes rows out that something was done to. */
  drop: (items: readonly Item[]) => void;
}

/** A row that leaves the table, by a filter or by itself, is selected no more: no action is on hidden rows. */
export function useSelection<Item>(
  items: readonly Item[],
  keyOf: (item: Item) => string,
): Chosen<Item> {
  const [wanted, setKeys] = useState<ReadonlySet<string>>(new Set());
  const chosen = useMemo(
    () => (wanted.size === 0 ? [] : items.filter((item) => wanted.has(keyOf(item)))),
    [items, wanted],
  );
  const keys = useMemo(() => new Set(chosen.map(keyOf)), [chosen]);
  return {
    keys,
    items: chosen,
    toggle(key) {
      const next = new Set(keys);
      if (!next.delete(key)) next.add(key);
      setKeys(next);
    },
    toggleAll() {
      setKeys(keys.size >= items.length ? new Set() : new Set(items.map(keyOf)));
    },
    selectAll: () => setKeys(new Set(items.map(keyOf))),
    clear: () => setKeys(new Set()),
    drop(done) {
      const dropped = new Set(done.map(keyOf));
      setKeys((before) => new Set([...before].filter((key) => !dropped.has(key))));
    },
  };
}

interface TableProps<Item> {
  label: string;
  columns: readonly Column<Item>[];
  /** A row of a narrow screen, which has two lines and no columns. */
  brief: (item: Item) => ComponentChildren;
  items: readonly Item[];
  keyOf: (item: Item) => string;
  /** Where a row leads to. */
  hrefOf: (item: Item) => string;
  rowClass?: (item: Item) => string;
  /** How many rows there are in all, those included that were not read yet. */
  total: number;
  /** How many rows were read, where a filter hides some of them. */
  read?: number;
  onEnd?: () => void;
  selection?: Selection | undefined;
  /** Called as the pointer or the keyboard comes to a row and leaves it. */
  onHold?: (isHeld: boolean) => void;
  /** Further keys for the row that is marked. */
  onKey?: Record<string, (item: Item) => void>;
}

/** The height of a row. Must agree with the style sheet. */
const rowPx = () => (isNarrow.peek() ? 58 : 38);

/** Rows that are drawn above and below what can be seen. */
const MARGIN_ROWS = 4;

/**
 * Rows that one frame draws anew. A fast scroll brings a screen of new rows in every frame. Drawn at
 * once they hold a slow machine up for longer than a frame. So the others are blank for some frames.
 */
const ROWS_A_FRAME = 8;

/** A list that draws only the rows in view, however many there are. */
export function Table<Item>(given: TableProps<Item>) {
  const props = { ...given, columns: useColumns(given) };
  const { label, columns, items, total, read, selection, onHold, onEnd } = props;
  const body = useRef<HTMLTableSectionElement>(null);
  const { from, to, drawMore } = useWindow(body, items.length);
  const marked = useMarkedRow(props, body);
  const rows = useRows(props, { marked, drawMore });
  useEffect(() => {
    if (to >= items.length - MARGIN_ROWS) onEnd?.();
  }, [to, items.length, read]);
  useLayoutEffect(() => onHold?.(marked !== null), [marked !== null]);
  // Rows that are not there hold nothing.
  useLayoutEffect(() => () => onHold?.(false), []);
  return (
    <table
      class="rows"
      aria-label={label}
      aria-rowcount={total + 1}
      onMouseEnter={() => onHold?.(true)}
      onMouseLeave={() => onHold?.(marked !== null)}
    >
      <thead>
        <tr aria-rowindex={1}>
          {selection !== undefined && <SelectAll selection={selection} count={items.length} />}
          {columns.map(({ name, className }) => (
            <th key={name} scope="col" class={className}>
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody ref={body}>
        <Spacer rows={from} />
        {rows(items.slice(from, to), from)}
        <Spacer rows={items.length - to} />
      </tbody>
    </table>
  );
}

/** The columns; on a narrow screen one, with the two lines of each row. */
function useColumns<Item>({
  label,
  columns,
  brief,
}: Pick<TableProps<Item>, 'label' | 'columns' | 'brief'>): readonly Column<Item>[] {
  const narrow = isNarrow.value;
  return useMemo(
    () => (narrow ? [{ name: label, className: 'col-brief', render: brief }] : columns),
    [narrow, columns, brief],
  );
}

function Spacer({ rows }: { rows: number }) {
  if (rows <= 0) return null;
  return (
    <tr aria-hidden="true" class="spacer">
      <td style={{ height: `${rows * rowPx()}px` }} />
    </tr>
  );
}

function SelectAll({ selection, count }: { selection: Selection; count: number }) {
  return (
    <th scope="col" class="col-select">
      <input
        type="checkbox"
        aria-label="Select all rows that are shown"
        checked={count > 0 && selection.keys.size >= count}
        onChange={selection.toggleAll}
      />
    </th>
  );
}

interface RowProps<Item> {
  id: string;
  item: Item;
  at: number;
  className: string;
  columns: readonly Column<Item>[];
  /** Null where rows cannot be selected. */
  isSelected: boolean | null;
  onToggle: (id: string) => void;
  onOpen: (event: MouseEvent, item: Item) => void;
}

/**
 * Draws rows. An unchanged row keeps its node, which Preact then skips: scrolling draws only the rows
 * that come into view, some in each frame.
 */
function useRows<Item>(
  props: TableProps<Item>,
  { marked, drawMore }: { marked: string | null; drawMore: () => void },
) {
  const current = useRef(props);
  current.current = props;
  const drawn = useRef(new Map<string, { row: RowProps<Item>; node: ComponentChildren }>());
  const [handlers] = useState(() => ({
    onToggle: (id: string) => current.current.selection?.toggle(id),
    onOpen: (event: MouseEvent, item: Item) => {
      const { hrefOf, keyOf: idOf } = current.current;
      leaveTrail(current.current, idOf(item));
      openRow(event, hrefOf(item));
    },
  }));
  const { columns, keyOf, rowClass, selection } = props;
  const rowOf = (item: Item, at: number): RowProps<Item> => {
    const id = keyOf(item);
    const isSelected = selection === undefined ? null : selection.keys.has(id);
    const names = [
      rowClass?.(item) ?? '',
      id === marked ? 'marked' : '',
      isSelected === true ? 'selected' : '',
    ];
    return { id, item, at, className: names.join(' ').trim(), columns, isSelected, ...handlers };
  };
  return (items: readonly Item[], from: number): ComponentChildren[] => {
    const before = drawn.current;
    drawn.current = new Map();
    let left = before.size === 0 ? Infinity : ROWS_A_FRAME;
    const nodes: ComponentChildren[] = [];
    let blank = 0;
    for (const [index, item] of items.entries()) {
      const row = rowOf(item, from + index);
      const known = before.get(row.id);
      if (known === undefined && (left -= 1) < 0) {
        blank += 1;
        continue;
      }
      if (blank > 0) nodes.push(<Spacer key={`before ${row.id}`} rows={blank} />);
      blank = 0;
      const node =
        known !== undefined && isSame(known.row, row) ? known.node : <Row key={row.id} {...row} />;
      drawn.current.set(row.id, { row, node });
      nodes.push(node);
    }
    if (left < 0) drawMore();
    return blank > 0 ? [...nodes, <Spacer key="after" rows={blank} />] : nodes;
  };
}

function isSame<Props extends object>(one: Props, other: Props): boolean {
  return (Object.keys(one) as (keyof Props)[]).every((name) => one[name] === other[name]);
}

function Row<Item>({ id, item, at, className, columns, isSelected, ...on }: RowProps<Item>) {
  return (
    <tr
      data-key={id}
      class={className}
      aria-rowindex={at + 2}
      aria-selected={isSelected ?? undefined}
      onClick={(event) => on.onOpen(event, item)}
    >
      {isSelected !== null && (
        <td class="col-select">
          <input
            type="checkbox"
            aria-label={`Select ${id}`}
            checked={isSelected}
            onChange={() => on.onToggle(id)}
          />
        </td>
      )}
      {columns.map(({ name, className: ofColumn, render }) => (
        <td key={name} class={ofColumn}>
          {render(item)}
        </td>
      ))}
    </tr>
  );
}

/** Keeps where the rows lead, for the page that one of them opens, and that row for the return. */
function leaveTrail<Item>(
  { items, keyOf, hrefOf }: Pick<TableProps<Item>, 'items' | 'keyOf' | 'hrefOf'>,
  opened: string,
): void {
  remember(
    'trail',
    items.map((item) => ({ key: keyOf(item), to: hrefOf(item) })),
  );
  remember('marked', opened);
}

/** A click anywhere on a row opens it; its link is for the keyboard, and for a new tab. */
function openRow(event: MouseEvent, to: string): void {
  const target = event.target as Element;
  if (target.closest('a, button, input, label') !== null) return;
  if (window.getSelection()?.isCollapsed === false) return;
  if (event.metaKey || event.ctrlKey) window.open(to, '_blank', 'noopener');
  else go(to);
}

/** Which rows can be seen, and a function that draws them again in the next frame. */
function useWindow(body: { current: HTMLElement | null }, count: number) {
  const [range, setRange] = useState({ from: 0, to: Math.min(count, 60), turn: 0 });
  const current = useRef(count);
  current.current = count;
  const [frame] = useState(() => {
    let [pending, turn] = [0, 0];
    const measure = () => {
      pending = 0;
      const top = body.current?.getBoundingClientRect().top ?? 0;
      const first = Math.floor(-top / rowPx()) - MARGIN_ROWS;
      const rows = Math.ceil(window.innerHeight / rowPx()) + 2 * MARGIN_ROWS;
      const from = Math.max(0, Math.min(first, current.current - rows));
      const to = Math.min(current.current, from + rows);
      setRange((before) => (isSame(before, { from, to, turn }) ? before : { from, to, turn }));
    };
    // Measuring at once would lay out what has just changed, and again what measuring changes.
    const soon = () => (pending ||= window.requestAnimationFrame(measure));
    return {
      measure,
      soon,
      // In the same frame: two would lay out the table twice.
      drawMore: () => {
        turn += 1;
        soon();
      },
      stop: () => window.cancelAnimationFrame(pending),
    };
  });
  useLayoutEffect(() => {
    frame.measure();
    window.addEventListener('scroll', frame.soon, { passive: true });
    window.addEventListener('resize', frame.soon);
    return () => {
      frame.stop();
      window.removeEventListener('scroll', frame.soon);
      window.removeEventListener('resize', frame.soon);
    };
  }, []);
  useEffect(() => void frame.soon(), [count]);
  const { from, to } = range;
  return { from: Math.min(from, count), to: Math.min(to, count), drawMore: frame.drawMore };
}

/** The row that the keyboard is on, by its key; null before the first `j`. */
function useMarkedRow<Item>(
  props: TableProps<Item>,
  body: { current: HTMLElement | null },
): string | null {
  const { items, keyOf, hrefOf, selection, onKey = {} } = props;
  const [marked, setMarked] = useState(() => recall('marked') as string | null);
  const at = marked === null ? -1 : items.findIndex((item) => keyOf(item) === marked);
  const followMark = useFocusOnMark(body, { marked, at });
  const move = (step: number) => {
    const next = Math.max(0, Math.min(items.length - 1, at + step));
    const item = items[next];
    if (item === undefined) return;
    setMarked(keyOf(item));
    scrollTo(body.current, next);
    followMark();
  };
  const withItem = (action: (item: Item) => void) => () => {
    const item = items[at];
    if (item !== undefined) action(item);
  };
  useKeys({
    j: () => move(1),
    k: () => move(-1),
    Enter: withItem((item) => {
      leaveTrail(props, keyOf(item));
      go(hrefOf(item));
    }),
    ...(selection !== undefined && { x: withItem((item) => selection.toggle(keyOf(item))) }),
    ...Object.fromEntries(
      Object.entries(onKey).map(([key, action]) => [key, withItem(action)] as const),
    ),
    ...(marked !== null && { Escape: () => setMarked(null) }),
  });
  useLayoutEffect(() => remember('marked', marked), [marked]);
  return at < 0 ? null : marked;
}

/**
 * Puts the focus on the row from which a user left, once it is drawn.
 * @returns a function that has it follow the mark from row to row: Enter opens the row that is marked
 */
function useFocusOnMark(
  body: { current: HTMLElement | null },
  { marked, at }: { marked: string | null; at: number },
): () => void {
  const isWanted = useRef(marked !== null);
  useEffect(() => {
    if (isWanted.current && at >= 0 && isOutOfView(body.current, at)) scrollTo(body.current, at);
  }, [at >= 0]);
  // Before the next key: a quick user presses Enter at once.
  useLayoutEffect(() => {
    if (!isWanted.current || marked === null) return;
    const row = body.current?.querySelector(`tr[data-key="${CSS.escape(marked)}"]`);
    const link = row?.querySelector<HTMLElement>('td:not(.col-select) a');
    if (link === null || link === undefined) return;
    isWanted.current = false;
    if (isFree()) link.focus({ preventScroll: true });
  });
  const isInRows = () => body.current?.contains(document.activeElement) === true;
  const isFree = () => document.activeElement === document.body || isInRows();
  return () => {
    isWanted.current = isInRows();
    // The row that is left would take Enter until the other one is drawn.
    if (isWanted.current) (document.activeElement as HTMLElement).blur();
  };
}

const topOf = (body: HTMLElement, at: number) => body.getBoundingClientRect().top + at * rowPx();

/** What sticks to the top ends so far down, with some room, pixels. */
const CEILING_PX = 110;

/** A page that a user comes back to is scrolled as it was left, where its row can be seen there. */
function isOutOfView(body: HTMLElement | null, at: number): boolean {
  if (body === null) return false;
  const top = topOf(body, at);
  return top + rowPx() < CEILING_PX || top > window.innerHeight;
}

/** Keeps a row in view, below what sticks to the top. */
function scrollTo(body: HTMLElement | null, at: number): void {
  if (body === null) return;
  const top = topOf(body, at);
  const floor = window.innerHeight - 2 * rowPx();
  if (top < CEILING_PX) window.scrollBy(0, top - CEILING_PX);
  else if (top > floor) window.scrollBy(0, top - floor);
}
