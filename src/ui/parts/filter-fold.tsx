import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { isNarrow } from './hooks.ts';

/** The filters of a list; on a narrow screen behind a button that says how many are on. */
export function FilterFold({ count, children }: { count: number; children: ComponentChildren }) {
  const [isOpen, setOpen] = useState(false);
  const isShown = isOpen || !isNarrow.value;
  return (
    <div class="filters">
      {isNarrow.value && (
        <button
          type="button"
          class="filters-button"
          aria-expanded={isOpen}
          onClick={() => setOpen(!isOpen)}
        >
          {count === 0 ? 'Filters' : `Filters (${count} on)`}
        </button>
      )}
      {isShown && children}
    </div>
  );
}
