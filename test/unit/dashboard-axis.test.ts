import { describe, expect, test } from '@jest/globals';
import type { TimelineView } from '../../src/client/types.ts';
import { agoText, lengthText } from '../../src/ui/parts/format.ts';
import { segmentsOf, ticksOf, zoomed } from '../../src/ui/screens/run-axis.ts';
import { delaysOf } from '../../src/ui/screens/run-delay.ts';

const NOON = Date.parse('2026-01-01T12:00:00.000Z');
const at = (ms: number) => new Date(NOON + ms).toISOString();

describe('the time axis of the dashboard', () => {
  test('states that differ by progress alone are one stretch, and the last one of a running run ends now', () => {
    const states = [
      { at: at(0), until: at(100), status: 'queued', progress: 0 },
      { at: at(100), until: at(300), status: 'running', progress: 10 },
      { at: at(300), until: null, status: 'running', progress: 50 },
    ];
    expect(segmentsOf(states, NOON + 900)).toEqual([
      { status: 'queued', progress: 0, from: NOON, to: NOON + 100 },
      { status: 'running', progress: 50, from: NOON + 100, to: NOON + 900 },
    ]);
  });

  test('ticks stand at round moments and are no more than have room', () => {
    const ticks = ticksOf({ from: NOON - 1_300, to: NOON + 8_700 }, 6, 0);
    expect(ticks.length).toBeLessThanOrEqual(6);
    expect(ticks.every((tick) => tick.at % tick.stepMs === 0)).toBe(true);
  });

  test('zooming in and out again gives the same span', () => {
    expect(zoomed(zoomed({ from: 0, to: 100 }, 2), 0.5)).toEqual({ from: 0, to: 100 });
  });
});

describe('the delays of a run in the dashboard', () => {
  const event = { id: 'evt_1', waiting_ms: 700, poll_ms: 20 };
  const attempt = { status: 500, error: { code: 'http', message: 'answered 500' }, duration_ms: 5 };
  const delivery = {
    event_id: 'evt_1',
    relay_ms: 4,
    delivered_at: at(2_000),
    attempts: [
      { ...attempt, at: at(0) },
      { ...attempt, at: at(1_000), status: 200, error: null, duration_ms: 9 },
    ],
  };
  const timeline = (deliveries: unknown[]) =>
    ({ events: [event], deliveries }) as unknown as TimelineView;

  test('the way of an event is split into poll, relay, retries and receiver', () => {
    const [delay] = delaysOf(timeline([delivery]));
    expect(delay?.stretches).toEqual([
      { name: 'waiting for the poll', ms: 700 },
      { name: 'the poll', ms: 20 },
      { name: 'the relay', ms: 4 },
      { name: 'retries', ms: 1_000 },
      { name: 'the receiver', ms: 9 },
    ]);
    expect(delay?.totalMs).toBe(1_733);
  });

  test('an event that goes to no receiver, or has not arrived, has no total', () => {
    expect(delaysOf(timeline([]))[0]).toMatchObject({ delivery: null, totalMs: null });
    expect(delaysOf(timeline([{ ...delivery, delivered_at: null }]))[0]?.totalMs).toBeNull();
  });
});

describe('lengths of time in the dashboard', () => {
  test.each([
    [8, '8 ms'],
    [1_250, '1.3 s'],
    [999.7, '1 s'],
    [59_600, '1 min'],
    [3_725_000, '1 h 2 min'],
    [7_199_000, '2 h'],
    [90_000_000, '1 d 1 h'],
  ])('%s ms are written %s', (ms, text) => {
    expect(lengthText(ms)).toBe(text);
  });

  test('what is to come and what has been differ in words', () => {
    expect([
      agoText(12_000),
      agoText(240_000),
      agoText(-12_000),
      agoText(0),
      agoText(-900),
    ]).toEqual(['12 s ago', '4 min ago', 'in 12 s', 'just now', 'now']);
  });
});
