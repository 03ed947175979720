import { describe, expect, test } from '@jest/globals';
import { parseRedisUrl } from '../../src/redis/redis-url.ts';

describe('a Redis URL', () => {
  test.each([
    ['redis://h', { host: 'h', port: 6379, db: 0 }, 'h:6379'],
    ['redis://h:1/2', { host: 'h', port: 1, db: 2 }, 'h:1'],
    ['redis://h?db=3', { host: 'h', port: 6379, db: 3 }, 'h:6379'],
    ['redis://:p%40ss@h', { host: 'h', port: 6379, db: 0, password: 'p@ss' }, 'h:6379'],
    ['redis://u:p@h', { host: 'h', port: 6379, db: 0, username: 'u', password: 'p' }, 'h:6379'],
    ['rediss://[::1]:6380', { host: '::1', port: 6380, db: 0, tls: {} }, '[::1]:6380'],
    ['unix:///run/a%20b.sock', { path: '/run/a b.sock', db: 0 }, '/run/a b.sock'],
    ['/run/redis.sock?db=4', { path: '/run/redis.sock', db: 4 }, '/run/redis.sock'],
  ])('the Redis URL %s is parsed', (url, options, place) => {
    expect(parseRedisUrl(url)).toEqual({ options, place });
  });

  test.each([
    'http://h',
    'redis://',
    'redis:///2',
    'redis://:secret@h/notanumber',
    'redis://:secret%zz@h',
    'unix://relative/path',
    'unix://u:secret@/run/a.sock',
    'unix:///',
    'nonsense',
  ])('the Redis URL %s is refused without being repeated', (url) => {
    expect(() => parseRedisUrl(url)).toThrow(
      expect.objectContaining({
        code: 'invalid_redis_url',
        message: expect.not.stringContaining('secret'),
      }),
    );
  });
});
