import { afterAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  REQUEST_KINDS,
  SURE_OF_ONE_IN,
  type RequestKind,
} from '../../src/core/source/request-order.ts';
import { pageMember, streamMember } from '../../src/core/feed/page-name.ts';
import { newWatch } from '../support/builders.ts';
import { openStores } from '../support/stores.ts';

const stores = openStores(undefined, { isClockManual: true });
const { redis, keys, requests, watches } = stores;
afterAll(() => stores.close());

/** What is asked for: everything but the plan, which takes no permit. */
const KINDS = REQUEST_KINDS.filter((kind) => kind !== 'plan');

/** Each kind gets one claim in ten, and those that are owed one at the same time take turns. */
const BOUND = SURE_OF_ONE_IN + KINDS.length;

const LIMIT = { requests: 1_000_000, perMs: 1_000 };

let names = 0;

/** The schedule of a source of its own, on a clock that the test moves. */
function scheduleOf() {
  const source = `source-${(names += 1)}`;
  let now = 1_000_000;
  const tick = async () => {
    now += 1;
    await redis.set(keys.clock, now);
  };
  /** Something that is due now, of a kind. @returns its name */
  async function enter(kind: RequestKind): Promise<string> {
    const name = `member-${(names += 1)}`;
    if (kind === 'list' || kind === 'stream') {
      const member =
        kind === 'list' ? pageMember({ workflowId: name, page: 1 }) : streamMember(name);
      await requests.enterWithin(source, kind, [{ member, withinMs: 0 }]);
      return member;
    }
    await watches.commitMany([
      {
        before: null,
        after: newWatch({ source, runId: name, timeoutAt: Infinity }),
        events: [],
        deliveries: [],
        schedule: { does: 'enter', withinMs: 0, kind },
      },
    ]);
    return name;
  }
  async function claim(): Promise<{ member: string; kind: RequestKind }> {
    const { claimed } = await requests.claim(source, {
      token: `process.${(names += 1)}`,
      most: 1,
      limit: LIMIT,
      leaseMs: 1_000,
      roundMs: 60_000,
    });
    const [one] = claimed;
    if (one === undefined) throw new Error('nothing was claimed');
    return { member: one.member, kind: one.kind };
  }
  return { source, tick, enter, claim };
}

describe('shares of the rate limit', () => {
  test('whatever hints, pages and streams come, no read waits for more than its share of the claims', async () => {
    // More than can be claimed of every kind but that of the read, in any order and mixture.
    const flood = fc.array(fc.constantFrom(...KINDS), { minLength: 1, maxLength: 3 });
    const floods = fc.array(flood, { minLength: 40, maxLength: 60 });
    const victim = fc.record({
      kind: fc.constantFrom<RequestKind>('first', 'watch', 'frugal'),
      ahead: fc.integer({ min: 0, max: 2 }),
      at: fc.integer({ min: 0, max: 10 }),
    });
    await fc.assert(
      fc.asyncProperty(floods, victim, async (waves, { kind, ahead, at }) => {
        const { tick, enter, claim } = scheduleOf();
        let [waiting, waited]: [string | null, number] = [null, 0];
        for (const [turn, wave] of waves.entries()) {
          await tick();
          for (const one of wave) if (one !== kind) await enter(one);
          if (turn === at) {
            for (let other = 0; other < ahead; other += 1) await enter(kind);
            await tick();
            waiting = await enter(kind);
          }
          await enter('prompt');
          const { member } = await claim();
          if (waiting === null) continue;
          waited += 1;
          expect(waited).toBeLessThanOrEqual(BOUND * (ahead + 1));
          if (member === waiting) return;
        }
      }),
      { numRuns: 25 },
    );
  });

  test('confirming polls are claimed before first reads, then pages, then polls by cadence', async () => {
    const { tick, enter, claim } = scheduleOf();
    const order: RequestKind[] = ['prompt', 'first', 'list', 'watch'];
    for (const kind of order.toReversed()) {
      await tick();
      await enter(kind);
    }
    const claimed: RequestKind[] = [];
    for (const _ of order) claimed.push((await claim()).kind);
    expect(claimed).toEqual(order);
  });

  test('of confirming polls, one claim in four takes the newest hint and the others the longest overdue', async () => {
    const { tick, enter, claim } = scheduleOf();
    const waiting: string[] = [];
    for (let hint = 0; hint < 24; hint += 1) {
      await tick();
      waiting.push(await enter('prompt'));
      if (hint % 3 === 0) await enter('watch');
    }
    const [newest, longest] = [[] as number[], [] as number[]];
    for (let turn = 1; waiting.length > 1; turn += 1) {
      const { member, kind } = await claim();
      if (kind !== 'prompt') continue;
      if (member === waiting.at(-1)) newest.push(turn);
      else if (member === waiting[0]) longest.push(turn);
      waiting.splice(waiting.indexOf(member), 1);
    }
    expect({ newest: newest.length, longest: longest.length }).toEqual({ newest: 5, longest: 18 });
    const between = newest.slice(1).map((turn, at) => turn - (newest[at] ?? 0));
    expect(Math.max(...between)).toBeLessThanOrEqual(5);
  });

  test('whatever is overdue, new runs are read within three claims for each of them', async () => {
    const { tick, enter, claim } = scheduleOf();
    const [news, claims] = [30, 90];
    await tick();
    // Confirming polls go before first reads.
    for (const kind of KINDS.filter((one) => one !== 'prompt')) {
      for (let one = 0; one < claims; one += 1) await enter(kind);
    }
    await tick();
    const waiting = new Set<string>();
    for (let one = 0; one < news; one += 1) waiting.add(await enter('first'));
    await tick();
    let longestDue = 0;
    for (let turn = 0; turn < claims; turn += 1) {
      const { member, kind } = await claim();
      if (!waiting.delete(member) && kind === 'first' && waiting.size > 0) longestDue += 1;
    }
    expect(waiting.size).toBe(0);
    // Those that wait for longest go on meanwhile.
    expect(longestDue).toBeGreaterThanOrEqual(news / 2 - 1);
  });

  test('a run that hints expedite again and again keeps its place among what is due', async () => {
    const { source, tick, enter, claim } = scheduleOf();
    await tick();
    const first = await enter('watch');
    await tick();
    await enter('watch');
    for (let hint = 0; hint < 5; hint += 1) {
      await tick();
      await requests.expedite(source, [first]);
    }
    expect((await claim()).member).toBe(first);
  });
});
