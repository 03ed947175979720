import { playBacklog } from './bad-days/backlog.ts';
import { playLag } from './bad-days/lag.ts';
import { playLogReader } from './bad-days/log-reader.ts';
import { playMetadata } from './bad-days/metadata.ts';
import { playSilentNames } from './bad-days/names.ts';
import { playPause } from './bad-days/pause.ts';
import { playRestart } from './bad-days/restart.ts';
import { playCells } from './support/cells.ts';
import type { BenchResult, Figure } from './support/figures.ts';

/** Scenarios, each by a built daemon with a Redis of its own but for the backlog, which is the store's. */
const CELLS: Record<string, () => Promise<Figure[]>> = {
  names: playSilentNames,
  lag: playLag,
  backlog: playBacklog,
  restart: playRestart,
  metadata: playMetadata,
  pause: playPause,
  reader: playLogReader,
};

export const BAD_DAY_CELLS = Object.keys(CELLS);

/** Faults of what is around a daemon that last for seconds to minutes, and what must hold meanwhile. */
export function benchBadDays(cells = BAD_DAY_CELLS): Promise<BenchResult> {
  return playCells(CELLS, cells);
}
