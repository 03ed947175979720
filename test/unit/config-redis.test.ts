import { expect, test } from '@jest/globals';
import { checkRedis } from '../../src/config/check.ts';
import { redis } from '../../src/config/schema.ts';
import { parseAddress } from '../../src/redis/cluster-connector.ts';

const findings = (settings: object) =>
  checkRedis({ redis: redis.parse(settings) }).map(
    ({ path, message }) => `${path.join('.')}: ${message}`,
  );

test.each([
  [{}],
  [{ url: 'redis://h' }],
  [{ url: 'rediss://h', tls: { ca_file: '/ca.pem' } }],
  [{ sentinels: ['a:1', '[::1]:2'], name: 'group', sentinel_password: 'x', tls: {} }],
  [{ cluster: ['node-1'], username: 'u', password: 'p' }],
])('a Redis may be configured as %j', (settings) => {
  expect(findings(settings)).toEqual([]);
});

test.each([
  [
    { url: 'redis://h', cluster: ['a:1'] },
    'redis.cluster: expected only one of url (REDIS_URL), sentinels and cluster, got url and cluster',
  ],
  [
    { sentinels: ['a:1'] },
    'redis.sentinels: expected redis.name, the group that the Sentinels watch',
  ],
  [{ name: 'group' }, 'redis.name: it has no effect without sentinels'],
  [{ url: 'redis://h', tls: {} }, 'redis.tls: it has no effect, since the url is not rediss'],
  [{ tls: {} }, 'redis.tls: it has no effect, since the url is not rediss'],
  [{ cluster: ['a'], tls: { key_file: '/k' } }, 'redis.tls: cert_file and key_file go together'],
])('a Redis that is configured as %j is refused', (settings, expected) => {
  expect(findings(settings)).toEqual([expected]);
});

test.each(['', 'a:b', 'redis://a:1', 'a:1/0', ':1', 'a b:1', '::1', 'u@a:1'])(
  'the Redis address %j is refused',
  (text) => {
    expect(redis.safeParse({ cluster: [text] }).success).toBe(false);
    expect(parseAddress(text, 1)).toBeNull();
  },
);

test('Redis addresses are parsed as in URLs, with a default port', () => {
  expect(parseAddress('node-1.example', 6_379)).toEqual({ host: 'node-1.example', port: 6_379 });
  expect(parseAddress('[::1]:26380', 1)).toEqual({ host: '::1', port: 26_380 });
});
