import type { BatchQuery } from '../../client/types.ts';
import type { Filter, Filters } from '../parts/filters.ts';

/** The filters of the batches. Events add no rows: the list is read anew. */
export const BATCH_FILTERS: Filters<BatchQuery, Filter<never>> = {
  state: { name: 'state', narrows: true, hasControl: true, admits: () => true },
};
