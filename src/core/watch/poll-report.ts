import type { RunwatchEvent } from '../event/event.ts';
import type { PollResult } from '../run/snapshot.ts';
import type { Observation } from './observe.ts';
import type { Watch } from './watch.ts';

/** One poll, for whatever goes by polls. */
export interface PollReport {
  /** The watch before the poll. */
  before: Watch;
  watch: Watch;
  outcome: PollResult['kind'];
  events: RunwatchEvent[];
  /** By what its events became known first: a hint of a stream or list, or this read. */
  knownBy: 'stream' | 'list' | 'read';
  /** From when the poll was due to its start, ms. */
  lagMs: number;
  /** What it says of how far the source agrees with itself. */
  agreement: Observation['agreement'];
  /** True for the first poll of the watch. */
  isFirst: boolean;
  durationMs: number;
}
