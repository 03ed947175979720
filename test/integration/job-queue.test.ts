import { afterAll, afterEach, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { createJobQueue, type JobQueue, type QueueWorker } from '../../src/queue/job-queue.ts';
import { testRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

const { url, prefix } = testRedis();
const redis = new Redis(url, { maxRetriesPerRequest: null });
const AN_HOUR = 3_600_000;

let names = 0;
let errors: Error[] = [];
const queues: JobQueue[] = [];
const workers: QueueWorker[] = [];

afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.close(true)));
  await Promise.all(queues.splice(0).map((queue) => queue.close()));
  errors = [];
});

afterAll(() => redis.disconnect());

/** A queue of its own, or one more process's view of one. */
function openQueue(name = `queue-${(names += 1)}`) {
  const queue = createJobQueue({
    name,
    prefix: `{${prefix}}`,
    producer: redis,
    consumer: redis,
    onError: (error) => errors.push(error),
  });
  queues.push(queue);
  const work = (...args: Parameters<JobQueue['work']>) => {
    const worker = queue.work(...args);
    workers.push(worker);
    return worker;
  };
  const key = (...parts: string[]) => [`{${prefix}}`, name, ...parts].join(':');
  return { ...queue, name, work, key };
}

type OpenQueue = ReturnType<typeof openQueue>;

/** A run that says it has begun and ends when it is told to. */
function heldRun() {
  const begun: string[] = [];
  const ends: ((due: number | null) => void)[] = [];
  return {
    begun,
    run: (id: string) => {
      begun.push(id);
      return new Promise<number | null>((resolve) => ends.push(resolve));
    },
    /** Ends the run that began first. */
    end: (due: number | null) => ends.shift()?.(due),
  };
}

async function sleeping(queue: OpenQueue, id: string): Promise<void> {
  await waitFor(async () => (await redis.zscore(queue.key('delayed'), id)) !== null);
}

describe('a job', () => {
  test('runs again at the time that its run gave, and is over when that is null', async () => {
    const queue = openQueue();
    const dues = [Date.now() + 30, Date.now() + 60, null];
    const began: number[] = [];
    queue.work(
      async () => {
        began.push(Date.now());
        return dues[began.length - 1] ?? null;
      },
      { concurrency: 1 },
    );
    await queue.ensure(['a']);
    await waitFor(async () => began.length === 3 && (await queue.withoutJob(['a'])).length === 1);
    expect(began[1]).toBeGreaterThanOrEqual(dues[0] ?? Infinity);
    expect(began[2]).toBeGreaterThanOrEqual(dues[1] ?? Infinity);
    expect(await redis.keys(queue.key('a*'))).toEqual([]);
  });

  test('whose run is over can be asked for again', async () => {
    const queue = openQueue();
    const began: string[] = [];
    queue.work(
      async (id) => {
        began.push(id);
        return null;
      },
      { concurrency: 1 },
    );
    await queue.ensure(['a']);
    await waitFor(() => began.length === 1);
    await waitFor(async () => (await queue.withoutJob(['a'])).length === 1);
    await queue.ensure(['a']);
    await waitFor(() => began.length === 2);
  });

  test('runs strictly one at a time, however often and by whomever it is asked for', async () => {
    const queue = openQueue();
    const [first, second] = [queue, openQueue(queue.name)];
    const seen = { running: 0, most: 0, runs: 0 };
    const run = async () => {
      seen.running += 1;
      seen.most = Math.max(seen.most, seen.running);
      await new Promise(setImmediate);
      seen.running -= 1;
      seen.runs += 1;
      return seen.runs < 60 ? Date.now() : null;
    };
    first.work(run, { concurrency: 8 });
    second.work(run, { concurrency: 8 });
    await waitFor(async () => {
      await Promise.all([first.ensure(['a', 'a']), second.hasten('a')]);
      return seen.runs >= 60;
    });
    expect(seen.most).toBe(1);
  });

  test('that is there already is not added twice', async () => {
    const queue = openQueue();
    await Promise.all([queue.ensure(['a', 'b']), queue.ensure(['b', 'a']), queue.ensure([])]);
    expect((await redis.lrange(queue.key('wait'), 0, -1)).toSorted()).toEqual(['a', 'b']);
    const ran: string[] = [];
    queue.work(
      async (id) => {
        ran.push(id);
        return Date.now() + AN_HOUR;
      },
      { concurrency: 4 },
    );
    await sleeping(queue, 'a');
    await sleeping(queue, 'b');
    await queue.ensure(['a', 'b']);
    expect(await redis.zcard(queue.key('delayed'))).toBe(2);
    expect(ran.toSorted()).toEqual(['a', 'b']);
  });

  test('is handed to whichever worker is free', async () => {
    const queue = openQueue();
    const other = openQueue(queue.name);
    const [mine, theirs] = [heldRun(), heldRun()];
    queue.work(mine.run, { concurrency: 1 });
    other.work(theirs.run, { concurrency: 1 });
    await queue.ensure(['a', 'b']);
    await waitFor(() => mine.begun.length === 1 && theirs.begun.length === 1);
    expect([...mine.begun, ...theirs.begun].toSorted()).toEqual(['a', 'b']);
    mine.end(null);
    theirs.end(null);
  });
});

