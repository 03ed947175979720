import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { api } from '../api/calls.ts';
import type { Asked } from '../api/types.ts';
import type { WatchQuery } from '../../client/types.ts';
import { useKeys } from '../app/keys.ts';
import { address, setQuery } from '../app/router.ts';
import { Chips, type Chip } from '../parts/chips.tsx';
import { FilterFold } from '../parts/filter-fold.tsx';
import { askedOf, countOn } from '../parts/filters.ts';
import { OtherFilters } from '../parts/other-filters.tsx';
import { Range } from '../parts/range.tsx';
import { useLoaded } from '../parts/hooks.ts';
import { workflowNames, workflowText } from '../parts/workflow-names.ts';
import { RUN_FILTERS, wordsOf } from './runs-query.ts';

const CHIPS: readonly Chip[] = [
  { name: 'All', fields: {} },
  { name: 'Running', fields: { status: 'running' }, state: 'running' },
  { name: 'Queued', fields: { status: 'queued' }, state: 'queued' },
  {
    name: 'Awaiting',
    fields: { status: 'awaiting_human_feedback' },
    state: 'awaiting_human_feedback',
  },
  { name: 'Failed', fields: { status: 'failed' }, state: 'failed' },
  { name: 'Stopped', fields: { status: 'stopped' }, state: 'stopped' },
  { name: 'Completed', fields: { status: 'completed' }, state: 'completed' },
  { name: 'Gone', fields: { state: 'gone' }, state: 'gone' },
  { name: 'Expired', fields: { state: 'expired' }, state: 'expired' },
];

/** The filters that the chips set. */
const SET_BY_CHIPS = ['status', 'state'];

/** All filters of the runs, each of which the address holds. */
export function Filters() {
  const { query } = address.value;
  const rest = askedOf<WatchQuery>(
    RUN_FILTERS,
    query,
    ({ name, narrows }) => narrows && !SET_BY_CHIPS.includes(name),
  );
  const counts = useCounts(rest);
  // The daemon counts without the words of the text filter, so that its counts are not of what is shown.
  const isCounted = wordsOf(query.get('q') ?? '').length === 0;
  const chips = CHIPS.map((chip, at) => ({ ...chip, ...(isCounted && (counts[at] ?? UNKNOWN)) }));
  return (
    <FilterFold count={countOn(RUN_FILTERS, query)}>
      <Chips label="State" chips={chips} names={SET_BY_CHIPS} />
      <div class="filter-row">
        <TextFilter placeholder="Run id, name, or key=value" />
        <WorkflowFilter />
        <Range />
        <select
          aria-label="Order"
          value={query.get('order') ?? 'changed'}
          onChange={({ currentTarget }) => setQuery({ order: currentTarget.value })}
        >
          <option value="changed">Last changed first</option>
          <option value="registered">Last registered first</option>
        </select>
        <OtherFilters filters={RUN_FILTERS} />
      </div>
    </FilterFold>
  );
}

interface Count {
  count: number | null;
  isCapped: boolean;
}

const UNKNOWN: Count = { count: null, isCapped: false };

/** How many runs each chip stands for. */
function useCounts(rest: Asked<WatchQuery>): readonly Count[] {
  const { value } = useLoaded(
    `counts ${JSON.stringify(rest)}`,
    (signal) =>
      Promise.all(
        CHIPS.map(async ({ fields }): Promise<Count> => {
          const page = await api.watches({ ...rest, ...fields, limit: 1 }, signal);
          return { count: page.total ?? null, isCapped: page.total_capped === true };
        }),
      ),
    { everyMs: 10_000 },
  );
  return value ?? [];
}

/** A field with its text in the address as `q`; the key `/` goes to it. */
function TextFilter({ placeholder }: { placeholder: string }) {
  const { query } = address.value;
  const asked = query.get('q') ?? '';
  const [text, setText] = useState(asked);
  const field = useRef<HTMLInputElement>(null);
  useKeys({ '/': () => field.current?.focus() });
  // At once, both: a letter that is typed before effects run would be lost to what was asked before it.
  useLayoutEffect(() => setText(asked), [asked]);
  useLayoutEffect(() => {
    const timer = window.setTimeout(() => {
      if (text !== (address.peek().query.get('q') ?? '')) setQuery({ q: text });
    }, 200);
    return () => window.clearTimeout(timer);
  }, [text]);
  return (
    <input
      ref={field}
      type="search"
      class="text-filter"
      aria-label="Filter"
      placeholder={`${placeholder}   ( / )`}
      value={text}
      onInput={({ currentTarget }) => setText(currentTarget.value)}
    />
  );
}

function WorkflowFilter() {
  const asked = address.value.query.get('workflow') ?? '';
  const ids = [...new Set([...workflowNames.value.keys(), ...(asked === '' ? [] : [asked])])];
  const options = ids
    .map((id) => ({ id, name: workflowText(id) }))
    .sort((one, other) => one.name.localeCompare(other.name));
  return (
    <select
      aria-label="Workflow"
      value={asked}
      onChange={({ currentTarget }) =>
        setQuery({ workflow: currentTarget.value }, { replace: false })
      }
    >
      <option value="">All workflows</option>
      {options.map(({ id, name }) => (
        <option key={id} value={id}>
          {name}
        </option>
      ))}
    </select>
  );
}
