import { describe, expect, test } from '@jest/globals';
import { createProcessJudge, createPulse } from '../../src/core/dead-processes.ts';

function judgeAt() {
  let at = 0;
  const judge = createProcessJudge('own', () => at);
  return (time: number, counters: Record<string, string>) => {
    at = time;
    return judge(new Map(Object.entries(counters)));
  };
}

test('a process is dead once its counter has not risen for three seconds of observation', () => {
  const look = judgeAt();
  const dead = [0, 1, 2, 3, 4].map((second) => {
    return look(second * 1_000, { own: '1', quick: String(second), dead: '7' });
  });
  expect(dead).toEqual([[], [], [], ['dead'], ['dead']]);
});

test('no process counts as dead because the judge itself had no contact with the store', () => {
  const look = judgeAt();
  look(0, { other: '7' });
  expect(look(20_000, { other: '7' })).toEqual([]);
  expect(look(21_000, { other: '7' })).toEqual([]);
  expect(look(22_000, { other: '7' })).toEqual([]);
  expect(look(23_000, { other: '7' })).toEqual(['other']);
});

describe("claims that are surely a process's own", () => {
  function pulseAt() {
    let at = 0;
    const pulse = createPulse(() => at);
    return {
      ...pulse,
      to: (time: number) => void (at = time),
    };
  }

  test("claims are sure before the counter's first raise, and while it rises every second", () => {
    const { raised, isUnbrokenSince, to } = pulseAt();
    to(60_000);
    expect(isUnbrokenSince(100)).toBe(true);
    for (const second of [60, 61, 62, 63]) {
      to(second * 1_000 + 5);
      raised(second * 1_000);
    }
    expect(isUnbrokenSince(100)).toBe(true);
  });

  test('claims are not sure once the counter may have stood still for as long as a judge waits', () => {
    const { raised, isUnbrokenSince, to } = pulseAt();
    raised(0);
    to(2_400);
    expect(isUnbrokenSince(0)).toBe(true);
    to(2_600);
    expect(isUnbrokenSince(2_599)).toBe(false);
    raised(2_590);
    // Another process may have taken over earlier claims; later ones are judged anew.
    expect(isUnbrokenSince(2_500)).toBe(false);
    expect(isUnbrokenSince(2_600)).toBe(true);
  });

  test('a raise with a late reply does not make claims sure', () => {
    const { raised, isUnbrokenSince, to } = pulseAt();
    raised(0);
    to(9_000);
    raised(1_000);
    expect(isUnbrokenSince(900)).toBe(false);
    expect(isUnbrokenSince(9_000)).toBe(false);
    raised(8_990);
    expect(isUnbrokenSince(9_000)).toBe(true);
  });
});
