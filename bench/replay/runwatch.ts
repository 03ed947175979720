import { noLinks } from '../../src/core/run/links.ts';
import type { Random } from '../../src/core/backoff.ts';
import { DEFAULT_POLICY, type ObserveContext } from '../../src/core/watch/observation.ts';
import {
  emptyStatistics,
  learn,
  type Statistics,
  type StatisticsLookup,
} from '../../src/core/cadence/hazard.ts';
import type { DurationSample } from '../../src/core/cadence/phase.ts';
import { loadByPlan, loadUnder, costMultiplierAfter } from '../../src/core/cadence/load.ts';
import { patienceMs, pollKind } from '../../src/core/source/request-order.ts';
import { observe } from '../../src/core/watch/observe.ts';
import { register } from '../../src/core/watch/register.ts';
import type { Profile, Subscription, Watch } from '../../src/core/watch/watch.ts';
import { FollowedLists, type Followed } from './followed-lists.ts';
import { toMs, toS } from './clock.ts';
import { viewOf } from './noxus-view.ts';
import type { Follower, Policy, Sight } from './policy.ts';
import type { TracedRun } from './workload.ts';

const YEAR_MS = 365 * 86_400_000;
const SOURCE = 'default';

/** Statistics by workflow and state; passed on from one replay to the next. */
export type Memory = Map<string, Map<string | null, Statistics>>;

export interface RunwatchOptions {
  profile: Profile;
  random: Random;
  memory?: Memory;
  /** The subscriptions; by default one with terminal events only. */
  subscriptions?: Subscription[];
  /** How long the budget takes to poll all active runs once, s. */
  roundS?: () => number;
  /** Requests a second that all runs share; as many as are wanted by default. */
  budgetPerS?: number;
  /** The cost multiplier of a request. */
  costMultiplier?: number;
  /** Limits of the intervals, if not the default ones. */
  limits?: { minIntervalMs: number; maxIntervalMs: number };
  /** Whether list feeds cover runs of one workflow. */
  lists?: boolean;
}

/** The daemon's own rules, `core/observe` and all that it calls, with a virtual clock. */
export function runwatch(options: RunwatchOptions): Policy {
  const { profile, memory = new Map(), random, roundS = () => 0 } = options;
  const policy = { ...DEFAULT_POLICY, ...options.limits };
  /** Null before the first lag. */
  let costMultiplier: number | null = null;

  function learnAll(samples: DurationSample[]): void {
    for (const sample of samples) {
      const states = memory.get(sample.workflowId) ?? new Map<string | null, Statistics>();
      states.set(sample.state, learn(states.get(sample.state) ?? emptyStatistics(), sample));
      memory.set(sample.workflowId, states);
    }
  }

  const statistics: StatisticsLookup = (_source, workflow, state) =>
    memory.get(workflow)?.get(state);
  const wants = () => false;

  function contextAt({ now, lagS }: Pick<Sight, 'now' | 'lagS'>): ObserveContext {
    const own = loadUnder(costMultiplier ?? options.costMultiplier ?? 1, roundS() * 1_000);
    const usesSpare = (options.budgetPerS ?? Infinity) < Infinity;
    return {
      label: 'Noxus',
      now: toMs(now),
      beganAt: toMs(now),
      lagMs: lagS * 1_000,
      mode: 'single' as const,
      isStreamed: false,
      nodes: null,
      answeredAt: toMs(now),
      openSince: null,
      closedFor: null,
      isConsistent: true,
      linksOf: noLinks,
      newMark: () => '',
      policy,
      statistics,
      wants,
      random,
      load: loadByPlan({ ...own, usesSpare }, followedLists?.costMultiplier ?? null),
    };
  }

  const followedLists = options.lists
    ? new FollowedLists(
        (now) => contextAt({ now, lagS: 0 }),
        (options.budgetPerS ?? Infinity) / 1_000,
      )
    : undefined;
  let runs = 0;

  function follow(run: TracedRun): Follower {
    const id = `run-${(runs += 1)}`;
    const look = viewOf(run, id);
    const followed: Followed = { run, watch: newWatch(run, id, options) };
    followedLists?.add(followed);
    return {
      look(sight) {
        const context = contextAt(sight);
        const { watch, events, samples, spareAt } = observe(followed.watch, look(sight), context);
        followed.watch = watch;
        learnAll(samples);
        const updates = events.filter(
          ({ type }) => type === 'run.progress' || type === 'run.started',
        );
        const { nextPollAt } = watch;
        return {
          nextAt: nextPollAt === null ? null : toS(nextPollAt),
          spareAt: spareAt === null ? null : toS(spareAt),
          updates: updates.length,
        };
      },
      deadline(dueAt) {
        const roundMs = roundS() * 1_000;
        return dueAt + patienceMs(pollKind(followed.watch, roundMs), roundMs) / 1_000;
      },
    };
  }

  return {
    name: `runwatch ${profile}`,
    follow,
    ...(followedLists && { lists: followedLists }),
    lagged(lagS, requestS) {
      costMultiplier = costMultiplierAfter(costMultiplier ?? 1, lagS * 1_000, requestS * 1_000);
    },
  };
}

function newWatch(
  run: TracedRun,
  runId: string,
  { profile, subscriptions = [] }: RunwatchOptions,
): Watch {
  const defaults = { timeoutMs: YEAR_MS, minIntervalMs: DEFAULT_POLICY.minIntervalMs, profile };
  const request = { source: SOURCE, runId, subscriptions };
  return register(null, request, { now: toMs(run.created), defaults }).watch;
}
