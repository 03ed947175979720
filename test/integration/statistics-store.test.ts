import { afterAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { isoTime } from '../../src/core/event/event.ts';
import {
  DECAY,
  emptyStatistics,
  learn,
  type Statistics,
  type WorkflowStatistics,
} from '../../src/core/cadence/hazard.ts';
import type { DurationSample } from '../../src/core/cadence/phase.ts';
import { observe } from '../../src/core/watch/observe.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import type { WatchChange } from '../../src/redis/watch-change.ts';
import { MOST_WORKFLOWS, TABLE_LIMITS } from '../../src/redis/stores/statistics-store.ts';
import { observeContext, newWatch, NOON, snapshot } from '../support/builders.ts';
import { anEvent } from '../support/fake-services.ts';
import { openStores } from '../support/stores.ts';

const { redis, keys, watches, events, statistics: store, keysLeft, close } = openStores();
afterAll(close);

let count = 0;
const fresh = (what: string) => `${what}-${(count += 1)}`;

const sampleOf = (changes: Partial<DurationSample> = {}): DurationSample => ({
  source: 'default',
  workflowId: 'workflow-1',
  state: 'running/0',
  fromS: 0,
  toS: 10,
  ended: true,
  ...changes,
});

/** A change of a watch with these samples. */
function changeWith(samples: DurationSample[]): WatchChange {
  const after = newWatch({ runId: fresh('run') });
  return { before: null, after, events: [], deliveries: [], samples };
}

async function read(workflowId: string, source = 'default') {
  const [found] = await store.read([{ source, workflowId, version: null }], { isUse: true });
  if (found === 'unchanged') throw new Error('a reader without a version has nothing');
  return found ?? null;
}

const anySample = fc.record({
  state: fc.constantFrom(null, 'queued/0', 'running/0', 'running/90'),
  fromS: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 2e5, noNaN: true })),
  lastsS: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 2e5, noNaN: true })),
  ended: fc.boolean(),
});

describe('what is learned', () => {
  test('stored statistics are to the last bit what the core makes of the same samples', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anySample, { minLength: 1, maxLength: 12 }), async (drawn) => {
        const workflowId = fresh('workflow');
        const samples = drawn.map(({ lastsS, ...rest }) =>
          sampleOf({ ...rest, workflowId, toS: rest.fromS + lastsS }),
        );
        const half = Math.ceil(samples.length / 2);
        await watches.commitMany([
          changeWith(samples.slice(0, half)),
          changeWith(samples.slice(half)),
        ]);

        const expected = new Map<string | null, Statistics>();
        for (const one of samples) {
          expected.set(one.state, learn(expected.get(one.state) ?? emptyStatistics(), one));
        }
        expect((await read(workflowId))?.states).toEqual(expected);
      }),
      { numRuns: 40 },
    );
  });

  test('a write that lost a race adds no samples', async () => {
    const workflowId = fresh('workflow');
    const change = changeWith([sampleOf({ workflowId })]);
    expect(await watches.commitMany([change, change])).toEqual([[], null]);
    expect((await read(workflowId))?.states.get('running/0')?.runs).toBe(1);
  });

  test('a poll without a change writes the watch alone', async () => {
    const workflowId = fresh('workflow');
    const watch = newWatch({ runId: fresh('run') });
    await watches.commit({ before: null, after: watch, events: [], deliveries: [] });
    const look = async (at: number) => {
      const before = (await watches.get(watch))!;
      const run = snapshot({ id: watch.runId, workflow_id: workflowId, observed_at: isoTime(at) });
      const seen = observe(before.watch, { kind: 'run', run }, observeContext(at));
      await watches.commit({ before, after: seen.watch, deliveries: [], ...seen });
    };
    await look(NOON);
    const left = await keysLeft();
    const clock = await redis.get(keys.workflowClock);
    await look(NOON + 2_000);
    expect((await watches.get(watch))?.watch.polls).toBe(2);
    expect(await keysLeft()).toEqual(left);
    expect(await redis.get(keys.workflowClock)).toBe(clock);
    expect(await read(workflowId)).toBeNull();
  });

  test('statistics of two sources are separate', async () => {
    const workflowId = fresh('workflow');
    await watches.commit(changeWith([sampleOf({ workflowId, source: 'one' })]));
    await watches.commit(changeWith([sampleOf({ workflowId, source: 'two', state: 'queued/0' })]));
    expect([...((await read(workflowId, 'one'))?.states.keys() ?? [])]).toEqual(['running/0']);
    expect([...((await read(workflowId, 'two'))?.states.keys() ?? [])]).toEqual(['queued/0']);
    expect(await read(workflowId, 'three')).toBeNull();
  });
});

