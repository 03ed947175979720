import type { DeliveryQuery, EventView, RangeBody } from '../../client/types.ts';
import type { DeliveryState } from '../../core/delivery/delivery.ts';
import type { Asked } from '../api/types.ts';
import { isAmong, type Filter, type Filters } from '../parts/filters.ts';

/** In the order of the chips. */
export const STATES = [
  'pending',
  'delivered',
  'parked',
  'dead',
  'skipped',
  'superseded',
] as const satisfies readonly DeliveryState[];

/** The filters of the deliveries. A new event has deliveries in any state, to any endpoint. */
export const DELIVERY_FILTERS: Filters<DeliveryQuery, Filter<EventView>> = {
  state: { name: 'state', narrows: true, hasControl: true, admits: () => true },
  endpoint: { name: 'endpoint', narrows: true, hasControl: true, admits: () => true },
  run_id: {
    name: 'run',
    narrows: true,
    hasControl: true,
    admits: (text, { data }) => text === data.run_id,
  },
  event_id: { name: 'event', narrows: true, admits: (text, { id }) => text === id },
  source: {
    name: 'source',
    narrows: true,
    admits: (text, { data }) => isAmong(text, data.watch.source),
  },
  since: { name: 'since', narrows: true, hasControl: true, admits: () => true },
  until: { name: 'until', narrows: true, hasControl: true, admits: () => false },
};

/** The range that is sent again of a listing; null under a filter that the API does not take for a range. */
export function rangeOf(asked: Asked<Omit<DeliveryQuery, 'limit' | 'cursor'>>): RangeBody | null {
  const { state, endpoint, since, until, ...others } = asked;
  if (Object.values(others).some((value) => value !== null)) return null;
  return {
    // The API judges the states that an address names.
    ...(typeof state === 'string' && { state: state.split(',') as DeliveryState[] }),
    ...(endpoint != null && { endpoint }),
    ...(since != null && { since }),
    ...(until != null && { until }),
  };
}
