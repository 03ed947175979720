import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { groupBy } from '../../src/core/arrays.ts';
import type { RunwatchEvent } from '../../src/core/event/event.ts';
import { tempDir } from '../support/daemon-process.ts';
import { eventOf, PER_ENDPOINT, runKillTest, type KillOutcome } from '../support/kill-scenario.ts';
import { startPrivateRedis } from '../support/redis.ts';

const AWAITING = 'run.awaiting_human_feedback';
const KILLS = { kills: 8, redisAfter: [3, 6] };
const REDIS_AWAY_MS = 500;

const scenarios = [
  { name: 'one daemon with its own Redis', daemons: 1, play: playAlone },
  { name: 'two daemons on one Redis', daemons: 2, play: playTogether },
];
const outcomes = new Map<string, KillOutcome>();

beforeAll(async () => {
  const plays = scenarios.map(async ({ name, play }) => outcomes.set(name, await play()));
  await Promise.allSettled(plays);
  await Promise.all(plays);
});

afterAll(() => {
  for (const [name, { events, accepted }] of outcomes) {
    const repeats = accepted.length - new Set(accepted.map(({ id }) => id)).size;
    const redis = KILLS.redisAfter.length;
    const counts = `${KILLS.kills} kills, ${redis} of Redis, ${events.length} events, ${repeats} repeats`;
    process.stderr.write(`kill -9, ${name}: ${counts}\n`);
  }
});

/** The daemon's Redis is its child, and outlives it; killed, it is brought back by the daemon. */
async function playAlone(): Promise<KillOutcome> {
  const dataDir = await tempDir();
  const end = async () => {
    const pid = Number.parseInt(await readFile(join(dataDir, 'redis.pid'), 'utf8'), 10);
    process.kill(pid, 'SIGKILL');
  };
  const killRedis = async () => {
    // What it has answered on a stuck disk goes with it: see "Limits" in docs/guarantees.md.
    await writeBeforeAnswers(join(dataDir, 'redis.sock'));
    await end();
  };
  const plan = { ...KILLS, seed: 1, daemons: 1, dataDir, killRedis };
  try {
    return await runKillTest(plan);
  } finally {
    // Its last daemon has shut it down, unless something went wrong.
    await end().catch(() => undefined);
    await rm(dataDir, { recursive: true, force: true });
  }
}

/** Has a Redis write all that it has answered, and from then on before it answers, until it is started again. */
async function writeBeforeAnswers(socket: string): Promise<void> {
  const redis = new Redis(socket);
  await redis.config('SET', 'appendfsync', 'always');
  redis.disconnect();
}

