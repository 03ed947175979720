import { describe, expect, test } from '@jest/globals';
import { expectedPolling } from '../../src/core/expected-polling.ts';
import { emptyStatistics, hazard, learn, type Statistics } from '../../src/core/hazard.ts';
import { seededRandom } from '../../src/simulator/seeded-random.ts';

const random = seededRandom(7);

/** A draw from a log-normal distribution. Source: Box and Muller, 1958. */
function logNormal(median: number, sigma: number): number {
  const angle = 2 * Math.PI * random();
  return median * Math.exp(sigma * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(angle));
}

function learned(durations: number[]): Statistics {
  return durations.reduce<Statistics>(
    (statistics, toS) => learn(statistics, { fromS: 0, toS, ended: true }),
    emptyStatistics(),
  );
}

/** Polls runs of these durations one by one, from their beginning to the look that sees their end. */
function replay(durations: number[], intervalAt: (ageS: number) => number) {
  let [requests, delayS] = [0, 0];
  for (const duration of durations) {
    let ageS = 0;
    requests += 1;
    while (ageS < duration) {
      ageS += intervalAt(ageS) * (0.9 + 0.2 * random());
      requests += 1;
    }
    delayS += ageS - duration;
  }
  return { requests: requests / durations.length, delayS: delayS / durations.length };
}

const draw = (count: number, one: () => number) => Array.from({ length: count }, one);

describe('what polling is expected to come to', () => {
  const kinds: [string, () => number][] = [
    ['runs of about 8 s', () => logNormal(8, 0.3)],
    [
      'runs of about 5 min, some of which fail early',
      () => (random() < 0.08 ? logNormal(4, 0.5) : logNormal(300, 0.4)),
    ],
    ['runs of two kinds', () => logNormal(random() < 0.5 ? 20 : 1_200, 0.2)],
    ['runs without a typical length', () => 10 * (1 - random()) ** (-1 / 1.2)],
  ];

  test.each(kinds)('is what a replay comes to, within a tenth: %s', (_what, one) => {
    const statistics = learned(draw(600, one));
    const intervalAt = (ageS: number) => {
      const density = Math.sqrt(hazard(statistics, ageS, 1 / Math.max(ageS, 0.5)) / (2 * 0.2));
      return Math.min(Math.max(1 / density, 0.5), Math.max(ageS, 0.5), 60);
    };
    const seen = replay(draw(4_000, one), intervalAt);
    const expected = expectedPolling(statistics, intervalAt);
    expect(Math.abs((expected?.requests ?? 0) / seen.requests - 1)).toBeLessThan(0.1);
    expect(Math.abs((expected?.delayS ?? 0) / seen.delayS - 1)).toBeLessThan(0.1);
  });

  test('is half an interval of delay where polls come evenly', () => {
    const statistics = learned(draw(600, () => 100 * random()));
    const expected = expectedPolling(statistics, () => 5);
    expect(expected?.delayS).toBeCloseTo(2.5, 0);
    expect(expected?.requests).toBeCloseTo(1 + 50 / 5 + 0.5, 0);
  });

  test('is unknown until a handful of runs have ended', () => {
    expect(expectedPolling(learned([8, 8, 8]), () => 1)).toBeNull();
    expect(expectedPolling(emptyStatistics(), () => 1)).toBeNull();
  });

  test('is reckoned in bounded time for polls that come too often for anyone', () => {
    const statistics = learned(draw(50, () => 86_400));
    expect(expectedPolling(statistics, () => 0.001)?.requests).toBe(5_001);
  });
});
