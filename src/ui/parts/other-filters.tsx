import { address, setQuery } from '../app/router.ts';
import { uncontrolledIn, type Filter } from './filters.ts';

/** The filters that only an address can set, each with its text and a way out. */
export function OtherFilters({ filters }: { filters: Readonly<Record<string, Filter<never>>> }) {
  return uncontrolledIn(filters, address.value.query).map(({ filter: { name }, text }) => (
    <button key={name} type="button" class="chip" onClick={() => setQuery({ [name]: null })}>
      <span title={text}>
        {name}: {text}
      </span>{' '}
      <span class="remove" aria-label="remove">
        ×
      </span>
    </button>
  ));
}
