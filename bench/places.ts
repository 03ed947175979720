import { MODELS } from './places/receiver-models.ts';
import { drain, type Drained } from './places/simulate.ts';
import { rounded, type BenchResult, type Figure } from './support/figures.ts';

/** Fixed concurrencies to try, to find the best one in hindsight. */
const FIXED = [1, 2, 4, 6, 8, 10, 12, 16, 24, 32, 48, 64, 96, 128];

const MOST_OF_BEST = 2.5;
const MOST_OF_FOUR = 1.05;

export interface PlacesCell {
  model: string;
  deliveries: number;
  ours: Drained;
  /** Time to drain relative to the best fixed concurrency, and to a concurrency of four. */
  ofBest: number;
  ofFour: number;
  fourTimeouts: number;
}

/** Drains this many deliveries at each receiver model, beside fixed concurrencies. */
export function playPlaces(deliveries: number, fixed: readonly number[] = FIXED): PlacesCell[] {
  return Object.entries(MODELS).map(([model, make]) => {
    const tries = fixed.map((attempts) => ({ attempts, ...drain(make(), deliveries, attempts) }));
    const ours = drain(make(), deliveries, null);
    const four = drain(make(), deliveries, 4);
    const best = Math.min(...tries.filter(({ timeouts }) => timeouts === 0).map(({ ms }) => ms));
    return {
      model,
      deliveries,
      ours,
      ofBest: ours.ms / best,
      ofFour: ours.ms / four.ms,
      fourTimeouts: four.timeouts,
    };
  });
}

/**
 * How well slots follow a receiver, in virtual time: eight receiver models, with 500 and 5,000
 * deliveries at once. The comparison is the best fixed concurrency in hindsight, and a concurrency
 * of four.
 */
export async function benchPlaces(): Promise<BenchResult> {
  const cells = [500, 5_000].flatMap((deliveries) => playPlaces(deliveries));
  return { figures: cells.flatMap(figuresOf), details: { cells } };
}

function figuresOf({
  model,
  deliveries,
  ours,
  ofBest,
  ofFour,
  fourTimeouts,
}: PlacesCell): Figure[] {
  const name = `${model}, ${deliveries.toLocaleString('en')}`;
  return [
    {
      name: `${name}: of the best`,
      value: rounded(ofBest),
      unit: '',
      target: { atMost: MOST_OF_BEST },
    },
    {
      name: `${name}: of four`,
      value: rounded(ofFour),
      unit: '',
      target: { atMost: MOST_OF_FOUR },
    },
    ...(fourTimeouts === 0
      ? [{ name: `${name}: time-outs`, value: ours.timeouts, unit: '', target: { atMost: 0 } }]
      : []),
  ];
}
