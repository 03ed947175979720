import { describe, expect, test } from '@jest/globals';
import {
  judgeRepeats,
  wasOpen,
  type Kill,
  type SeenRequest,
  type Story,
} from '../../bench/support/repeats.ts';

const KILL: Kill = { victim: 0, at: 10_000, until: 10_150 };
const OUTAGE: Kill = { victim: 'redis', at: 20_000, until: 22_000 };
const KILLS = [KILL, OUTAGE];

const request = (at: number, fields: Partial<SeenRequest> = {}): SeenRequest => ({
  daemon: 0,
  at,
  until: at + 5,
  taken: true,
  ...fields,
});
const attempt = (at: number, fields: { durationMs?: number; error?: unknown } = {}) => ({
  at,
  durationMs: 10,
  error: null,
  ...fields,
});
const judge = (story: Partial<Story>) =>
  judgeRepeats({ requests: [], attempts: [], askedFor: 0, ...story }, KILLS);

const NOTHING = { cutOff: 0, unrecorded: [], repeats: 0, unexplained: 0 };

describe('an event at an endpoint', () => {
  test('an event that came once and was written down is no repeat', () => {
    expect(judge({ requests: [request(5_000)], attempts: [attempt(4_998)] })).toEqual(NOTHING);
  });

  test('an event that came once and was refused before is no repeat', () => {
    const requests = [request(5_000, { taken: false }), request(6_000)];
    const attempts = [attempt(5_000, { error: 'status' }), attempt(6_000)];
    expect(judge({ requests, attempts })).toEqual(NOTHING);
  });

  test.each([
    ['under way when its sender was killed', 9_990, 0],
    ['read only after its sender was dead', 10_120, 0],
    ['under way when Redis was killed, whoever sent it', 19_990, 1],
    ['sent while Redis was away', 21_000, 1],
  ])('an event may come again when it was %s', (_what, at, daemon) => {
    const requests = [request(at, { daemon }), request(40_000)];
    expect(judge({ requests, attempts: [attempt(39_999)] })).toEqual({
      ...NOTHING,
      cutOff: 1,
      repeats: 1,
    });
  });

  test.each([
    ['the other daemon was killed', 9_990, 1],
    ['the kill was long over', 12_000, 0],
    ['it had been answered long before the kill', 6_000, 0],
  ])('an event may not come again when %s', (_what, at, daemon) => {
    const requests = [request(at, { daemon }), request(40_000)];
    expect(judge({ requests, attempts: [attempt(39_999)] })).toEqual({
      ...NOTHING,
      unrecorded: [requests[0]],
      repeats: 1,
      unexplained: 1,
    });
  });

  test.each([
    ['open', 19_998],
    ['answered, but not written,', 19_000],
  ])(
    'an event may come again when it was %s as Redis was killed, and written late',
    (_what, at) => {
      const requests = [request(at), request(22_500)];
      expect(judge({ requests, attempts: [attempt(at)] })).toEqual({
        ...NOTHING,
        cutOff: 1,
        repeats: 1,
      });
    },
  );

  test('an event that was written before Redis was killed may not come again', () => {
    const requests = [request(19_000), request(22_500)];
    const attempts = [attempt(18_999), attempt(22_499)];
    expect(judge({ requests, attempts })).toEqual({ ...NOTHING, repeats: 1, unexplained: 1 });
  });

  test('an event that came and was recorded twice as delivered is an unexplained repeat', () => {
    const requests = [request(5_000), request(6_000)];
    const attempts = [attempt(4_999), attempt(5_999)];
    expect(judge({ requests, attempts })).toEqual({ ...NOTHING, repeats: 1, unexplained: 1 });
    expect(judge({ requests, attempts, askedFor: 1 })).toEqual(NOTHING);
  });

  test('an event with an answer for which its sender did not wait may come again', () => {
    const requests = [request(5_000, { until: 7_000 }), request(8_000)];
    const attempts = [attempt(4_999, { durationMs: 2_000, error: 'timeout' }), attempt(7_999)];
    expect(judge({ requests, attempts })).toEqual({ ...NOTHING, repeats: 1 });
  });
});

describe('a request', () => {
  test('a request is open at a kill of its sender, or of Redis, from its beginning to its answer', () => {
    const slow = request(9_900, { until: 10_100 });
    expect(wasOpen(slow, KILL)).toBe(true);
    expect(wasOpen({ ...slow, daemon: 1 }, KILL)).toBe(false);
    expect(wasOpen({ ...slow, daemon: 1 }, { ...KILL, victim: 'redis' })).toBe(true);
    expect(wasOpen(request(9_900), KILL)).toBe(false);
    expect(wasOpen(request(10_001), KILL)).toBe(false);
  });
});
