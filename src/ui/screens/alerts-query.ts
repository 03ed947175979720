import type { AlertQuery } from '../../client/types.ts';
import type { Filter, Filters } from '../parts/filters.ts';

/** The filters of the alerts. Events add no rows: the list is read anew. */
export const ALERT_FILTERS: Filters<AlertQuery, Filter<never>> = {
  state: { name: 'state', narrows: true, hasControl: true, admits: () => true },
  rule: { name: 'rule', narrows: true, admits: () => true },
};
