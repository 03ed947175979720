import { createConnection, createServer, type AddressInfo, type Socket } from 'node:net';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import type { RunwatchError } from '../../src/core/errors.ts';
import { createRedisConnections, type RedisConnections } from '../../src/redis/connection.ts';
import type { RedisSettings } from '../../src/redis/target.ts';
import { Subscriber } from '../../src/redis/subscriber.ts';
import { serverTraits } from '../../src/redis/server-check.ts';
import { CERT_FOR_LOCALHOST, TEST_CA, TEST_KEY } from '../support/certificates.ts';
import { collectLog } from '../support/collect-log.ts';
import { listenRaw } from '../support/raw-server.ts';
import { freePort } from '../support/redis-process.ts';
import { startPrivateRedis, testRedis } from '../support/redis.ts';
import type { PrivateRedis, PrivateRedisOptions } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function privateRedis(options?: PrivateRedisOptions): Promise<PrivateRedis> {
  const redis = await startPrivateRedis(options);
  cleanups.push(() => redis.stop());
  return redis;
}

interface ConnectOptions {
  readyTimeoutMs?: number;
  remindEveryMs?: number;
  settings?: Omit<RedisSettings, 'url' | 'prefix'>;
}

function connect(url: string, { settings, ...options }: ConnectOptions = {}) {
  const log = collectLog();
  const connections = createRedisConnections({
    settings: { ...settings, url, prefix: 'connection' },
    log,
    ...options,
  });
  cleanups.push(() => connections.close());
  return { connections, log };
}

async function caught(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => null,
    (error: unknown) => error,
  );
}

test('a connection is ready once Redis answers, and reports nothing when all is well', async () => {
  const redis = await privateRedis({ aof: true });
  const { connections, log } = connect(redis.url);
  await connections.ready();

  expect(connections.state()).toEqual({ kind: 'ok' });
  expect(log.lines).toEqual([]);

  const { url } = redis;
  const third = connect(`unix://${url}?db=3`).connections;
  await third.ready();
  await third.commands.set('key', 'x');
  expect(await connect(`${url}?db=3`).connections.blocking.get('key')).toBe('x');
  expect(await connect(url).connections.blocking.get('key')).toBeNull();
});

test('a subscriber hears what is published, also after Redis was restarted', async () => {
  const redis = await privateRedis();
  const { connections } = connect(redis.url);
  await connections.ready();
  const heard: string[] = [];
  connections.subscriber.hear('news', { onMessage: (message) => heard.push(message) });
  await waitFor(() => hasListener(connections));
  await connections.commands.publish('news', 'one');
  await waitFor(() => heard.includes('one'));

  await redis.restart();
  await waitFor(async () => connections.state().kind === 'ok' && (await hasListener(connections)));
  await connections.commands.publish('news', 'two');
  await waitFor(() => heard.includes('two'));
});

async function hasListener({ commands }: RedisConnections): Promise<boolean> {
  const [, count] = (await commands.pubsub('NUMSUB', 'news')) as [string, number];
  return count > 0;
}

test('a subscription that Redis refuses after a reconnect is tried until it holds', async () => {
  const redis = await privateRedis();
  const { connections, log } = connect(redis.url);
  await connections.ready();
  const heard: string[] = [];
  connections.subscriber.hear('news', { onMessage: (message) => heard.push(message) });
  await waitFor(() => hasListener(connections));
  const { commands } = connections;
  await commands.acl('SETUSER', 'default', 'resetchannels');
  await waitFor(() => log.lines.some(({ reply }) => reply === 'NOPERM'));
  await commands.acl('SETUSER', 'default', 'allchannels');
  await waitFor(() => hasListener(connections));
  await commands.publish('news', 'again');
  await waitFor(() => heard.includes('again'));
});

test('a subscriber whose connection holds and answers nothing connects anew', async () => {
  const redis = await privateRedis();
  const way = await startHoldableProxy(redis.url);
  const listening = new Redis(way.url, { autoResubscribe: false });
  const subscriber = new Subscriber(listening, { pingEveryMs: 500, pongMs: 400 });
  cleanups.push(async () => listening.disconnect());
  const heard: string[] = [];
  let subscriptions = 0;
  subscriber.hear('news', {
    onMessage: (message) => heard.push(message),
    onSubscribed: () => (subscriptions += 1),
  });
  await waitFor(() => subscriptions > 0);
  way.hold();
  // On a slow machine an answer may have been late before.
  const before = subscriptions;
  await waitFor(() => subscriptions > before);
  const { commands } = connect(redis.url).connections;
  await waitFor(async () => {
    await commands.publish('news', 'one');
    return heard.includes('one');
  });
});

