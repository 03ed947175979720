import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { newDelivery, type Attempt } from '../../src/core/delivery/delivery.ts';
import { NO_POLLS, recordPoll } from '../../src/core/watch/poll-history.ts';
import {
  isPacked,
  packHistory,
  unpackDeliveries,
  unpackEvents,
  unpackHistory,
  unpackWatch,
} from '../../src/redis/history-codec.ts';
import { readWatch, writeRest } from '../../src/redis/stores/watch-record.ts';
import { newWatch, NOON, snapshot } from '../support/builders.ts';

const IDENTITY = '000000000003 000000000042';

/** A record that the first version of form 2 wrote. */
const WRITTEN = Buffer.from(
  'MDAwMDAwMDAwMDAzIDAwMDAwMDAwMDA0MgJD1CIK+ABctqgYiw5j4msgGE/XELW4ADPBgvjGP4kuFWoxS2gzcyMjUzNosUy' +
    'gsDao5dTV1YX7jxi2k6sHnB2WnE1QfXJuOUnm42JzRUebI5f7kFCLrysqzQMHJ7ZhboyiHaIYkjdjAQ==',
  'base64',
);

const pollHistory = [40, 50, 60].reduce((history, durationMs) => {
  const poll = { mode: 'single', outcome: 'run', durationMs, lagMs: 0 } as const;
  return recordPoll(history, { ...poll, at: NOON + 20 * durationMs }, NOON);
}, NO_POLLS);
const run = snapshot({ status: 'failed' });
const watch = newWatch({ run, state: 'finished', endedAt: NOON, pollHistory });
const rest = writeRest(watch);

const attempt = fc.record<Attempt>({
  at: fc.nat(),
  status: fc.option(fc.nat(599)),
  error: fc.option(fc.record({ code: fc.string(), message: fc.string() })),
  durationMs: fc.nat(),
  response: fc.constant(null),
});

const events = fc.array(
  fc.record({
    place: fc.nat(),
    // Also texts that JSON would write in another way.
    body: fc
      .tuple(fc.dictionary(fc.string(), fc.jsonValue()), fc.constantFrom('', ' '))
      .map(([event, end]) => JSON.stringify(event) + end),
  }),
);

const deliveries = fc.array(
  fc.record({
    number: fc.nat(),
    version: fc.nat(),
    settledAt: fc.option(fc.nat()),
    delivery: fc.string().map((id) => newDelivery(watch, { id, type: 'run.failed' }, 'ops', NOON)),
    attempts: fc.array(attempt),
  }),
);

test('a packed history gives back every text of its events, and its deliveries', () => {
  fc.assert(
    fc.property(events, deliveries, (someEvents, someDeliveries) => {
      const history = { rest, events: someEvents, deliveries: someDeliveries };
      const record = Buffer.concat([Buffer.from(IDENTITY), packHistory(history)]);
      expect(isPacked(record)).toBe(true);
      expect(unpackHistory(record)).toEqual({ ...history, identity: IDENTITY });
      const byNumber = someDeliveries.map((kept) => [kept.number, kept] as const);
      expect(unpackDeliveries(record)).toEqual(new Map(byNumber));
      expect(unpackWatch(record)).toBe(IDENTITY + rest);
    }),
  );
});

test('one event is found by its place, whether its text is that of JSON or not', () => {
  const bodies = ['{"id":"evt_a"}', '{ "id": "evt_b" }'];
  const kept = bodies.map((body, at) => ({ place: at + 7, body }));
  const packed = packHistory({ rest, events: kept, deliveries: [] });
  const record = Buffer.concat([Buffer.from(IDENTITY), packed]);
  expect([7, 8, 9].map((place) => unpackEvents(record).get(place))).toEqual([
    { id: 'evt_a' },
    { id: 'evt_b' },
    undefined,
  ]);
});

test('what form 2 once wrote is read for as long as it is called form 2', () => {
  const body = '{"id":"evt_failed_~run-1","type":"run.failed","data":{"run_id":"run-1"}}';
  expect(unpackHistory(WRITTEN)).toEqual({
    identity: IDENTITY,
    // It said in its document alone that the watch was over.
    rest: ` ${rest.slice(1)}`,
    events: [{ place: 7, body }],
    deliveries: [],
  });
  expect(readWatch(watch, unpackWatch(WRITTEN))).toMatchObject({ version: 3, watch: { run: {} } });
});

test('a live record is not a packed one', () => {
  expect(isPacked(Buffer.from(IDENTITY + rest))).toBe(false);
});
