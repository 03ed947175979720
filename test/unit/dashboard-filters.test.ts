import { expect, test } from '@jest/globals';
import type { DeliveryQuery, WatchQuery } from '../../src/client/types.ts';
import {
  admits,
  askedOf,
  filtersIn,
  isNarrowed,
  uncontrolledIn,
  type Filter,
} from '../../src/ui/parts/filters.ts';
import { ALERT_FILTERS } from '../../src/ui/screens/alerts-query.ts';
import { DELIVERY_FILTERS, rangeOf } from '../../src/ui/screens/deliveries-query.ts';
import { filtersText, RUN_FILTERS, stillMatches } from '../../src/ui/screens/runs-query.ts';
import { sampleEvent, sampleWatch } from '../support/api-samples.ts';

const FAILED = { state: 'finished', status: 'failed', workflow: 'wf-1', source: 'eu' } as const;

/** Texts of filters, and whether each admits the failed run. */
const TEXTS = [
  ['status', 'stopped,failed', true],
  ['status', 'running', false],
  ['state', 'finished', true],
  ['state', 'active', false],
  ['workflow', 'wf-1', true],
  ['workflow', 'wf-2', false],
  ['source', 'eu', true],
  ['source', 'us', false],
  ['since', '1h', true],
  // The daemon alone can tell.
  ['until', '1h', false],
  ['q', 'team=ml', false],
  ['order', 'registered', true],
] as const;

test.each(TEXTS)(
  'an event of a failed run counts as a new row under %s=%s: %s',
  (name, text, isNew) => {
    expect(admits(RUN_FILTERS, new URLSearchParams({ [name]: text }), FAILED)).toBe(isNew);
  },
);

/** The tables of filters, of which each row is tested. */
const TABLES: Readonly<Record<string, Readonly<Record<string, Filter<never>>>>> = {
  runs: RUN_FILTERS,
  deliveries: DELIVERY_FILTERS,
  alerts: ALERT_FILTERS,
};

const ROWS = Object.entries(TABLES).flatMap(([list, filters]) =>
  Object.entries(filters).map(([field, filter]) => ({ list, field, filter, filters })),
);

test.each(ROWS)(
  'the filter $field of the $list is asked of the API, narrows the list unless it orders it, and is shown with a way out',
  ({ field, filter: { name, narrows, hasControl = false, read = (text) => text }, filters }) => {
    const text = 'team=1h';
    const address = new URLSearchParams({ [name]: text });
    const asked = askedOf<Record<string, string>>(filters, address);
    expect(asked[field]).toEqual(read(text));
    expect(isNarrowed(filters, address)).toBe(narrows);
    expect(isNarrowed(filters, address, [name])).toBe(false);
    const chips = uncontrolledIn(filters, address).map((chip) => [chip.filter.name, chip.text]);
    expect(chips).toEqual(hasControl ? [] : [[name, text]]);
  },
);

test.each(Object.entries(RUN_FILTERS))(
  'the filter %s of the runs is named where it narrows the list',
  (_field, { name, narrows }) => {
    expect(filtersText(new URLSearchParams({ [name]: '1h' })) !== '').toBe(narrows);
  },
);

test('filters of the runs are asked of the API and named together', () => {
  const address = new URLSearchParams(TEXTS.map(([name, text]): [string, string] => [name, text]));
  expect(askedOf<WatchQuery>(RUN_FILTERS, address)).toMatchObject({
    status: 'stopped,failed',
    state: 'finished',
    workflow_id: 'wf-1',
    source: 'eu',
    since: '1h',
    until: '1h',
    metadata: { team: 'ml' },
    order: 'registered',
  });
  expect(filtersText(address)).toBe(
    'stopped or failed, finished, of wf-1, of the source eu, since 1h, until 1h, with “team=ml”',
  );
});

test('a filter without a text asks for nothing, and the order is that of the last change', () => {
  const address = new URLSearchParams({ status: '', kiosk: '' });
  const { order, ...others } = askedOf<WatchQuery>(RUN_FILTERS, address);
  expect(order).toBe('changed');
  expect(Object.values(others).filter((value) => value !== null)).toEqual([]);
  expect(filtersIn(RUN_FILTERS, address)).toEqual([]);
  expect(isNarrowed(RUN_FILTERS, address)).toBe(false);
});

test('a row is past once its status or state passes no more, whatever the other filters say', () => {
  const watch = sampleWatch();
  const isShown = (text: string) => stillMatches(watch, new URLSearchParams(text));
  expect(isShown(`status=${watch.run?.status}&state=${watch.state}`)).toBe(true);
  expect(isShown('status=failed')).toBe(false);
  expect(isShown('state=gone')).toBe(false);
  expect(isShown('until=1h&q=invoices&workflow=another&source=another')).toBe(true);
});

test('an event brings no new delivery under a filter by another run, event or source', () => {
  const event = sampleEvent('evt_1');
  const { run_id: run, watch } = event.data;
  const isNew = (text: string) => admits(DELIVERY_FILTERS, new URLSearchParams(text), event);
  expect(isNew(`run=${run}&event=evt_1&source=${watch.source}&state=dead&endpoint=ops`)).toBe(true);
  for (const text of ['run=another', 'event=evt_2', 'source=another', 'until=1h']) {
    expect([text, isNew(text)]).toEqual([text, false]);
  }
});

test('deliveries are sent again as they are listed, or not at all under a filter that a range lacks', () => {
  const rangeIn = (text: string) =>
    rangeOf(askedOf<DeliveryQuery>(DELIVERY_FILTERS, new URLSearchParams(text)));
  expect(rangeIn('')).toEqual({});
  const range = { state: ['dead', 'parked'], endpoint: 'ops', since: '2h', until: '1h' };
  expect(rangeIn('state=dead,parked&endpoint=ops&since=2h&until=1h')).toEqual(range);
  for (const { name } of Object.values(DELIVERY_FILTERS)) {
    const isOfRange = Object.hasOwn(range, name);
    expect([name, rangeIn(`${name}=1h`) !== null]).toEqual([name, isOfRange]);
  }
});