describe('jobs with deadlines', () => {
  test('run in their order, first of those that are new, then of all that are due', async () => {
    const queue = openQueue();
    const noon = Date.now();
    const deadlines = new Map([
      ['late', noon + 2_000],
      ['early', noon],
      ['middle', noon + 1_999],
    ]);
    await queue.ensure([...deadlines.keys()], (id) => deadlines.get(id) ?? 0);
    const began: string[] = [];
    const worker = queue.work(
      async (id) => {
        began.push(id);
        // Each comes back at once, and in the opposite order.
        if (began.length <= 3) return { dueAt: noon, deadline: noon + 10_000 - began.length };
        return null;
      },
      { concurrency: 1 },
    );
    await waitFor(async () => (await queue.count()) === 0);
    expect(began).toEqual(['early', 'middle', 'late', 'late', 'middle', 'early']);
    await worker.close(false);
  });

  test('that are held up keep their place and begin when the time is over', async () => {
    const queue = openQueue();
    await queue.ensure(['a', 'b'], (id) => (id === 'a' ? 1_000 : 2_000));
    const began: { id: string; at: number }[] = [];
    queue.work(
      async (id) => {
        began.push({ id, at: Date.now() });
        return began.length === 1 ? { heldForMs: 120 } : null;
      },
      { concurrency: 1, limiter: { max: 100, duration: 10 } },
    );
    await waitFor(() => began.length === 3);
    expect(began.map(({ id }) => id)).toEqual(['a', 'a', 'b']);
    expect((began[1]?.at ?? 0) - (began[0]?.at ?? 0)).toBeGreaterThanOrEqual(119);
  });

  test('wait as long as the queue is held, whichever process holds it', async () => {
    const queue = openQueue();
    const held = heldRun();
    await openQueue(queue.name).hold(150);
    const since = Date.now();
    queue.work(held.run, { concurrency: 1, limiter: { max: 100, duration: 10 } });
    await queue.ensure(['a'], () => since);
    await waitFor(() => held.begun.length === 1);
    expect(Date.now() - since).toBeGreaterThanOrEqual(140);
    held.end(null);
  });
});

describe('hastening', () => {
  test('a job that sleeps wakes it', async () => {
    const queue = openQueue();
    let runs = 0;
    queue.work(
      async () => {
        runs += 1;
        return Date.now() + AN_HOUR;
      },
      { concurrency: 1 },
    );
    await queue.ensure(['a']);
    await sleeping(queue, 'a');
    await queue.hasten('a');
    await waitFor(() => runs === 2);
    await sleeping(queue, 'a');
  });

  test('a job that runs wakes it again as soon as it sleeps', async () => {
    const queue = openQueue();
    const held = heldRun();
    queue.work(held.run, { concurrency: 4 });
    await queue.ensure(['a']);
    await waitFor(() => held.begun.length === 1);
    await queue.hasten('a');
    expect(held.begun).toEqual(['a']);
    held.end(Date.now() + AN_HOUR);
    await waitFor(() => held.begun.length === 2);
    held.end(Date.now() + AN_HOUR);
    await sleeping(queue, 'a');
  });

  test('a job that waits puts it before those whose deadlines come later', async () => {
    const queue = openQueue();
    await queue.ensure(['a', 'b', 'c'], () => Date.now());
    await queue.hasten('c', 1);
    const held = heldRun();
    queue.work(held.run, { concurrency: 1 });
    await waitFor(() => held.begun.length === 1);
    expect(held.begun).toEqual(['c']);
  });

  test('an id that has no job gives it one', async () => {
    const queue = openQueue();
    const held = heldRun();
    queue.work(held.run, { concurrency: 1 });
    await queue.hasten('a');
    await waitFor(() => held.begun.length === 1);
    held.end(null);
  });
});

