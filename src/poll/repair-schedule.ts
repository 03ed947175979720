import type { WatchKey } from '../core/watch/watch.ts';
import { groupBySource } from './register-watches.ts';
import type { Schedule } from './schedule.ts';

/** Watches compared with the schedule in one go. */
const CHUNK = 500;

interface RepairDependencies {
  watches: {
    active(chunk: number): AsyncIterable<WatchKey[]>;
    countActive(): Promise<number>;
  };
  /** Of the configured sources, by name. */
  schedules: ReadonlyMap<string, Pick<Schedule, 'enterMissing' | 'countWatches'>>;
  onRepaired: (repaired: { active: number; missing: number }) => void;
}

/**
 * Enters active watches that are missing from the schedule, as after a write to Redis that was lost.
 * Returns a function that counts both, and compares them one by one at its first call and where the
 * counts differ; so it costs a few commands where all is well.
 */
export function createRepairSchedule({ watches, schedules, onRepaired }: RepairDependencies) {
  /** Active watches of sources that are not configured, as they were when last compared. */
  let foreign: number | null = null;

  async function isComplete(): Promise<boolean> {
    if (foreign === null) return false;
    let scheduled = foreign;
    for (const schedule of schedules.values()) scheduled += await schedule.countWatches();
    return scheduled === (await watches.countActive());
  }

  return async function repair(): Promise<void> {
    if (await isComplete()) return;
    const found = { active: 0, missing: 0 };
    let others = 0;
    for await (const chunk of watches.active(CHUNK)) {
      found.active += chunk.length;
      for (const [source, keys] of groupBySource(chunk)) {
        const schedule = schedules.get(source);
        if (schedule === undefined) others += keys.length;
        else found.missing += await schedule.enterMissing(keys.map(({ runId }) => runId));
      }
    }
    foreign = others;
    if (found.missing > 0) onRepaired(found);
  };
}
