import { PRICE_S } from '../../src/core/cadence/cadence.ts';
import { seededRandom } from '../../src/simulator/seeded-random.ts';
import { BACKOFF, FIXED, RESTARTING } from './baselines.ts';
import { Replay, replay, type ReplayOptions, type Replayed } from './replay.ts';
import { runwatch, type Memory, type RunwatchOptions } from './runwatch.ts';
import { meanOf, summarize, type Seen, type Summary } from './summary.ts';
import type { Comparison } from './table.ts';
import { workload, type TracedRun } from './workload.ts';

/** Fixed polling sends this many times the requests that the first target allows. */
const SHARE = 6;

/** The tuned policy must use at least this share of its allowed requests. */
const CLOSE_ENOUGH = 0.96;

/** The number of requests follows about this power of their price. */
const PRICE_POWER = -0.4;

export type OurOptions = Omit<RunwatchOptions, 'random'> & { seed: number };

/** Our policy; where there is a budget, its longest interval follows from it. */
export function replayOurs(
  runs: readonly TracedRun[],
  options: OurOptions,
  replayOptions?: ReplayOptions,
): Replayed {
  return ourReplay(options, replayOptions).run(runs);
}

/** As {@link replayOurs}, before it runs. */
export function ourReplay(
  { seed, ...options }: OurOptions,
  replayOptions: ReplayOptions = {},
): Replay {
  const { budgetPerS = Infinity } = replayOptions;
  const roundS = options.roundS ?? (() => replaying.active / budgetPerS);
  const policy = runwatch({ ...options, roundS, budgetPerS, random: seededRandom(seed) });
  const replaying: Replay = new Replay(policy, replayOptions);
  return replaying;
}

/**
 * Our policy at the price at which it sends a sixth of the requests of fixed polling, with the cost
 * multiplier of such a budget. Such a budget lets all runs be polled once in 30 s.
 */
export function tuned(
  runs: readonly TracedRun[],
  seed: number,
  fixed: Summary,
): { summary: Summary; priceS: number } {
  const allowed = fixed.requestsPerRun / SHARE;
  const roundS = () => 5 * SHARE;
  let costMultiplier = 1.65;
  for (let tries = 0; ; tries += 1) {
    const options = { seed, profile: 'urgent' as const, costMultiplier, roundS };
    const summary = summarize(replayOurs(runs, options).seen);
    const share = summary.requestsPerRun / allowed;
    if (tries === 4 || (share <= 1 && share >= CLOSE_ENOUGH)) {
      return { summary, priceS: PRICE_S.urgent * costMultiplier };
    }
    costMultiplier *= (share / 0.98) ** (-1 / PRICE_POWER);
  }
}

/** After a change of all durations, the number of runs until our policy is below backoff again. */
export function shifted({ seed, runs, scale, memory }: ShiftOptions) {
  const changed = workload({ seed: seed + 1, runs, scale });
  const ours = replayOurs(changed, { seed, profile: 'normal', memory: copyOf(memory) });
  const backoff = replay(changed, BACKOFF);
  const behind = windows(ours.seen, backoff.seen).findLastIndex(([our, other]) => our > other);
  return {
    comparison: {
      [BACKOFF.name]: summarize(backoff.seen),
      'runwatch normal': summarize(ours.seen),
    },
    /** Runs of each workflow. */
    relearned: (behind + 1) * WINDOW,
  };
}

interface ShiftOptions {
  seed: number;
  runs: number;
  /** The factor of all durations. */
  scale: number;
  /** Earlier statistics. */
  memory: Memory;
}

/** Runs of each workflow, in the order of their creation, over which delays are averaged. */
const WINDOW = 20;

function windows(ours: Seen[], others: Seen[]): [number, number][] {
  const [our, other] = [inWindows(ours), inWindows(others)];
  return our.map((mean, at) => [mean, other[at] ?? Infinity]);
}

function inWindows(seen: Seen[]): number[] {
  const workflows = [...new Set(seen.map(({ workflow }) => workflow))];
  const ordered = workflows.map((workflow) =>
    seen.filter((one) => one.workflow === workflow).sort((a, b) => a.created - b.created),
  );
  const count = Math.floor(Math.min(...ordered.map((some) => some.length)) / WINDOW);
  return Array.from({ length: count }, (_, at) => {
    const some = ordered.flatMap((one) => one.slice(at * WINDOW, (at + 1) * WINDOW));
    return meanOf(some.map(({ delayS }) => delayS));
  });
}

/** The first runs of each workflow, polled without statistics. */
export function firstOf(seen: Seen[], count: number): Seen[] {
  const workflows = [...new Set(seen.map(({ workflow }) => workflow))];
  return workflows.flatMap((workflow) =>
    seen
      .filter((one) => one.workflow === workflow)
      .sort((a, b) => a.created - b.created)
      .slice(0, count),
  );
}

/**
 * Our policy, fixed polling and backoff under the same conditions; with `lists` also ours without
 * lists.
 */
export function compare(
  runs: readonly TracedRun[],
  { lists = false, ...ours }: OurOptions,
  options: ReplayOptions = {},
): Comparison {
  const name = `runwatch ${ours.profile}`;
  const summaryOf = (more: { lists?: boolean }) =>
    summarize(replayOurs(runs, { ...ours, ...more }, options).seen);
  return {
    [FIXED.name]: summarize(replay(runs, FIXED, options).seen),
    [BACKOFF.name]: summarize(replay(runs, BACKOFF, options).seen),
    [name]: summaryOf({}),
    ...(lists && { [`${name}, by lists`]: summaryOf({ lists }) }),
  };
}

/**
 * How many changes our policy sees for a follower of progress, beside backoff that starts anew with
 * each.
 */
export function updatesSeen(runs: readonly TracedRun[], seed: number) {
  const subscriptions = [
    {
      kind: 'webhook' as const,
      receiver: 'https://example.com/…#',
      events: ['run.progress', 'run.started'],
      sealed: '',
    },
  ];
  const ours = replayOurs(runs, { seed, profile: 'normal', subscriptions });
  const restarting = replay(runs, RESTARTING);
  return {
    ours: ours.updates,
    restarting: restarting.updates,
    there: runs.reduce((sum, run) => sum + updatesOf(run), 0),
    comparison: {
      [RESTARTING.name]: summarize(restarting.seen),
      'runwatch normal': summarize(ours.seen),
    },
  };
}

/** That it started, each step, and the last one where it was completed. */
function updatesOf({ progress, status }: TracedRun): number {
  return 1 + progress.length + (status === 'completed' ? 1 : 0);
}

/** For ten minutes in two hours every poll fails, and one poll in twenty at any time. */
export function storms(seed: number): (now: number) => boolean {
  const random = seededRandom(seed);
  return (now) => now % 7_200 < 600 || random() < 0.05;
}

export function copyOf(memory: Memory): Memory {
  return new Map([...memory].map(([workflow, states]) => [workflow, new Map(states)]));
}