describe('rescheduling', () => {
  const inAnHour = () => Date.now() + AN_HOUR;

  /** A job that has run once and sleeps. */
  async function sleepingUntil(queue: OpenQueue, time: number) {
    const held = heldRun();
    queue.work(held.run, { concurrency: 1 });
    await queue.ensure(['a']);
    await waitFor(() => held.begun.length === 1);
    held.end(time);
    await sleeping(queue, 'a');
    return held;
  }

  const sleepsUntil = async (queue: OpenQueue) =>
    Math.floor(Number(await redis.zscore(queue.key('delayed'), 'a')) / 0x1000);

  test('moves the time of a job that sleeps, earlier as well as later', async () => {
    const queue = openQueue();
    const from = inAnHour();
    const held = await sleepingUntil(queue, from);
    await queue.reschedule('a', { from, to: from + AN_HOUR });
    expect(await sleepsUntil(queue)).toBe(from + AN_HOUR);
    await queue.reschedule('a', { from: from + AN_HOUR, to: Date.now() + 20 });
    await waitFor(() => held.begun.length === 2);
    held.end(null);
  });

  test('leaves a job alone that has got another time meanwhile', async () => {
    const queue = openQueue();
    const from = inAnHour();
    const held = await sleepingUntil(queue, from);
    await queue.reschedule('a', { from: from - 5_000, to: from + AN_HOUR });
    expect(await sleepsUntil(queue)).toBe(from);
    held.end(null);
  });

  test('sends a job that waits for its turn back to sleep, for as long as it is told', async () => {
    const queue = openQueue();
    const from = Date.now();
    const to = inAnHour();
    await queue.ensure(['a', 'b'], () => Date.now());
    await queue.reschedule('a', { from, to });
    const held = heldRun();
    queue.work(held.run, { concurrency: 2 });
    await waitFor(() => held.begun.length === 1);
    expect(held.begun).toEqual(['b']);
    expect(await queue.withoutJob(['a'])).toEqual([]);
    await queue.reschedule('a', { from: to, to: Date.now() });
    await waitFor(() => held.begun.length === 2);
    held.end(null);
    held.end(null);
  });

  test('keeps a job in its turn that was hastened meanwhile', async () => {
    const queue = openQueue();
    const from = inAnHour();
    await queue.ensure(['a'], () => Date.now());
    await queue.reschedule('a', { from, to: from + AN_HOUR });
    const held = heldRun();
    queue.work(held.run, { concurrency: 1 });
    await waitFor(() => held.begun.length === 1);
    held.end(null);
  });

  test('leaves a job alone that runs, or is none', async () => {
    const queue = openQueue();
    const held = heldRun();
    queue.work(held.run, { concurrency: 1 });
    await queue.ensure(['a']);
    await waitFor(() => held.begun.length === 1);
    const move = { from: Date.now(), to: inAnHour() };
    await queue.reschedule('a', move);
    await queue.reschedule('nobody', move);
    expect(await queue.withoutJob(['a', 'nobody'])).toEqual(['nobody']);
    held.end(Date.now() + 10);
    await waitFor(() => held.begun.length === 2);
    held.end(null);
  });
});