/** Passes connections on to a Redis. @returns what makes those that are open pass nothing on, for good */
async function startHoldableProxy(target: string) {
  const open = new Set<[Socket, Socket]>();
  const server = createServer((near) => {
    const far = createConnection(target.replace('unix://', ''));
    near.pipe(far).pipe(near);
    for (const one of [near, far]) one.on('error', () => undefined);
    near.on('close', () => far.destroy());
    open.add([near, far]);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(async () => {
    for (const pair of open) for (const one of pair) one.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `redis://127.0.0.1:${port}`,
    hold() {
      for (const [near, far] of open) {
        near.unpipe();
        far.unpipe();
      }
    },
  };
}

test('a server that loads its file is asked again soon until it is done', async () => {
  let asked = 0;
  const server = await listenRaw((socket) => {
    socket.on('data', (chunk: Buffer) => {
      for (const command of chunk.toString().split(/(?=\*\d+\r\n\$)/)) {
        const isTry = /\r\neval\r\n/i.test(command);
        if (isTry) asked += 1;
        if (!isTry) socket.write(answers.find(([name]) => name.test(command))?.[1] ?? '+OK\r\n');
        else socket.write(asked > 2 ? '*0\r\n' : '-LOADING Redis is loading the dataset\r\n');
      }
    });
  });
  cleanups.push(() => server.close());
  const { connections, log } = connect(server.origin.replace('http:', 'redis:'));
  await connections.ready();
  expect(asked).toBeGreaterThan(2);
  expect(log.lines[0]).toMatchObject({ msg: 'Redis refuses', reply: 'LOADING' });
  await waitFor(() => connections.state().kind === 'ok');
});

/** What a server says that has all rights, apart from the script that tries them. */
const answers: [RegExp, string][] = [
  [/\r\ninfo\r\n/i, '$19\r\nredis_version:7.2.0\r\n'],
  [/\r\nevalsha\r\n/i, '-NOSCRIPT No matching script\r\n'],
  [/\r\nbzpopmin\r\n/i, '*-1\r\n'],
  [/\r\nsubscribe\r\n/i, '*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n'],
];

test('when nothing listens, ready fails and names the place but never the password', async () => {
  const { connections } = connect('redis://ops:hunter2@127.0.0.1:1', { readyTimeoutMs: 200 });
  const error = await caught(connections.ready());
  expect(error).toMatchObject({ code: 'redis_unavailable', retriable: true });
  expect(String(error)).toContain('127.0.0.1:1 was not ready within 0.2 s: connect ECONNREFUSED');
  expect(JSON.stringify(error) + String(error)).not.toContain('hunter2');
});

test('wrong credentials fail at once', async () => {
  const redis = await privateRedis({ tcp: true, args: ['--requirepass', 'right'] });
  const wrong = connect(redis.url.replace('//', '//:wr%40ng@'), { readyTimeoutMs: 60_000 });
  const error = await caught(wrong.connections.ready());
  expect(error).toMatchObject({ code: 'redis_credentials_refused', retriable: false });
  expect(String(error)).toContain('WRONGPASS');

  const none = connect(redis.url, { readyTimeoutMs: 60_000 });
  expect(await caught(none.connections.ready())).toMatchObject({
    code: 'redis_credentials_refused',
  });

  const right = connect(redis.url.replace('//', '//:right@'));
  await right.connections.ready();
});

test('a password that Redis changes meanwhile is a refusal, which ends when it is taken back', async () => {
  const redis = await privateRedis({ tcp: true, args: ['--requirepass', 'one'] });
  const { connections } = connect(redis.url.replace('//', '//:one@'));
  await connections.ready();
  const other = connect(redis.url.replace('//', '//:one@')).connections;
  await other.ready();
  const admin = other.commands;
  await admin.config('SET', 'requirepass', 'two');
  await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  await waitFor(() => connections.state().kind === 'refuses');
  expect(await connections.tryWrite()).toMatchObject({ kind: 'refuses', code: 'WRONGPASS' });
  await admin.config('SET', 'requirepass', 'one');
  await waitFor(async () => (await connections.tryWrite()).kind === 'ok');
});

test('a server of another protocol is not taken for a fault of the client', async () => {
  const server = await listenRaw((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  cleanups.push(() => server.close());
  const url = server.origin.replace('http:', 'redis:');
  const { connections } = connect(url, { readyTimeoutMs: 300 });
  const error = await caught(connections.ready());
  expect(String(error)).toContain('within 0.3 s: what answers there does not speak as Redis does');
});

test('a database that the server does not have is refused, in place of database 0', async () => {
  const redis = await privateRedis({ tcp: true });
  const { connections } = connect(`${redis.url}/99`);
  const error = await caught(connections.ready());
  expect(error).toMatchObject({ code: 'redis_database_refused', retriable: false });
  expect(String(error)).toMatch(/127\.0\.0\.1:\d+ refuses database 99: .*out of range$/);
  await connect(`${redis.url}/15`).connections.ready();
});

test('no error of a command carries its arguments', async () => {
  const { url, prefix } = testRedis();
  const { connections } = connect(url);
  await connections.ready();
  await connections.commands.set(prefix, 'text');
  for (const redis of [connections.commands, connections.blocking]) {
    for (const client of [redis, redis.duplicate({ enableOfflineQueue: true })]) {
      cleanups.push(async () => client.disconnect());
      const error = await caught(client.lpush(prefix, 'canary'));
      expect(String(error)).toContain('WRONGTYPE');
      expect(Object.values(error as object)).toEqual([]);
    }
  }
});

test('a server that may evict or forget is warned of, one line each', async () => {
  const redis = await privateRedis({ args: ['--maxmemory-policy', 'allkeys-lru'] });
  const { connections, log } = connect(redis.url);
  await connections.ready();
  expect(log.lines.map((line) => [line.level, line['code']])).toEqual([
    ['warn', 'redis_may_evict'],
    ['warn', 'redis_not_persistent'],
  ]);
});

test('a Redis that is still loading its append-only file is not said to keep nothing on disk', async () => {
  const redis = await privateRedis({ aof: true, args: ['--key-load-delay', '500'] });
  const before = connect(redis.url);
  await before.connections.ready();
  const fill = before.connections.commands.pipeline();
  for (let key = 0; key < 4_000; key++) fill.set(`key-${key}`, 'v');
  await fill.exec();

  const restarted = redis.restart();
  const { connections, log } = connect(redis.url);
  await connections.ready();
  await restarted;
  expect(log.lines.filter(({ code }) => code === 'redis_not_persistent')).toEqual([]);
  expect(await serverTraits(connections.commands)).toMatchObject({
    persistence: 'append_only_file',
  });
});

test('snapshots count as persistence', async () => {
  const redis = await privateRedis({ args: ['--save', '3600 1'] });
  const { connections, log } = connect(redis.url);
  await connections.ready();
  expect(log.lines).toEqual([]);
});

test('a managed server that forbids CONFIG is used without a warning about what it hides', async () => {
  const redis = await privateRedis({ args: ['--rename-command', 'CONFIG', ''] });
  const { connections, log } = connect(redis.url);
  await connections.ready();
  expect(log.lines).toEqual([]);
});

test('while Redis is away commands fail at once, and work again when it is back', async () => {
  const redis = await privateRedis({ aof: true });
  const { connections, log } = connect(redis.url, { remindEveryMs: 50 });
  const { commands } = connections;
  await connections.ready();
  await commands.set('kept', 'yes');
  const inFlight = caught(commands.blpop('never', 0));

  await redis.kill();
  expect(await inFlight).toMatchObject({ code: 'redis_unavailable', retriable: true });
  expect(await caught(commands.get('kept'))).toMatchObject({ code: 'redis_unavailable' });
  const [result] = (await commands.pipeline().get('kept').exec()) ?? [];
  expect(result?.[0]).toMatchObject({ code: 'redis_unavailable' });
  const waiting = connections.blocking.get('kept');
  expect(connections.state().kind).toBe('away');
  await waitFor(() => log.lines.length >= 3);

  await redis.restart();
  expect(await waiting).toBe('yes');
  await waitFor(() => connections.state().kind === 'ok');
  expect(await commands.get('kept')).toBe('yes');
  await waitFor(() => log.lines.at(-1)?.msg === 'Redis is back');
  expect(log.lines.slice(0, -1).every((line) => line.msg === 'Redis is away')).toBe(true);
  expect(log.lines[2]).toMatchObject({ level: 'warn', code: 'redis_unavailable' });
});

test('closing is quiet, and leaves no connection behind', async () => {
  const redis = await privateRedis({ aof: true });
  const { connections, log } = connect(redis.url);
  await connections.ready();
  await connections.close();
  expect(connections.state().kind).toBe('away');
  expect(log.lines).toEqual([]);

  const { blocking } = connect(redis.url).connections;
  await waitFor(async () => clientsIn(await blocking.client('LIST')) <= 3);
});

function clientsIn(list: unknown): number {
  return String(list).trim().split('\n').length;
}

/** Makes a server refuse what it is asked, and take it again. */
const REFUSALS: [code: string, refuse: string[], relent: string[]][] = [
  ['OOM', ['CONFIG', 'SET', 'maxmemory', '1'], ['CONFIG', 'SET', 'maxmemory', '0']],
  ['READONLY', ['REPLICAOF', '127.0.0.1', '1'], ['REPLICAOF', 'NO', 'ONE']],
  [
    'NOREPLICAS',
    ['CONFIG', 'SET', 'min-replicas-to-write', '1'],
    ['CONFIG', 'SET', 'min-replicas-to-write', '0'],
  ],
];

test.each(REFUSALS)(
  'a Redis that refuses by %s is said to, in one line, and its work goes on once it relents',
  async (code, refuse, relent) => {
    const redis = await privateRedis({ aof: true });
    const { connections, log } = connect(redis.url);
    await connections.ready();
    let usable = 0;
    connections.onUsable(() => (usable += 1));
    const operator = connect(redis.url).connections.blocking;
    await operator.call(...(refuse as [string, ...string[]]));

    await waitFor(async () => (await connections.tryWrite()).kind === 'refuses');
    expect(connections.state()).toMatchObject({ kind: 'refuses', code });
    // A read-only replica has the connection made anew once a second, and is away meanwhile.
    const refusalOf = async (attempt: () => Promise<unknown>) => {
      const error = (await caught(attempt())) as RunwatchError;
      return error.code === 'redis_refuses' && error.retriable && error.message.includes(code);
    };
    const script = "return redis.call('SET', KEYS[1], 'x')";
    await waitFor(() => refusalOf(() => connections.commands.set('{connection}:key', 'x')));
    await waitFor(() => refusalOf(() => connections.commands.eval(script, 1, '{connection}:key')));
    expect(log.lines).toMatchObject([
      { level: 'warn', code: 'redis_refuses', reply: code, msg: 'Redis refuses' },
    ]);

    await operator.call(...(relent as [string, ...string[]]));
    await waitFor(() => connections.state().kind === 'ok');
    expect(usable).toBe(1);
    expect(log.lines).toHaveLength(2);
    expect(log.lines[1]).toMatchObject({ msg: 'Redis takes what it is given again' });
  },
);

test.each(['-zadd', '-publish', '-eval -evalsha'])(
  'a right that Redis takes away while it is used (%s) makes it refuse, not that of a simple write alone',
  async (rights) => {
    const redis = await privateRedis({ tcp: true, aof: true });
    const operator = connect(redis.url).connections.blocking;
    await operator.call('ACL', 'SETUSER', 'rw', 'on', '>pw', '~*', '&*', '+@all');
    const { connections } = connect(redis.url.replace('//', '//rw:pw@'));
    await connections.ready();
    expect(await connections.tryWrite()).toEqual({ kind: 'ok' });
    await operator.call('ACL', 'SETUSER', 'rw', ...rights.split(' '));
    await waitFor(async () => (await connections.tryWrite()).kind === 'refuses');
    expect(connections.state()).toMatchObject({ kind: 'refuses', code: 'NOPERM' });
    await operator.call('ACL', 'SETUSER', 'rw', '+@all');
    await waitFor(() => connections.state().kind === 'ok');
  },
);

test('a Redis that takes the probe and refuses other keys refuses until it has not for seconds', async () => {
  const redis = await privateRedis({ tcp: true, aof: true });
  const operator = connect(redis.url).connections.blocking;
  await operator.call('ACL', 'SETUSER', 'rw', 'on', '>pw', '~*', '&*', '+@all');
  const { connections } = connect(redis.url.replace('//', '//rw:pw@'));
  await connections.ready();
  const probe = '~{connection}:write-probe';
  await operator.call('ACL', 'SETUSER', 'rw', 'resetkeys', probe);
  await waitFor(async () => {
    await caught(connections.commands.set('{connection}:key', 'x'));
    return (await connections.tryWrite()).kind === 'refuses';
  });
  await operator.call('ACL', 'SETUSER', 'rw', '~*');
  await waitFor(() => connections.state().kind === 'ok');
});

test('a caller that asks a Redis which refuses again at once is slowed down', async () => {
  const redis = await privateRedis({ args: ['--min-replicas-to-write', '1'] });
  const { connections, log } = connect(redis.url, { remindEveryMs: 60_000 });
  let refused = 0;
  const until1s = performance.now() + 1_200;
  while (performance.now() < until1s) {
    await caught(connections.blocking.set('key', 'x'));
    refused += 1;
  }
  expect(refused).toBeLessThan(4);
  expect(log.lines.length).toBeLessThan(2);
});

test('a user without INFO and CONFIG will do, and one that lacks a right is refused with its name', async () => {
  const redis = await privateRedis({ tcp: true, aof: true });
  const operator = connect(redis.url).connections.blocking;
  const rights = ['~{connection}:*', '&{connection}:*', '+@all', '-@admin', '-@dangerous'];
  await operator.call('ACL', 'SETUSER', 'plain', 'on', '>pw', ...rights);
  await operator.call('ACL', 'SETUSER', 'less', 'on', '>pw', ...rights, '-zadd', '-bzpopmin');
  await operator.call('ACL', 'SETUSER', 'elsewhere', 'on', '>pw', '~x:*', '&x:*', '+@all');
  const as = (user: string) => connect(redis.url.replace('//', `//${user}:pw@`));

  const plain = as('plain');
  await plain.connections.ready();
  await plain.connections.commands.set('{connection}:key', 'x');
  expect(plain.connections.state()).toEqual({ kind: 'ok' });
  expect(plain.log.lines).toEqual([]);

  const less = await caught(as('less').connections.ready());
  expect(less).toMatchObject({ code: 'redis_rights_missing' });
  expect(String(less)).toContain('may not ZADD, BZPOPMIN on keys and channels {connection}:*');
  const elsewhere = await caught(as('elsewhere').connections.ready());
  expect(elsewhere).toMatchObject({ code: 'redis_rights_missing' });
  expect(String(elsewhere)).toContain('~{connection}:*');
});

test('by TLS, a server is trusted by redis.tls.ca_file alone, and the error names that', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'runwatch-tls-'));
  cleanups.push(() => rm(dir, { recursive: true }));
  const [cert, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
  await writeFile(cert, CERT_FOR_LOCALHOST);
  await writeFile(key, TEST_KEY);
  const port = await freePort();
  const files = ['--tls-cert-file', cert, '--tls-key-file', key, '--tls-auth-clients', 'no'];
  await privateRedis({
    aof: true,
    args: ['--tls-port', String(port), ...files, '--user', 'ops', 'on', '>pw', '~*', '&*', '+@all'],
  });
  const url = `rediss://127.0.0.1:${port}`;
  const stranger = await caught(connect(url, { readyTimeoutMs: 60_000 }).connections.ready());
  expect(stranger).toMatchObject({ code: 'redis_untrusted', retriable: false });
  expect(String(stranger)).toContain('redis.tls.ca_file');

  const settings = { tls: { ca: TEST_CA }, username: 'ops', password: 'pw' };
  const known = connect(url, { settings });
  await known.connections.ready();
  expect(await known.connections.commands.acl('WHOAMI')).toBe('ops');
  expect(known.log.lines).toEqual([]);
});