describe('the end of a watch', () => {
  test('the end of a watch adds how long the run lasted, and the requests and delay to see its end', async () => {
    const workflowId = fresh('workflow');
    for (const [requests, delayMs] of [
      [4, 1_000],
      [8, 3_000],
    ] as const) {
      const watch = newWatch({
        runId: fresh('run'),
        polls: requests,
        run: snapshot({ workflow_id: workflowId }),
      });
      await watches.commit({ before: null, after: watch, events: [], deliveries: [] });
      const after: Watch = {
        ...watch,
        state: 'finished',
        run: snapshot({
          workflow_id: workflowId,
          status: 'completed',
          finished_at: isoTime(NOON + 60_000),
        }),
        endedAt: NOON + 60_000 + delayMs,
      };
      const before = await watches.get(watch);
      await watches.commit({ before, after, events: [], deliveries: [] });
    }
    const known = await read(workflowId);
    const run = { fromS: 0, toS: 60, ended: true };
    expect(known?.durations).toEqual(learn(learn(emptyStatistics(), run), run));
    expect(known?.polled).toEqual({
      runs: DECAY + 1,
      requests: 4 * DECAY + 8,
      delayS: 1 * DECAY + 3,
    });
    expect(known?.states.size).toBe(0);
  });
});

describe('a reader', () => {
  test('a reader of statistics gets only what is newer than what it has', async () => {
    const workflowId = fresh('workflow');
    const ask = (version: number | null) =>
      store.read([{ source: 'default', workflowId, version }], { isUse: true });
    expect(await ask(null)).toEqual([null]);
    await watches.commit(changeWith([sampleOf({ workflowId })]));
    const [known] = await ask(null);
    if (known === 'unchanged' || !known) throw new Error('nothing was learned');
    expect(known).toMatchObject({ workflowId, source: 'default' });
    expect(await ask(known.version)).toEqual(['unchanged']);
    await watches.commit(changeWith([sampleOf({ workflowId })]));
    expect(await ask(known.version)).toMatchObject([{ version: known.version + 1 }]);
  });

  test('a reader gets statistics of a workflow that was forgotten and begun anew', async () => {
    const workflowId = fresh('workflow');
    await watches.commit(changeWith([sampleOf({ workflowId })]));
    const known = await read(workflowId);
    await redis.del(keys.statistics(`default/${workflowId}`));
    await redis.decr(keys.tablesKnown);
    await watches.commit(changeWith([sampleOf({ workflowId, state: 'queued/0' })]));
    const asked = { source: 'default', workflowId, version: known!.version };
    const [anew] = await store.read([asked], { isUse: true });
    expect([...((anew as WorkflowStatistics).states.keys() ?? [])]).toEqual(['queued/0']);
  });

  test('workflows are listed page by page, the newest first, by source too', async () => {
    const source = fresh('listed');
    const made: string[] = [];
    for (let at = 0; at < 5; at += 1) {
      const workflowId = fresh('workflow');
      await watches.commit(changeWith([sampleOf({ workflowId, source })]));
      await watches.commit(changeWith([sampleOf({ workflowId })]));
      made.unshift(workflowId);
    }
    const pages = async (filter: { source?: string }) => {
      const found: string[] = [];
      let cursor: string | undefined;
      do {
        const page = await store.list(filter, { limit: 2, cursor });
        found.push(...page.items.map(({ workflowId }) => workflowId));
        cursor = page.nextCursor ?? undefined;
      } while (cursor !== undefined);
      return found;
    };
    expect(await pages({ source })).toEqual(made);
    expect((await pages({})).slice(0, 10)).toEqual(made.flatMap((id) => [id, id]));
    expect(await pages({ source: 'nowhere' })).toEqual([]);
  });
});

