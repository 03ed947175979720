import type { BenchResult, Figure } from './support/figures.ts';
import { deliveryCells } from './shapes/delivery.ts';
import { largeCells } from './shapes/large.ts';
import { outageCells } from './shapes/outage.ts';
import { slowCells } from './shapes/slow.ts';

/** Load of a bad day. A cell measures one shape, beside a quiet run. */
const CELLS: Record<string, () => Promise<Figure[]>> = {
  ...deliveryCells,
  ...outageCells,
  ...slowCells,
  ...largeCells,
};

export const CELL_NAMES = Object.keys(CELLS);

/**
 * Runs cells, one after the other, each with its own processes.
 * @param cells names of cells; all by default
 */
export async function benchShapes(cells: readonly string[] = CELL_NAMES): Promise<BenchResult> {
  const figures: Figure[] = [];
  for (const name of cells) figures.push(...((await CELLS[name]?.()) ?? []));
  return { figures, details: {} };
}