describe('a worker that is closed', () => {
  /** Does something as soon as the next command about a job has been sent. */
  function onceSent(jobKey: string, act: () => unknown): void {
    const { sendCommand } = redis;
    redis.sendCommand = function (...[command, stream]: Parameters<typeof sendCommand>) {
      const reply = sendCommand.call(redis, command, stream);
      if (command.args.includes(jobKey)) {
        redis.sendCommand = sendCommand;
        act();
      }
      return reply;
    };
  }

  test('gives back at once the job that came along when another was put off', async () => {
    const queue = openQueue();
    const held = heldRun();
    const worker = queue.work(held.run, { concurrency: 1 });
    await queue.ensure(['a', 'b']);
    await waitFor(() => held.begun.length === 1);
    const closing: Promise<void>[] = [];
    onceSent(queue.key('a'), () => closing.push(worker.close(false)));
    held.end(Date.now() + AN_HOUR);
    await waitFor(() => closing.length > 0);
    await Promise.all(closing);
    expect(held.begun).toEqual(['a']);
    queue.work(held.run, { concurrency: 1 });
    await waitFor(() => held.begun.length === 2);
    expect(held.begun).toEqual(['a', 'b']);
    held.end(null);
  });
});

describe('a run that throws', () => {
  test('is tried again later and told of, and its job is never given up', async () => {
    const queue = openQueue();
    queue.work(
      async () => {
        throw new Error('Redis went away');
      },
      { concurrency: 1 },
    );
    const before = Date.now();
    await queue.ensure(['a']);
    await sleeping(queue, 'a');
    // BullMQ keeps the time in the upper bits of the score.
    const due = Number(await redis.zscore(queue.key('delayed'), 'a')) / 0x1000;
    expect(due).toBeGreaterThanOrEqual(before + 5_000);
    expect(errors.map(({ message }) => message)).toEqual(['Redis went away']);
    await queue.hasten('a');
    await waitFor(() => errors.length === 2);
  });
});

describe('a job whose lock was lost', () => {
  test('is left to who has it now, and is not failed', async () => {
    const queue = openQueue();
    const held = heldRun();
    queue.work(held.run, { concurrency: 1 });
    await queue.ensure(['a']);
    await waitFor(() => held.begun.length === 1);
    await redis.set(queue.key('a', 'lock'), 'another process');
    held.end(Date.now() + AN_HOUR);
    await queue.ensure(['b']);
    await waitFor(() => held.begun.length === 2);
    // One error, and no second one of an attempt to give the job up.
    expect(errors.map(({ message }) => message)).toEqual([
      expect.stringMatching(/lock mismatch for job a.*moveToDelayed/i),
    ]);
    held.end(null);
    await waitFor(async () => (await queue.withoutJob(['b'])).length === 1);
    expect(await redis.lrange(queue.key('active'), 0, -1)).toEqual(['a']);
    expect(await redis.exists(queue.key('a'))).toBe(1);
  });

  test('is run again when nobody has it', async () => {
    const queue = openQueue();
    const held = heldRun();
    queue.work(held.run, { concurrency: 2 });
    await queue.ensure(['a']);
    await waitFor(() => held.begun.length === 1);
    await redis.del(queue.key('a', 'lock'));
    held.end(Date.now() + AN_HOUR);
    await waitFor(() => held.begun.length === 2, { timeoutMs: 25_000 });
    held.end(null);
  });
});

