import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test, describe } from '@jest/globals';
import fc from 'fast-check';
import { formatSize, parseSize } from '../../src/core/byte-size.ts';
import { memoryLimit } from '../../src/daemon/redis.ts';
import { checkRedis } from '../../src/config/cross-check.ts';
import { redis } from '../../src/config/schema.ts';
import { parseAddress, parseRedisUrl } from '../../src/redis/target.ts';
import { NEEDED } from '../../src/redis/server-check.ts';

const findings = (settings: object) =>
  checkRedis({ redis: redis.parse(settings) }).map(
    ({ path, message }) => `${path.join('.')}: ${message}`,
  );

test.each([
  [{}],
  [{ url: 'redis://h' }],
  [{ maxmemory: '2gb' }],
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
  [
    { url: 'redis://h', maxmemory: '2gb' },
    'redis.maxmemory: it limits the Redis that the daemon runs itself, and url (REDIS_URL) names another: set maxmemory in the configuration of that server',
  ],
  [
    { cluster: ['a:1'], maxmemory: '2gb' },
    'redis.maxmemory: it limits the Redis that the daemon runs itself, and cluster names another: set maxmemory in the configuration of that server',
  ],
  [{ name: 'group' }, 'redis.name: it has no effect without sentinels'],
  [{ url: 'redis://h', tls: {} }, 'redis.tls: it has no effect, since the url is not rediss'],
  [{ tls: {} }, 'redis.tls: it has no effect, since the url is not rediss'],
  [{ cluster: ['a'], tls: { key_file: '/k' } }, 'redis.tls: cert_file and key_file go together'],
])('a Redis that is configured as %j is refused', (settings, expected) => {
  expect(findings(settings)).toEqual([expected]);
});

test.each([
  ['64mb', 67_108_864],
  ['512MB', 536_870_912],
  ['2gb', 2_147_483_648],
  ['70000kb', 71_680_000],
])('redis.maxmemory of %s is %i bytes', (text, bytes) => {
  expect(redis.parse({ maxmemory: text }).maxmemory).toBe(bytes);
});

test.each(['', '512', 512, '1.5gb', '0', '63mb', '10%', '2 gb', '512Mi', '9'.repeat(20) + 'gb'])(
  'redis.maxmemory of %j is refused, with the form that is expected',
  (text) => {
    expect(redis.safeParse({ maxmemory: text }).error?.issues).toMatchObject([
      { message: 'expected a size such as 512mb or 2gb, 64mb or more' },
    ]);
  },
);

test('the own Redis may take half of the memory unless configured, and a limit above it is warned of', () => {
  const warnings: unknown[] = [];
  const log = { warn: (...line: unknown[]) => void warnings.push(line) };
  const limitOf = (settings: object) =>
    memoryLimit({ redis: redis.parse(settings) }, log, 8 * 1_024 ** 3);
  expect(limitOf({})).toBe(4 * 1_024 ** 3);
  expect(limitOf({ maxmemory: '6gb' })).toBe(6 * 1_024 ** 3);
  expect(warnings).toEqual([]);
  expect(limitOf({ maxmemory: '9gb' })).toBe(9 * 1_024 ** 3);
  expect(warnings).toEqual([
    [{ maxmemory: '9gb', memory: '8gb' }, 'redis.maxmemory is more than the memory that there is'],
  ]);
});

test('a size that is shown means the same when it is read', () => {
  fc.assert(
    fc.property(fc.integer({ min: 65_536, max: 2 ** 40 }), (kilobytes) => {
      const bytes = kilobytes * 1_024;
      expect(parseSize(formatSize(bytes))).toBe(bytes);
    }),
  );
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

const SOURCES = fileURLToPath(new URL('../../src/redis', import.meta.url));
const BULLMQ = join(dirname(createRequire(import.meta.url).resolve('bullmq')), '../esm/scripts');

/** The scripts of BullMQ that a queue and a worker run. */
const USED =
  /^(addStandardJob|moveToActive|moveToFinished|moveStalledJobsToWait|extendLocks?|releaseLock|retryJob|getCounts|removeJob|pause)-/;

function textsIn(folder: string, isWanted: (name: string) => boolean): string[] {
  return readdirSync(folder, { recursive: true })
    .map(String)
    .filter(isWanted)
    .map((name) => readFileSync(join(folder, name), 'utf8'));
}

function commandsIn(texts: string[], call: RegExp): string[] {
  const found = texts.flatMap((text) => [...text.matchAll(call)].map(([, name = '']) => name));
  return [...new Set(found.map((name) => name.toLowerCase()))];
}

test('the start tries the rights for every command that scripts run', () => {
  const tried = new Set(NEEDED.map(([name]) => name));
  const ours = commandsIn(
    textsIn(SOURCES, (name) => name.endsWith('.ts')),
    /redis\.p?call\('([a-zA-Z]+)'/g,
  );
  const theirs = commandsIn(
    textsIn(BULLMQ, (name) => USED.test(name) && name.endsWith('.js')),
    /rcall\(["']([a-zA-Z]+)["']/g,
  );
  expect(ours.length).toBeGreaterThan(20);
  expect(theirs.length).toBeGreaterThan(20);
  expect([...ours, ...theirs].filter((name) => !tried.has(name))).toEqual([]);
});
