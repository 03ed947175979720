import { expect, test } from '@jest/globals';
import { pino } from 'pino';
import { RunwatchError } from '../../src/core/errors.ts';
import type { Polled } from '../../src/source/observer.ts';
import { Performer } from '../../src/source/slots.ts';
import type { RequestClaim } from '../../src/source/schedule.ts';
import { newWatch } from '../support/builders.ts';
import { testProcess, testSource } from '../support/daemon.ts';

/** How a claim ends for this poll result. */
async function endOf(
  poll: () => Promise<Polled>,
  { kind = 'watch', isStale = false, isLate = false, failedProbes = null as number | null } = {},
): Promise<{ ends: unknown[]; errors: unknown[]; exhausted: unknown[]; dropped: string[] }> {
  const ends: unknown[] = [];
  const dropped: string[] = [];
  const errors: unknown[] = [];
  const exhausted: unknown[] = [];
  const log = pino({}, { write: (line: string) => void errors.push(line) });
  const sources = {
    probeLease: () => ({ end: async (request: string) => void dropped.push(request) }),
  };
  const process = testProcess({
    log,
    stores: { sources: sources as never },
    hostShortages: { note: (error) => void exhausted.push(error) },
  });
  const performer = new Performer(
    testSource({
      process,
      schedule: {
        release: async (_, until) => void ends.push(until),
        handBack: async () => void ends.push('handed back'),
        settled: (_, nextMs) => void ends.push({ nextMs }),
      },
      limiter: {
        covers: () => !isLate,
        settleMs: () => null,
        arrivalOf: () => ({ sent: () => undefined, over: () => undefined }),
        secondOf: () => ({ use: () => undefined, end: () => undefined }),
        claimed: () => ({
          settle: () => undefined,
          giveBack: () => void ends.push('permit given back'),
        }),
      },
      observer: { observe: poll },
      lists: { readPage: async () => void (await poll()) },
    }),
  );
  const stored = { watch: newWatch(), version: 1 };
  const claim = { kind, token: 'this', stored, failedProbes, isStale: () => isStale };
  await performer.perform(claim as unknown as RequestClaim);
  return { ends, errors, exhausted, dropped };
}

const never = () => Promise.reject(new Error('nothing is to be read'));

test('a claim ends with the write of its poll, which sets the next due time', async () => {
  const { ends } = await endOf(async () => ({ is: 'written', nextMs: 5 }));
  expect(ends).toEqual([{ nextMs: 5 }]);
});

test('a claim that is too old, or has an old permit, sends no request, and leaves its permit to others', async () => {
  const ends = ['permit given back', 'as before'];
  expect((await endOf(never, { isStale: true })).ends).toEqual(ends);
  expect((await endOf(never, { isLate: true })).ends).toEqual(ends);
});

test('a poll that throws is repeated after five seconds, and logged', async () => {
  const { ends, errors } = await endOf(never);
  expect(ends).toEqual([{ inMs: 5_000 }]);
  expect(errors).toHaveLength(1);
});

test('a poll that this host can open no connection for waits a second, and its permit goes to others', async () => {
  const short = new RunwatchError('no connection', { code: 'host_exhausted', retriable: true });
  const { ends, errors, exhausted } = await endOf(() => Promise.reject(short));
  expect(ends).toEqual(['permit given back', { inMs: 1_000 }]);
  expect([errors, exhausted]).toEqual([[], [short]]);
});

test('a poll given up because the process stops is released at once', async () => {
  const stopped = new RunwatchError('given up', { code: 'aborted' });
  const { ends, errors } = await endOf(() => Promise.reject(stopped));
  expect(ends).toEqual(['handed back']);
  expect(errors).toEqual([]);
});

test.each<[string, () => Promise<Polled>, object]>([
  ['is answered', async () => ({ is: 'written', nextMs: 5 }), {}],
  ['throws', never, {}],
  ['is not made', never, { isStale: true }],
  ['is a page not worth a request', async () => ({ is: 'unwatched' }), { kind: 'list' }],
])('a probe that %s is released, and other polls hold none', async (_, poll, how) => {
  expect((await endOf(poll, { ...how, failedProbes: 0 })).dropped).toEqual(['this']);
  expect((await endOf(poll, how)).dropped).toEqual([]);
});
