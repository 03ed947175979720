import { expect, test } from '@jest/globals';
import { seenAgain } from '../../src/redis/verify/problems.ts';

test.each([
  [[false], false, 1],
  [[true, false], false, 2],
  [[true, true, false], false, 3],
  [[true, true, true], true, 3],
])('what is seen as %j is a problem: %s', async (sights, isProblem, looks) => {
  const left = [...sights];
  const found = await seenAgain(async () => left.shift() ?? false);
  expect([found, sights.length - left.length]).toEqual([isProblem, looks]);
});
