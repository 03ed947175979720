import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  BIN_EDGES_S,
  binOf,
  DECAY,
  emptyStatistics,
  hazard,
  learn,
  quantile,
  type StatisticsLookup,
} from '../../src/core/cadence/hazard.ts';
import type { DurationSample } from '../../src/core/cadence/phase.ts';

const dwell = (fromS: number, toS: number, ended = true): DurationSample => ({
  source: 'default',
  workflowId: 'workflow-1',
  state: null,
  fromS,
  toS,
  ended,
});

function learned(samples: DurationSample[]) {
  return samples.reduce(learn, emptyStatistics());
}

const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);

describe('bins of age', () => {
  test('age bins begin at 0.5 s and cover a day', () => {
    expect(BIN_EDGES_S).toHaveLength(55);
    expect(BIN_EDGES_S.slice(0, 3)).toEqual([0.5, 0.625, 0.78125]);
    expect(BIN_EDGES_S.at(-1)).toBeGreaterThan(80_000);
  });

  test('an age on an edge belongs to the bin after it', () => {
    expect([0, 0.49, 0.5, 0.62, 0.625, 1e9].map(binOf)).toEqual([0, 0, 1, 1, 2, 55]);
  });
});

describe('a duration sample', () => {
  test('a duration sample adds one ending and all its watched time, at any age', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 2e5, noNaN: true }),
        fc.nat(200_000),
        (fromS, lastsS) => {
          const { endings, secondsAtRisk, runs } = learned([dwell(fromS, fromS + lastsS)]);
          expect(sum(endings)).toBe(1);
          expect(sum(secondsAtRisk)).toBeCloseTo(lastsS, 4);
          expect(runs).toBe(1);
        },
      ),
    );
  });

  test('a duration sample adds nothing at ages that were not watched', () => {
    const { secondsAtRisk } = learned([dwell(10, 20)]);
    expect(sum(secondsAtRisk.slice(0, binOf(10)))).toBe(0);
  });

  test('a censored duration sample adds time without an ending, and decays nothing', () => {
    const { endings, secondsAtRisk, runs } = learned([dwell(0, 5), dwell(0, 20, false)]);
    expect(sum(endings)).toBe(1);
    expect(sum(secondsAtRisk)).toBeCloseTo(25);
    expect(runs).toBe(1);
  });

  test('a duration sample decays by half a per cent with each further ending', () => {
    const { endings } = learned([dwell(0, 5), dwell(0, 50)]);
    expect(endings[binOf(5)]).toBe(DECAY);
    expect(endings[binOf(50)]).toBe(1);
  });
});

describe('the hazard', () => {
  test('the hazard without statistics is the prior', () => {
    expect(hazard(undefined, 5, 0.2)).toBe(0.2);
    expect(hazard(emptyStatistics(), 5, 0.2)).toBeCloseTo(0.2);
  });

  test('the hazard finds the rate of endings from samples that began late', () => {
    // Of 100 runs, each watched from 10 s on, half end at 11 s: one ending per 1.5 s of watched
    // time.
    const statistics = learned(
      Array.from({ length: 400 }, (_, at) => dwell(10, at % 2 === 0 ? 11 : 11.6, at % 2 === 0)),
    );
    expect(hazard(statistics, 11, 1)).toBeGreaterThan(0.3);
    expect(hazard(statistics, 11, 1)).toBeLessThan(0.45);
  });

  test('the hazard falls far below the prior at ages that all runs survive', () => {
    const statistics = learned(Array.from({ length: 100 }, () => dwell(0, 60)));
    expect(hazard(statistics, 30, 1 / 30)).toBeLessThan(0.005);
    expect(hazard(statistics, 60, 1 / 60)).toBeGreaterThan(0.05);
  });
});

describe('a quantile', () => {
  test('a quantile is unknown until five endings were seen', () => {
    expect(quantile(learned(Array.from({ length: 4 }, () => dwell(0, 60))), 0.5)).toBeNull();
    expect(quantile(learned(Array.from({ length: 5 }, () => dwell(0, 60))), 0.5)).not.toBeNull();
  });

  test('a quantile is unknown where fewer than that share were seen to end', () => {
    const left = Array.from({ length: 90 }, () => dwell(0, 60, false));
    const ended = Array.from({ length: 10 }, () => dwell(0, 30));
    expect(quantile(learned([...left, ...ended]), 0.99)).toBeNull();
  });

  test('each quantile of equal durations is within a quarter of that duration', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.5, max: 5e4, noNaN: true }),
        fc.double({ min: 0.01, max: 0.99, noNaN: true }),
        (lastsS, share) => {
          const statistics = learned(Array.from({ length: 8 }, () => dwell(0, lastsS)));
          const age = quantile(statistics, share) ?? NaN;
          expect(age / lastsS).toBeGreaterThanOrEqual(1 / 1.25);
          expect(age / lastsS).toBeLessThanOrEqual(1.25);
        },
      ),
    );
  });

  test('a quantile lies in the bin in which the share is reached, and grows with the share', () => {
    const statistics = learned(Array.from({ length: 100 }, (_, at) => dwell(0, at + 1)));
    const [half = 0, most = 0] = [0.5, 0.9].map((share) => quantile(statistics, share) ?? 0);
    expect(half).toBeGreaterThan(40);
    expect(half).toBeLessThan(65);
    expect(most).toBeGreaterThan(75);
    expect(most).toBeLessThan(110);
  });
});

test('a statistics lookup finds states by source, workflow and name', () => {
  const lookup: StatisticsLookup = (source, workflow, state) =>
    source === 'default' && workflow === 'workflow-1' && state === null
      ? emptyStatistics()
      : undefined;
  expect(lookup('default', 'workflow-1', null)).toBeDefined();
  expect(lookup('default', 'workflow-1', 'running/30')).toBeUndefined();
});
