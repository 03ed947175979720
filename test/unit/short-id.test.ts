import { expect, test } from '@jest/globals';
import { shortId, shortIds } from '../../src/core/run/short-id.ts';

const UUID = '6f1c9a52-5b1e-4a55-9d3c-0c5f0a1b2c3d';

test.each([
  [UUID, '6f1c9a52'],
  ['acme/shop/123', '123'],
  [`acme/${UUID}`, '6f1c9a52'],
  ['manual__2026-11-28T00:00:00+00:00', 'manual__2026-11-28T00:00:00+00:00'],
  ['run-1', 'run-1'],
])('the short form of the id %s is %s', (id, short) => {
  expect(shortId(id)).toBe(short);
});

test('ids that would look alike in one listing are whole there', () => {
  const text = shortIds([UUID, UUID, 'a/1', 'b/1', 'c/2']);
  expect([UUID, 'a/1', 'b/1', 'c/2'].map(text)).toEqual(['6f1c9a52', 'a/1', 'b/1', '2']);
});
