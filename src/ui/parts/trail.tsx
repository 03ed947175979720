import { useKeys } from '../app/keys.ts';
import { address, go, isKiosk, recallOfList, rememberOfList } from '../app/router.ts';
import { countText } from './format.ts';

/** A row of the list from which a link led here. */
interface TrailRow {
  key: string;
  to: string;
}

/** Where the page stands in that list. */
interface Trail {
  rows: readonly TrailRow[];
  at: number;
}

/** Null where no list led here. */
function trailOf(path: string): Trail | null {
  const rows = (recallOfList('trail') as readonly TrailRow[] | null) ?? [];
  const at = rows.findIndex(({ to }) => new URL(to, window.location.href).pathname === path);
  return at < 0 ? null : { rows, at };
}

/** The page of a neighbour takes the place of this one: Back leads to the list, and to its row. */
function follow({ key, to }: TrailRow): void {
  rememberOfList('marked', key);
  go(to, { replace: true });
  window.scrollTo(0, 0);
}

/** Leads to the neighbours of a page in the list from which a user came, as `j` and `k` do; else nothing. */
export function TrailLinks() {
  // The page is that of the address.
  const { path } = address.value;
  const trail = trailOf(window.location.pathname);
  if (trail === null || isKiosk.value) return null;
  return <Neighbours key={path} {...trail} />;
}

function Neighbours({ rows, at }: Trail) {
  const step = (by: number) => () => {
    const row = rows[at + by];
    if (row !== undefined) follow(row);
  };
  useKeys({ j: step(1), k: step(-1) });
  return (
    <nav class="trail" aria-label="The list">
      <button type="button" class="small" disabled={at === 0} onClick={step(-1)} title="Key: k">
        Previous
      </button>
      <span class="num faint">
        {countText(at + 1)} of {countText(rows.length)}
      </span>
      <button
        type="button"
        class="small"
        disabled={at === rows.length - 1}
        onClick={step(1)}
        title="Key: j"
      >
        Next
      </button>
    </nav>
  );
}
