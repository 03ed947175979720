import { seededRandom } from '../../src/simulator/seeded-random.ts';
import { replayOurs } from '../replay/scenarios.ts';
import { summarize, type Summary } from '../replay/summary.ts';
import type { TracedRun } from '../replay/workload.ts';
import { SCALED } from './live.ts';

export interface VirtualCell {
  runs: number;
  workflows: number;
  lists: boolean;
  /** Runs of others for each of ours; they are on the same lists. */
  others?: number;
  /** Runs of a workflow without watches for each of ours: the source's list alone has them. */
  foreign?: number;
  /** Over how long the runs begin, s. */
  beginS?: number;
  seed: number;
}

/** The cell on a virtual clock, by the daemon's own rules. Delays in seconds. */
export function playVirtual({
  seed,
  lists,
  others = 0,
  foreign = 0,
  beginS = SCALED.beginS,
  ...cell
}: VirtualCell): Summary {
  const { runs, unwatched } = tracedRuns({ ...cell, others, foreign, beginS, seed });
  const limits = {
    minIntervalMs: SCALED.minIntervalMs,
    maxIntervalMs: SCALED.maxIntervalMs,
  };
  const options = { seed, profile: 'normal' as const, lists, limits };
  const { seen } = replayOurs(runs, options, { budgetPerS: SCALED.requestsPerS, unwatched });
  return summarize(seen);
}

interface SteadyVirtualCell {
  runs: number;
  requestsPerS: number;
  maxIntervalMs: number;
  /** How long all runs last, s: much longer than their longest interval. */
  lastsS: number;
}

/** The share of the rate limit that is used for runs that go on, without lists. */
export function playSteadyVirtual(cell: SteadyVirtualCell, seed: number): number {
  const { runs, requestsPerS, maxIntervalMs, lastsS } = cell;
  const watched = Array.from({ length: runs }, (_, at): TracedRun => {
    const created = at / runs;
    const finished = created + lastsS;
    return {
      workflow: 'workflow',
      created,
      started: created,
      finished,
      status: 'completed',
      progress: [],
    };
  });
  const limits = { minIntervalMs: maxIntervalMs, maxIntervalMs };
  const options = { seed, profile: 'normal' as const, limits };
  const { seen } = replayOurs(watched, options, { budgetPerS: requestsPerS });
  const requests = seen.reduce((sum, one) => sum + one.requests, 0);
  return requests / (requestsPerS * (lastsS + 1));
}

function tracedRuns({
  runs,
  workflows,
  others,
  foreign,
  beginS,
  seed,
}: Required<Omit<VirtualCell, 'lists'>>) {
  const random = seededRandom(seed);
  const watched: TracedRun[] = [];
  const unwatched: TracedRun[] = [];
  for (let at = 0; at < runs; at += 1) {
    const lastsS = SCALED.leastS + random() * (SCALED.mostS - SCALED.leastS);
    const created = (at * beginS) / runs;
    const run: TracedRun = {
      workflow: `workflow-${at % workflows}`,
      created,
      started: created,
      finished: created + lastsS,
      status: 'completed',
      progress: [],
    };
    watched.push(run);
    for (let other = 0; other < others; other += 1) unwatched.push({ ...run });
    for (let other = 0; other < foreign; other += 1)
      unwatched.push({ ...run, workflow: 'foreign' });
  }
  return { runs: watched, unwatched };
}
