import type { BenchResult, Figure } from './support/figures.ts';
import { deliveryCells } from './shapes/delivery.ts';

/** Load as it comes on a bad day. A cell measures one shape, with the quiet beside it. */
const CELLS: (() => Promise<Figure[]>)[] = [...deliveryCells];

/** Plays every cell, one after the other, each with processes of its own. */
export async function benchShapes(): Promise<BenchResult> {
  const figures: Figure[] = [];
  for (const cell of CELLS) figures.push(...(await cell()));
  return { figures, details: {} };
}
