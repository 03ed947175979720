import { afterAll, expect, test } from '@jest/globals';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { createJobQueue } from '../../src/queue/job-queue.ts';
import { testRedis } from '../support/redis.ts';

const { url, prefix } = testRedis();
const redis = new Redis(url, { maxRetriesPerRequest: null });
const errors: Error[] = [];
const jobs = createJobQueue({
  name: 'poll',
  prefix: `{${prefix}}`,
  producer: redis,
  consumer: redis,
  onError: (error) => errors.push(error),
});
const queue = new Queue('poll', { connection: redis, prefix: `{${prefix}}` });

afterAll(async () => {
  await queue.close();
  await jobs.close();
  redis.disconnect();
});

test('a job is missing when there is none, or one that stands nowhere', async () => {
  // More than one page of waiting jobs, so that the last of them are found too.
  const waiting = Array.from({ length: 2_500 }, (_, at) => `waiting/${at}`);
  await jobs.ensure(waiting);
  await queue.add('run', {}, { jobId: 'delayed/1', delay: 60_000 });
  await jobs.ensure(['lost/1', 'lost/2']);
  for (const id of ['lost/1', 'lost/2']) await redis.lrem(queue.toKey('wait'), 0, id);

  const ids = [...waiting, 'absent/1', 'delayed/1', 'lost/1', 'lost/2', 'absent/2'];
  const missing = ['absent/1', 'absent/2', 'lost/1', 'lost/2'];
  expect((await jobs.withoutJob(ids)).sort()).toEqual(missing);
  expect(await jobs.withoutJob([])).toEqual([]);

  await jobs.ensure(missing);
  expect(await jobs.withoutJob(ids)).toEqual([]);
  expect(errors).toEqual([]);
});

test('a job that a worker has taken is not missing, locked or not', async () => {
  await jobs.ensure(['taken/1']);
  await redis.lrem(queue.toKey('wait'), 0, 'taken/1');
  await redis.lpush(queue.toKey('active'), 'taken/1');
  expect(await jobs.withoutJob(['taken/1'])).toEqual([]);

  await redis.lrem(queue.toKey('active'), 0, 'taken/1');
  await redis.set(`${queue.toKey('taken/1')}:lock`, 'token');
  expect(await jobs.withoutJob(['taken/1'])).toEqual([]);
  await redis.del(`${queue.toKey('taken/1')}:lock`);
  expect(await jobs.withoutJob(['taken/1'])).toEqual(['taken/1']);
});
