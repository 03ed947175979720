import { existsSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { WAY } from '../../scripts/figures/way.ts';

test('the list of files from registration to webhook names none that is gone, and none twice', () => {
  expect(WAY.filter((path) => !existsSync(path))).toEqual([]);
  expect(new Set(WAY).size).toBe(WAY.length);
});