async function playTogether(): Promise<KillOutcome> {
  const redis = await startPrivateRedis({ aof: true });
  const killRedis = async () => {
    await redis.kill();
    await sleep(REDIS_AWAY_MS);
    await redis.restart();
  };
  const dataDir = await tempDir();
  const plan = { ...KILLS, seed: 2, daemons: 2, redisUrl: redis.url, dataDir, killRedis };
  try {
    return await runKillTest(plan);
  } finally {
    await redis.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
}

describe.each(scenarios)('after $name were killed again and again', ({ name, daemons }) => {
  const outcome = (): KillOutcome => {
    const found = outcomes.get(name);
    if (found === undefined) throw new Error('the kill test did not end');
    return found;
  };

  test('every run has one event for its end', () => {
    const { runs, events } = outcome();
    const ends = ofType(events, 'run.completed', 'run.failed', 'run.stopped');
    expect(pairs(ends.map(({ type, data }) => [data.run_id, type]))).toEqual(
      pairs(runs.map(({ id, end }) => [id, end])),
    );
  });

  test('every long wait for a human has one event, and no short one has two', () => {
    const { runs, events } = outcome();
    const waits = byRun(ofType(events, AWAITING));
    for (const { id, waits: lasting } of runs) {
      const own = waits.get(id) ?? [];
      if (lasting > 0) expect([id, own.length]).toEqual([id, lasting]);
      else expect([id, repeated(own.map(({ data }) => data.run?.progress))]).toEqual([id, []]);
    }
  });

  test('every event has arrived with a valid signature, and no other webhook has', () => {
    const { events, accepted, superseded, forged } = outcome();
    const due = events.filter(({ id }) => !superseded.has(id));
    const arrived = accepted.filter(({ id }) => !superseded.has(String(id)));
    expect(new Set(arrived.map(({ id }) => id))).toEqual(new Set(due.map(({ id }) => id)));
    expect(forged).toBe(0);
  });

  test('only waits that ended before their delivery are superseded', () => {
    const { events, superseded } = outcome();
    const old = events.filter(({ id }) => superseded.has(id));
    expect(new Set(old.map(({ type }) => type)).size).toBeLessThanOrEqual(1);
    for (const { type, data } of old) {
      expect(type).toBe(AWAITING);
      const later = events.filter((one) => one.data.run_id === data.run_id);
      expect(later.some((one) => one.data.sequence > data.sequence)).toBe(true);
    }
  });

  test('one change has one id, and one id one body', () => {
    const sent = outcome().accepted.map(eventOf);
    const changeOf = ({ type, data }: RunwatchEvent) => `${data.run_id} ${data.sequence} ${type}`;
    expect(new Set(sent.map(changeOf)).size).toBe(new Set(sent.map(({ id }) => id)).size);
    const places = new Set(sent.map(({ data }) => `${data.run_id} ${data.sequence}`));
    expect(places.size).toBe(new Set(sent.map(({ id }) => id)).size);
    const bodies = groupBy(outcome().accepted, ({ id }) => id);
    const different = [...bodies.values()].map((all) => new Set(all.map(({ body }) => body)));
    expect(different.filter(({ size }) => size > 1)).toEqual([]);
  });

  test('the events of each run arrived in order and without a gap, apart from repeats', () => {
    const { accepted, events: all, superseded } = outcome();
    const seen = new Set<string>();
    const isDue = (id: string | null) => id !== null && !superseded.has(id);
    const firsts = accepted.map(eventOf).filter(({ id }) => !seen.has(id) && seen.add(id));
    for (const events of byRun(firsts).values()) {
      const [first] = events;
      const due = all.filter(({ id, data }) => data.run_id === first?.data.run_id && isDue(id));
      expect(events.filter(({ id }) => isDue(id)).map(({ id }) => id)).toEqual(
        due.map(({ id }) => id),
      );
    }
  });

  test('repeated webhooks do not exceed the attempts in flight at the kills', () => {
    const { accepted } = outcome();
    const interrupted = KILLS.kills + KILLS.redisAfter.length * daemons;
    const different = new Set(accepted.map(({ id }) => id)).size;
    expect(accepted.length - different).toBeLessThanOrEqual(interrupted * PER_ENDPOINT);
  });

  test('watches were packed during the kills', () => {
    expect(outcome().packed).toBeGreaterThan(0);
  });

  test('no run had more than one request in flight, or two during a takeover', () => {
    expect(outcome().maxInFlightPerRun).toBeLessThanOrEqual(2);
  });

  test('every watch has ended, the delivery counters add up, and no work remains', () => {
    const { runs, finished, planned, byState, leftovers, events } = outcome();
    expect(finished).toBe(runs.length);
    expect(planned).toBe(events.length);
    expect(byState).toMatchObject({ pending: 0, parked: 0, dead: 0, skipped: 0 });
    expect(byState['delivered']! + byState['superseded']!).toBe(planned);
    expect(leftovers).toEqual([]);
  });
});

function ofType(events: RunwatchEvent[], ...types: string[]): RunwatchEvent[] {
  return events.filter(({ type }) => types.includes(type));
}

function byRun(events: RunwatchEvent[]): Map<string, RunwatchEvent[]> {
  const groups = new Map<string, RunwatchEvent[]>();
  for (const event of events) {
    const { run_id: id } = event.data;
    groups.set(id, [...(groups.get(id) ?? []), event]);
  }
  return groups;
}

function pairs(entries: string[][]): string[] {
  return entries.map((entry) => entry.join(' ')).sort();
}

function repeated<Value>(values: Value[]): Value[] {
  return values.filter((value, at) => values.indexOf(value) !== at);
}
