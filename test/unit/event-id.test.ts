import type { PollResult } from '../../src/core/run/snapshot.ts';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { EVENT_TYPES } from '../../src/core/event/event.ts';
import {
  deliveryId,
  newName,
  systemEventId,
  watchEventId,
  watchOfDelivery,
  watchOfEvent,
} from '../../src/core/event/ids.ts';
import { observe } from '../../src/core/watch/observe.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { observeContext, newMark, newWatch, NOON, snapshot } from '../support/builders.ts';

const UUID = '5b0f2f5e-8c1f-4a53-9a39-0f6f0a3f7f11';

const change = (changes: Partial<Parameters<typeof watchEventId>[0]> = {}) => ({
  source: 'default',
  runId: UUID,
  type: 'run.completed' as const,
  registeredAt: NOON,
  attempt: null,
  pastEnds: [],
  ...changes,
});

const idOf = (...changes: Parameters<typeof change>) => watchEventId(change(...changes), newMark);

const text = (first: string, rest: string, maxLength: number) =>
  fc
    .tuple(
      fc.constantFrom(...first.split('')),
      fc.string({ unit: fc.constantFrom(...rest.split('')), maxLength: maxLength - 1 }),
    )
    .map((parts) => parts.join(''));

const source = fc.oneof(fc.constant('default'), text('a1Z', 'a1Z_-', 63));
const runId = fc.oneof(
  fc.uuid(),
  fc.uuid().map((uuid) => uuid.toUpperCase()),
  text('a1Z', 'a1Z._-', 128),
);

describe('the id of an event', () => {
  test('an event id is short and readable where the run is a UUID of the default source', () => {
    expect(idOf()).toBe('evt_completed_Ww8vXowfSlOaOQ9vCj9_EQ');
    expect(idOf({ type: 'watch.expired' })).toBe('evt_expiredmjuohs00_Ww8vXowfSlOaOQ9vCj9_EQ');
    expect(watchEventId(change({ type: 'run.gone' }), () => 'k3f9x2ab00000007')).toBe(
      'evt_k3f9x2ab00000007_Ww8vXowfSlOaOQ9vCj9_EQ',
    );
    expect(systemEventId(() => 'k3f9x2ab00000007')).toBe('evt_k3f9x2ab00000007');
  });

  test.each(['run.completed', 'run.failed', 'run.stopped'] as const)(
    'the id of %s follows from source, run and type alone',
    (type) => {
      expect(idOf({ type })).toBe(idOf({ type, registeredAt: NOON + 1, pastEnds: ['run.gone'] }));
      const others = [
        { type, source: 'eu' },
        { type, runId: 'run-1' },
      ].map((other) => idOf(other));
      expect(new Set([idOf({ type }), ...others]).size).toBe(3);
    },
  );

  test('a second terminal event of one type in one watch has another id each time', () => {
    const pastEnds = ['run.completed' as const];
    expect(new Set([idOf(), idOf({ pastEnds }), idOf({ pastEnds })]).size).toBe(3);
  });

  test("an expiry's id follows from the registration, and other ids are random", () => {
    const expiry = (registeredAt: number) => idOf({ type: 'watch.expired', registeredAt });
    expect(expiry(NOON)).toBe(expiry(NOON));
    expect(expiry(NOON)).not.toBe(expiry(NOON + 1));
    const others = EVENT_TYPES.filter(
      (type) => !['run.completed', 'run.failed', 'run.stopped', 'watch.expired'].includes(type),
    );
    const ids = [...others, ...others].map((type) => idOf({ type }));
    expect(new Set(ids).size).toBe(2 * others.length);
  });

  test('ids of system events, and texts that are no ids, name no watch', () => {
    const texts = [systemEventId(newMark), 'evt_', 'evt_completed_short', 'dlv_1_completed_x', ''];
    expect(texts.map(watchOfEvent)).toEqual(texts.map(() => null));
    expect(texts.map(watchOfDelivery)).toEqual(texts.map(() => null));
  });

  test('an event id contains its watch, and only characters that URLs and signatures allow', () => {
    fc.assert(
      fc.property(source, runId, fc.constantFrom(...EVENT_TYPES), (from, run, type) => {
        const id = idOf({ source: from, runId: run, type });
        expect(watchOfEvent(id)).toEqual({ source: from, runId: run });
        expect(watchOfDelivery(deliveryId(id, 'ops'))).toEqual({ source: from, runId: run });
        expect(deliveryId(id, 'ops')).toMatch(/^[\w~-]{1,256}$/);
      }),
    );
  });
});

test("event and endpoint determine a delivery's id, which contains the event's", () => {
  const id = deliveryId(idOf(), 'ops');
  expect(id).toBe(deliveryId(idOf(), 'ops'));
  expect(id).not.toBe(deliveryId(idOf(), 'audit'));
  expect(id.replace(/^dlv_[0-9a-f]{12}_/, 'evt_')).toBe(idOf());
});

test('a name has eight letters and digits, whatever the random numbers', () => {
  expect(newName(() => 0)).toBe('00000000');
  expect(newName((below) => below - 1)).toBe('zzzzzzzz');
});

describe('a store that lost what it had last', () => {
  const seen = (status: string, progress = 40): PollResult => ({
    kind: 'run',
    run: snapshot({ status, progress }),
  });
  const at = (watch: Watch, result: PollResult) => observe(watch, result, observeContext(NOON));

  test("a store that lost writes gives a run's end the same id again", () => {
    const running = at(newWatch(), seen('running')).watch;
    const [first, again] = [at(running, seen('failed')), at(running, seen('failed'))];
    expect(first.events.map(({ id }) => id)).toEqual(again.events.map(({ id }) => id));
    expect(at(newWatch(), seen('failed')).events[0]?.id).toBe(first.events[0]?.id);
  });

  test('a store that lost writes gives no change the id of another', () => {
    const waiting = at(newWatch(), seen('awaiting_human_feedback'));
    const { watch } = at(waiting.watch, seen('running', 60));
    const lost = [seen('awaiting_human_feedback', 60), seen('odd', 60)].flatMap(
      (result) => at(watch, result).events,
    );
    const ids = [...waiting.events, ...lost].map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(lost.map(({ data }) => data.sequence)).toEqual([4, 4]);
  });

  test('a store that lost writes gives a second end of one type its own id', () => {
    const { watch, events } = at(newWatch(), seen('failed'));
    expect(watch.pastEnds).toEqual(['run.failed']);
    const open = { ...watch, state: 'active' as const };
    const second = at(at(open, seen('running')).watch, seen('failed')).events;
    expect(second.map(({ type }) => type)).toEqual(['run.failed']);
    expect(second[0]?.id).not.toBe(events[0]?.id);
  });
});
