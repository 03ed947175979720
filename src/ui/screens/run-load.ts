import { api, type RunRef } from '../api/calls.ts';
import type { Timeline, Watch } from '../api/types.ts';

/** A run, and all that is known of its course. */
export interface RunStory {
  watch: Watch;
  timeline: Timeline;
}

export async function loadRun(run: RunRef, signal: AbortSignal): Promise<RunStory> {
  const [watch, timeline] = await Promise.all([api.watch(run, signal), api.timeline(run, signal)]);
  return { watch, timeline };
}
