import { afterEach, expect, test } from '@jest/globals';
import { createRedisConnections } from '../../src/redis/connection.ts';
import { createKeys } from '../../src/redis/keys.ts';
import type { RedisSettings } from '../../src/redis/target.ts';
import { collectLog } from '../support/collect-log.ts';
import { startCluster, startSentinel } from '../support/redis-topology.ts';
import { waitFor } from '../support/wait-for.ts';

const prefix = 'failover';
const key = `{${prefix}}:key`;
const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function connect(settings: Omit<RedisSettings, 'prefix'>) {
  const log = collectLog();
  const connections = createRedisConnections({ settings: { ...settings, prefix }, log });
  cleanups.push(() => connections.close());
  await connections.ready();
  return { connections, log };
}

/** Kills the primary, and goes on once its replica has what was written. */
async function survivesItsPrimary(
  { connections, log }: Awaited<ReturnType<typeof connect>>,
  killPrimary: () => Promise<void>,
): Promise<void> {
  const { commands, blocking } = connections;
  const heard: string[] = [];
  connections.subscriber.hear('news', { onMessage: (message) => heard.push(message) });
  await commands.set(key, 'kept');
  expect(await commands.wait(1, 60_000)).toBe(1);
  let usable = 0;
  connections.onUsable(() => (usable += 1));

  await killPrimary();
  const popped = blocking.bzpopmin(`{${prefix}}:list`, 0);
  await waitFor(() => usable === 1);
  expect(await commands.get(key)).toBe('kept');
  await commands.zadd(`{${prefix}}:list`, 1, 'member');
  expect(await popped).toEqual([`{${prefix}}:list`, 'member', '1']);
  await waitFor(async () => {
    await commands.publish('news', 'one');
    return heard.includes('one');
  });
  expect(log.lines.map(({ msg }) => msg)).toEqual(['Redis is away', 'Redis is back']);
}

test('by Sentinels, work goes on at the new primary when the old one is killed', async () => {
  const servers = await startSentinel();
  cleanups.push(() => servers.stop());
  const { sentinels, name } = servers;
  await expect(connect({ url: `redis://${sentinels[0]}` })).rejects.toMatchObject({
    code: 'redis_is_sentinel',
    message: expect.stringContaining('redis.sentinels'),
  });
  await survivesItsPrimary(await connect({ sentinels, name }), () => servers.killPrimary());
});

test('in a cluster, work goes on at the new primary of its slot when the old one is killed', async () => {
  const servers = await startCluster(createKeys(prefix).writeProbe);
  cleanups.push(() => servers.stop());
  const toOther = connect({ url: `redis://${servers.otherNode}` });
  await expect(toOther).rejects.toMatchObject({
    code: 'redis_is_cluster_node',
    message: expect.stringContaining('redis.cluster in place of redis.url'),
  });
  await survivesItsPrimary(await connect({ cluster: [servers.otherNode] }), () =>
    servers.killPrimary(),
  );
});
