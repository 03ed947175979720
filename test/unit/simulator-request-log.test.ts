import { describe, expect, test } from '@jest/globals';
import { RequestLog } from '../../src/simulator/request-log.ts';

describe('request log of a simulator', () => {
  test('the request log counts the requests of a window, without its end', () => {
    const requestLog = new RequestLog();
    for (const time of [10, 20, 20, 30]) requestLog.start(null, time);
    expect(requestLog.requestsBetween(20, 30)).toBe(2);
    expect(requestLog.requestsBetween(0, 100)).toBe(4);
    expect(requestLog.total).toBe(4);
  });

  test('the request log knows present and maximal concurrency, for each run', () => {
    const requestLog = new RequestLog();
    const leaveFirst = requestLog.start('a', 1);
    const leaveSecond = requestLog.start('a', 2);
    requestLog.start('b', 3);
    leaveFirst();
    leaveSecond();
    requestLog.start('a', 4);
    expect(requestLog.run('a')).toEqual({
      count: 3,
      times: [1, 2, 4],
      inFlight: 1,
      maxInFlight: 2,
    });
    expect(requestLog.run('b')).toMatchObject({ count: 1, maxInFlight: 1 });
    expect(requestLog).toMatchObject({ inFlight: 2, maxInFlight: 3, maxInFlightPerRun: 2 });
  });

  test('the request log ends a request once, however often that is reported', () => {
    const requestLog = new RequestLog();
    const leave = requestLog.start('a', 1);
    leave();
    leave();
    expect(requestLog.inFlight).toBe(0);
    expect(requestLog.run('a').inFlight).toBe(0);
  });

  test('the request log has no entry for a run without requests', () => {
    expect(new RequestLog().run('a').count).toBe(0);
  });

  test('the request log refuses to count a window that it no longer holds', () => {
    const requestLog = new RequestLog();
    for (let time = 0; time <= 1_000_000; time += 1) requestLog.start(null, time)();
    expect(() => requestLog.requestsBetween(0, 10)).toThrow('no longer holds');
    expect(requestLog.requestsBetween(500_000, 500_010)).toBe(10);
    expect(requestLog.total).toBe(1_000_001);
  });

  test('the request log forgets past requests, not those under way', () => {
    const requestLog = new RequestLog();
    requestLog.start('a', 1)();
    const leave = requestLog.start('b', 2);
    requestLog.answered(200);
    requestLog.reset();
    expect(requestLog).toMatchObject({
      total: 0,
      inFlight: 1,
      maxInFlight: 1,
      maxInFlightPerRun: 1,
    });
    expect(requestLog.runIds).toEqual(['b']);
    expect(requestLog.statuses).toEqual({});
    leave();
    expect(requestLog.run('b')).toMatchObject({ count: 0, inFlight: 0, maxInFlight: 1 });
  });
});
