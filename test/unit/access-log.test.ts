import { expect, test } from '@jest/globals';
import { createLineRate } from '../../src/http/access-log.ts';
import { requestTarget } from '../../src/proxy-tunnel.ts';

test('one line per key and interval is due, with the count since the last line', () => {
  const dueFor = createLineRate({ intervalMs: 10, keys: 2 });
  const at = (key: string, ...times: number[]) => times.map((now) => dueFor(key, now));
  expect(at('a', 0, 1, 9)).toEqual([1, 0, 0]);
  expect(at('b', 9)).toEqual([1]);
  expect(at('a', 10, 11, 20)).toEqual([3, 0, 2]);
});

test('keys beyond the limit are counted together', () => {
  const dueFor = createLineRate({ intervalMs: 10, keys: 2 });
  const lines = Array.from({ length: 1_000 }, (_, key) => dueFor(`key ${key}`, 1)).filter(Boolean);
  expect(lines).toEqual([1, 1, 1]);
  expect(dueFor('another', 11)).toBe(1);
  expect(dueFor('yet another', 11)).toBe(998);
  expect(dueFor('one too many', 12)).toBe(0);
});

test.each([
  ['https://example.com/v1/runs?size=2#top', 'https:', 'example.com', '', '/v1/runs?size=2'],
  ['http://[::1]:8080', 'http:', '::1', '8080', '/'],
])('the request target of %s', (url, protocol, hostname, port, path) => {
  expect(requestTarget(new URL(url))).toEqual({ protocol, hostname, port, path });
});
