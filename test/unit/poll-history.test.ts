import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  NO_POLLS,
  MOST_POLLS,
  POLL_MODES,
  POLL_OUTCOMES,
  recentPolls,
  recordPoll,
  SLOT,
  type RecentPoll,
} from '../../src/core/watch/poll-history.ts';
import { NOON } from '../support/builders.ts';

const YEAR_MS = 365 * 86_400_000;

const poll: fc.Arbitrary<RecentPoll> = fc.record({
  at: fc.nat(YEAR_MS).map((ms) => NOON + ms),
  mode: fc.constantFrom(...POLL_MODES),
  outcome: fc.constantFrom(...POLL_OUTCOMES),
  durationMs: fc.nat(65_000),
  lagMs: fc.nat(4 * 3_600_000),
});

test('a poll history gives back the last 60 polls, oldest first, in 60 slots at the most', () => {
  fc.assert(
    fc.property(fc.array(poll, { maxLength: 150 }), (polls) => {
      const history = polls.reduce((before, one) => recordPoll(before, one, NOON), NO_POLLS);
      expect(recentPolls(history, NOON)).toEqual(polls.slice(-MOST_POLLS));
      expect(history.text).toHaveLength(Math.min(polls.length, MOST_POLLS) * SLOT);
    }),
  );
});

test('a poll history stores a time or length beyond its slot as the nearest that fits', () => {
  const odd = { at: NOON - 5, mode: 'list', outcome: 'run', durationMs: 1e9, lagMs: 1e9 } as const;
  const [kept] = recentPolls(recordPoll(NO_POLLS, odd, NOON), NOON);
  expect(kept).toEqual({ ...odd, at: NOON, durationMs: 64 ** 3 - 1, lagMs: 64 ** 4 - 1 });
});