describe('ids without a job', () => {
  test('are those that have none, whatever the others are doing', async () => {
    const queue = openQueue();
    const held = heldRun();
    queue.work(async (id) => (id === 'runs' ? held.run(id) : Date.now() + AN_HOUR), {
      concurrency: 2,
    });
    await queue.ensure(['runs', 'sleeps']);
    await waitFor(() => held.begun.length === 1);
    await sleeping(queue, 'sleeps');
    await Promise.all(workers.splice(0).map((worker) => worker.close(true)));
    await queue.ensure(['waits']);
    await queue.ensure(['waits its turn'], () => Date.now());
    const all = ['none', 'waits', 'waits its turn', 'sleeps', 'runs'];
    expect(await queue.withoutJob(all)).toEqual(['none']);
    expect(await queue.withoutJob([])).toEqual([]);
    held.end(null);
  });

  test('include those whose job stands in no list, and they can be added anew', async () => {
    const queue = openQueue();
    await queue.ensure(['dead', 'alive']);
    await redis.lrem(queue.key('wait'), 0, 'dead');
    await queue.ensure(['dead']);
    expect(await redis.lrange(queue.key('wait'), 0, -1)).toEqual(['alive']);
    expect(await queue.withoutJob(['alive', 'dead'])).toEqual(['dead']);
    await queue.ensure(['dead']);
    expect((await redis.lrange(queue.key('wait'), 0, -1)).toSorted()).toEqual(['alive', 'dead']);
  });

  test('include a dead one behind a thousand that wait', async () => {
    const queue = openQueue();
    const waiting = Array.from({ length: 1_000 }, (_, at) => `job-${at}`);
    await queue.ensure([...waiting, 'dead']);
    await redis.lrem(queue.key('wait'), 0, 'dead');
    expect(await queue.withoutJob([...waiting, 'dead'])).toEqual(['dead']);
  });

  test('do not include a job of a killed process: the stalled check has that', async () => {
    const queue = openQueue();
    await queue.ensure(['a']);
    await redis.rpoplpush(queue.key('wait'), queue.key('active'));
    expect(await queue.withoutJob(['a'])).toEqual([]);
    const held = heldRun();
    queue.work(held.run, { concurrency: 1 });
    await waitFor(() => held.begun.length === 1, { timeoutMs: 25_000 });
    held.end(null);
  });
});

describe('an id that is wanted again while its job ends', () => {
  test('gets a new job', async () => {
    const queue = openQueue();
    const held = heldRun();
    let wanted = false;
    queue.work(held.run, { concurrency: 1, isWanted: async () => wanted });
    await queue.ensure(['a']);
    await waitFor(() => held.begun.length === 1);
    // Somebody asks for a job and finds the old one, which has already seen that it is over.
    wanted = true;
    await queue.ensure(['a']);
    held.end(null);
    await waitFor(() => held.begun.length === 2);
    wanted = false;
    held.end(null);
    await waitFor(async () => (await queue.withoutJob(['a'])).length === 1);
  });
});

describe('a limit', () => {
  test('is shared by all workers of a queue', async () => {
    const queue = openQueue();
    const other = openQueue(queue.name);
    const limiter = { max: 5, duration: 60_000 };
    const ran: string[] = [];
    const run = async (id: string) => {
      ran.push(id);
      return Date.now() + AN_HOUR;
    };
    queue.work(run, { concurrency: 4, limiter });
    other.work(run, { concurrency: 4, limiter });
    await queue.ensure(Array.from({ length: 20 }, (_, at) => `job-${at}`));
    await waitFor(async () => (await redis.zcard(queue.key('delayed'))) === 5);
    await waitFor(async () => Number(await redis.get(queue.key('limiter'))) >= 5);
    expect(ran).toHaveLength(5);
    expect(await redis.llen(queue.key('wait'))).toBe(15);
  });
});

describe('closing a worker', () => {
  test('waits for the run that is on, and takes nothing new', async () => {
    const queue = openQueue();
    const held = heldRun();
    const worker = queue.work(held.run, { concurrency: 1 });
    await queue.ensure(['a', 'b']);
    await waitFor(() => held.begun.length === 1);
    expect(worker.isRunning()).toBe(true);
    let closed = false;
    const closing = worker.close(false).then(() => (closed = true));
    await queue.withoutJob(['a']);
    expect(closed).toBe(false);
    held.end(Date.now() + AN_HOUR);
    await closing;
    expect(held.begun).toHaveLength(1);
    expect(worker.isRunning()).toBe(false);
    expect(await redis.zcard(queue.key('delayed'))).toBe(1);
    expect(await redis.llen(queue.key('wait'))).toBe(1);
  });

  test('by force leaves the run that is on to others', async () => {
    const queue = openQueue();
    const held = heldRun();
    const worker = queue.work(held.run, { concurrency: 1 });
    await queue.ensure(['a']);
    await waitFor(() => held.begun.length === 1);
    await worker.close(true);
    expect(await redis.lrange(queue.key('active'), 0, -1)).toEqual(['a']);
    held.end(null);
  });
});