describe('what is kept', () => {
  test('a workflow keeps at most a hundred tables, which go on learning', async () => {
    const workflowId = fresh('workflow');
    const states = Array.from({ length: TABLE_LIMITS.ofOne + 5 }, (_, at) => `odd-${at}/0`);
    await watches.commit(changeWith(states.map((state) => sampleOf({ workflowId, state }))));
    await watches.commit(changeWith(states.map((state) => sampleOf({ workflowId, state }))));
    const known = (await read(workflowId))?.states;
    expect(known?.size).toBe(TABLE_LIMITS.ofOne);
    expect(known?.get('odd-99/0')?.runs).toBe(2);
  });

  test('a bounded number of workflows without known states is kept', async () => {
    const old = Array.from({ length: MOST_WORKFLOWS + 20 }, (_, at) => `default/old-${at}`);
    await redis.zadd(keys.workflowsUsed, ...old.flatMap((name) => ['0', name]));
    const oldest = (await redis.zrange(keys.workflowsUsed, 0, '0'))[0] ?? '';
    await redis.hset(keys.statistics(oldest), 'version', '1');
    const all = { state: null };
    for (let at = 0; at < 20; at += 1) {
      await watches.commit(changeWith([sampleOf({ workflowId: fresh('workflow'), ...all })]));
    }
    expect(await redis.zcard(keys.workflowsUsed)).toBe(MOST_WORKFLOWS);
    expect(await redis.exists(keys.statistics(oldest))).toBe(0);
    await redis.zremrangebyscore(keys.workflowsUsed, 0, 0);
  });

  test('the two workflows of 10,000 states that were used last are kept, in less than half of 64 MiB', async () => {
    const perWorkflow = 40;
    const workflowIds = Array.from({ length: TABLE_LIMITS.ofAll / perWorkflow + 10 }, () =>
      fresh('crowd'),
    );
    const statesOf = (workflowId: string) => [
      sampleOf({ workflowId, state: null, toS: 5 }),
      ...Array.from({ length: perWorkflow }, (_, at) =>
        sampleOf({ workflowId, state: `running/${at}`, toS: 1 + at / 10 }),
      ),
    ];
    const [favourite = '', ...others] = workflowIds;
    await watches.commit(changeWith(statesOf(favourite)));
    for (let from = 0; from < others.length; from += 20) {
      await watches.commitMany(
        others.slice(from, from + 20).map((workflowId) => changeWith(statesOf(workflowId))),
      );
      // Being read is being used.
      expect(await read(favourite)).not.toBeNull();
    }
    expect(await store.countTables()).toBe(TABLE_LIMITS.ofAll);
    expect(await read(others[0] ?? '')).toBeNull();
    expect(await read(others.at(-1) ?? '')).not.toBeNull();

    const kept = await store.lastUsed(1_000);
    expect(kept).toHaveLength(TABLE_LIMITS.ofAll / perWorkflow);
    expect((await store.list({ source: 'default' }, { limit: 1_000 })).items).toHaveLength(500);
    const all = (await keysLeft()).filter((key) => /:(statistics|workflow|tables)/.test(key));
    expect(all.filter((key) => key.includes(':statistics:'))).toHaveLength(kept.length);
    const sizes = await Promise.all(all.map((key) => redis.memory('USAGE', key, 'SAMPLES', 0)));
    const bytes = sizes.reduce<number>((sum, size) => sum + Number(size), 0);
    expect(bytes).toBeLessThan(32 * 1_048_576);
  });
});

describe('what was learned and cannot be added to', () => {
  test.each([
    ['a table is cut', (key: string) => redis.hset(key, 'state running/0', 'short')],
    ['the place is taken by something else', (key: string) => redis.set(key, 'a string')],
  ])('begins anew, and keeps back no change: %s', async (_what, spoil) => {
    const workflowId = fresh('workflow');
    const change = changeWith([sampleOf({ workflowId })]);
    await watches.commit(change);
    await spoil(keys.statistics(`default/${workflowId}`));
    const event = anEvent(1, { id: fresh('evt') });
    expect(
      await watches.commit({ ...changeWith([sampleOf({ workflowId })]), events: [event] }),
    ).toEqual([]);
    expect(await events.body(event.id)).toBe(JSON.stringify(event));
    expect(await read(workflowId)).toBeNull();
    await watches.commit(changeWith([sampleOf({ workflowId })]));
    expect((await read(workflowId))?.states.get('running/0')?.runs).toBe(1);
  });
});
