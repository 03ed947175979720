import { describe, expect, test } from '@jest/globals';
import { Ledger } from '../../src/simulator/request-log.ts';

describe('request log of a simulator', () => {
  test('the request log counts the requests of a window, without its end', () => {
    const ledger = new Ledger();
    for (const time of [10, 20, 20, 30]) ledger.enter(null, time);
    expect(ledger.requestsBetween(20, 30)).toBe(2);
    expect(ledger.requestsBetween(0, 100)).toBe(4);
    expect(ledger.total).toBe(4);
  });

  test('the request log knows present and maximal concurrency, for each run', () => {
    const ledger = new Ledger();
    const leaveFirst = ledger.enter('a', 1);
    const leaveSecond = ledger.enter('a', 2);
    ledger.enter('b', 3);
    leaveFirst();
    leaveSecond();
    ledger.enter('a', 4);
    expect(ledger.run('a')).toEqual({ count: 3, times: [1, 2, 4], inFlight: 1, maxInFlight: 2 });
    expect(ledger.run('b')).toMatchObject({ count: 1, maxInFlight: 1 });
    expect(ledger).toMatchObject({ inFlight: 2, maxInFlight: 3, maxInFlightPerRun: 2 });
  });

  test('the request log ends a request once, however often that is reported', () => {
    const ledger = new Ledger();
    const leave = ledger.enter('a', 1);
    leave();
    leave();
    expect(ledger.inFlight).toBe(0);
    expect(ledger.run('a').inFlight).toBe(0);
  });

  test('the request log has no entry for a run without requests', () => {
    expect(new Ledger().run('a').count).toBe(0);
  });

  test('the request log refuses to count a window that it no longer holds', () => {
    const ledger = new Ledger();
    for (let time = 0; time <= 1_000_000; time += 1) ledger.enter(null, time)();
    expect(() => ledger.requestsBetween(0, 10)).toThrow('no longer holds');
    expect(ledger.requestsBetween(500_000, 500_010)).toBe(10);
    expect(ledger.total).toBe(1_000_001);
  });

  test('the request log forgets past requests, not those under way', () => {
    const ledger = new Ledger();
    ledger.enter('a', 1)();
    const leave = ledger.enter('b', 2);
    ledger.answered(200);
    ledger.reset();
    expect(ledger).toMatchObject({ total: 0, inFlight: 1, maxInFlight: 1, maxInFlightPerRun: 1 });
    expect(ledger.runIds).toEqual(['b']);
    expect(ledger.statuses).toEqual({});
    leave();
    expect(ledger.run('b')).toMatchObject({ count: 0, inFlight: 0, maxInFlight: 1 });
  });
});
