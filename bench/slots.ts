import { playDistance } from './slots/distance.ts';
import { playQuiet } from './slots/quiet.ts';
import { playTenth } from './slots/tenth.ts';
import { playCells } from './support/cells.ts';
import type { BenchResult, Figure } from './support/figures.ts';

const CELLS: Record<string, () => Promise<Figure[]>> = {
  quiet: playQuiet,
  tenth: playTenth,
  distance: playDistance,
};

export const SLOT_CELLS = Object.keys(CELLS);

/**
 * Whether slots fit: what a poll costs at any pace, with any number of daemons; what a daemon with a tenth
 * of a core makes of it; and what is left where Redis is far away. Claims are counted by a proxy.
 */
export function benchSlots(cells = SLOT_CELLS): Promise<BenchResult> {
  return playCells(CELLS, cells);
}
