import { expect, test } from '@jest/globals';
import { RunwatchError } from '../../src/core/errors.ts';
import type { Polled } from '../../src/poll/observe-run.ts';
import { createPerform } from '../../src/poll/perform.ts';
import type { RequestClaim } from '../../src/poll/schedule.ts';
import { newWatch } from '../support/builders.ts';

/** What became of a claim whose poll comes to this. */
async function endOf(
  poll: () => Promise<Polled>,
  { isStale = false, isLate = false, failedProbes = null as number | null } = {},
): Promise<{ ends: unknown[]; errors: unknown[]; dropped: string[] }> {
  const ends: unknown[] = [];
  const dropped: string[] = [];
  const errors: unknown[] = [];
  const perform = createPerform({
    schedule: {
      release: async (_, until) => void ends.push(until),
      handBack: async () => void ends.push('handed back'),
      settled: (_, nextMs) => void ends.push({ nextMs }),
    },
    budget: {
      isLate: () => isLate,
      settleMs: () => null,
      arrivalOf: () => ({ sent: () => undefined, over: () => undefined }),
      claimed: () => ({ settle: () => undefined, giveBack: () => undefined }),
    },
    source: {
      saw: () => undefined,
      probeList: async () => undefined,
      dropProbe: async (request) => void dropped.push(request),
    },
    observeRun: poll,
    lookAtList: async () => null,
    onError: (error) => errors.push(error),
    now: () => 0,
  });
  const stored = { watch: newWatch(), version: 1 };
  const claim = { kind: 'watch', token: 'this', stored, failedProbes, isStale: () => isStale };
  await perform(claim as unknown as RequestClaim);
  return { ends, errors, dropped };
}

const never = () => Promise.reject(new Error('nothing is to be read'));

test('a claim ends by the write of its poll, which has said when it is due next', async () => {
  const { ends } = await endOf(async () => ({ is: 'written', nextMs: 5 }));
  expect(ends).toEqual([{ nextMs: 5 }]);
});

test('a claim that is too old, or whose permit is, sends nothing and is given back', async () => {
  expect((await endOf(never, { isStale: true })).ends).toEqual(['as before']);
  expect((await endOf(never, { isLate: true })).ends).toEqual(['as before']);
});

test('a poll that throws is tried again after five seconds, and told of', async () => {
  const { ends, errors } = await endOf(never);
  expect(ends).toEqual([{ inMs: 5_000 }]);
  expect(errors).toHaveLength(1);
});

test('a read that is given up because the process stops is handed back at once', async () => {
  const stopped = new RunwatchError('given up', { code: 'aborted' });
  const { ends, errors } = await endOf(() => Promise.reject(stopped));
  expect(ends).toEqual(['handed back']);
  expect(errors).toEqual([]);
});

test.each<[string, () => Promise<Polled>, object]>([
  ['is answered', async () => ({ is: 'written', nextMs: 5 }), {}],
  ['throws', never, {}],
  ['is not made', never, { isStale: true }],
])('a probe that %s is let go of, a poll that is none holds none', async (_, poll, how) => {
  expect((await endOf(poll, { ...how, failedProbes: 0 })).dropped).toEqual(['this']);
  expect((await endOf(poll, how)).dropped).toEqual([]);
});
