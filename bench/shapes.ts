import type { BenchResult, Figure } from './support/figures.ts';
import { deliveryCells } from './shapes/delivery.ts';
import { largeCells } from './shapes/large.ts';
import { outageCells } from './shapes/outage.ts';
import { slowCells } from './shapes/slow.ts';

/** Load as it comes on a bad day. A cell measures one shape, with the quiet beside it. */
const CELLS: Record<string, () => Promise<Figure[]>> = {
  ...deliveryCells,
  ...outageCells,
  ...slowCells,
  ...largeCells,
};

export const CELL_NAMES = Object.keys(CELLS);

/**
 * Plays cells, one after the other, each with processes of its own.
 * @param cells the names of those to play; all unless given
 */
export async function benchShapes(cells: readonly string[] = CELL_NAMES): Promise<BenchResult> {
  const figures: Figure[] = [];
  for (const name of cells) figures.push(...((await CELLS[name]?.()) ?? []));
  return { figures, details: {} };
}
