import { seededRandom, randomInteger } from '../../src/simulator/seeded-random.ts';
import { percentile } from './figures.ts';

const DRAWS = 1_000;

/** The share of draws that may lie below what counts as certain. */
const DOUBT = 0.025;

/** Two sides that were measured at once. */
type Sides<Sample> = readonly [readonly Sample[], readonly Sample[]];

/**
 * How much of the difference of two sides may be chance: the distance from the difference down to what it is at
 * least, in 39 of 40 draws. Each draw takes as many samples of either side, with replacement (bootstrap, Efron 1979);
 * what hangs together has to be one sample. 0 where the difference is not finite.
 */
export function chanceIn<Sample>(
  sides: Sides<Sample>,
  difference: (sides: Sides<Sample>) => number,
): number {
  const measured = difference(sides);
  if (!Number.isFinite(measured)) return 0;
  const random = seededRandom(1);
  const drawn = (side: readonly Sample[]) =>
    side.map(() => side[randomInteger(random, 0, side.length - 1)] as Sample);
  const [first, second] = sides;
  const all = Array.from({ length: DRAWS }, () => difference([drawn(first), drawn(second)]));
  // A draw without what a share is taken of says nothing.
  const said = all.filter((one) => !Number.isNaN(one));
  return Math.max(0, measured - percentile(said, DOUBT));
}
