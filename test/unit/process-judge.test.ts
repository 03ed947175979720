import { expect, test } from '@jest/globals';
import { createProcessJudge } from '../../src/core/process-judge.ts';

function judgeAt() {
  let at = 0;
  const judge = createProcessJudge('own', () => at);
  return (time: number, counters: Record<string, string>) => {
    at = time;
    return judge(new Map(Object.entries(counters)));
  };
}

test('a process is dead once its counter has stood still for three seconds of looks', () => {
  const look = judgeAt();
  const dead = [0, 1, 2, 3, 4].map((second) => {
    return look(second * 1_000, { own: '1', quick: String(second), dead: '7' });
  });
  expect(dead).toEqual([[], [], [], ['dead'], ['dead']]);
});

test('no process is dead because the judge itself had no contact with the store', () => {
  const look = judgeAt();
  look(0, { other: '7' });
  expect(look(20_000, { other: '7' })).toEqual([]);
  expect(look(21_000, { other: '7' })).toEqual([]);
  expect(look(22_000, { other: '7' })).toEqual([]);
  expect(look(23_000, { other: '7' })).toEqual(['other']);
});
