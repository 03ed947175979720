import { MODELS } from './places/receiver-models.ts';
import { drain, type Drained } from './places/simulate.ts';
import { rounded, type BenchResult, type Figure } from './support/figures.ts';

/** Attempts at a time that are tried to find the best number in hindsight. */
const FIXED = [1, 2, 4, 6, 8, 10, 12, 16, 24, 32, 48, 64, 96, 128];

const MOST_OF_BEST = 2.5;
const MOST_OF_FOUR = 1.05;

export interface PlacesCell {
  model: string;
  deliveries: number;
  ours: Drained;
  /** Time to drain as a multiple of that of the best fixed number, and of four at a time. */
  ofBest: number;
  ofFour: number;
  fourTimeouts: number;
}

/** Drains so many deliveries at each model of a receiver, beside fixed numbers. */
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
 * How well slots follow a receiver: eight models of one, 500 and 5,000 deliveries at once, in virtual
 * time, beside the best fixed number of attempts at a time in hindsight, and beside four.
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
