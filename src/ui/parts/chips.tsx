import type { ComponentChildren } from 'preact';
import { address, href } from '../app/router.ts';
import { countText } from './format.ts';
import { Glyph, toneOf } from './status.tsx';

export interface Chip {
  name: string;
  /** The fields of the query that it sets; others of the chips are taken away. */
  fields: Record<string, string>;
  /** Its state's word, for the shape beside it. */
  state?: string;
  /** What stands beside it in place of that shape. */
  mark?: ComponentChildren;
  /** Null while it is not known. */
  count?: number | null | undefined;
  isCapped?: boolean | undefined;
}

/** Filters of which one holds, as links: each has its address. */
export function Chips({
  label,
  chips,
  names,
}: {
  label: string;
  chips: readonly Chip[];
  names: readonly string[];
}) {
  const { path, query } = address.value;
  const rest = Object.fromEntries([...query].filter(([name]) => !names.includes(name)));
  const isOn = ({ fields }: Chip) =>
    names.every((name) => (query.get(name) ?? '') === (fields[name] ?? ''));
  return (
    <div class="chips" role="group" aria-label={label}>
      {chips.map((chip) => (
        <a
          key={chip.name}
          class="chip"
          href={href(path, { ...rest, ...chip.fields })}
          aria-current={isOn(chip) ? 'true' : undefined}
        >
          {chip.mark}
          {chip.state !== undefined && <Glyph tone={toneOf(chip.state)} />}
          <span>{chip.name}</span>
          {chip.count !== undefined && (
            <span class="num count">
              {chip.count !== null && countText(chip.count)}
              {chip.isCapped === true ? '+' : ''}
            </span>
          )}
        </a>
      ))}
    </div>
  );
}
