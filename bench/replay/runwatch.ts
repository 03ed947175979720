import type { Random } from '../../src/core/backoff.ts';
import {
  emptyStatistics,
  learn,
  type Statistics,
  type StatisticsLookup,
} from '../../src/core/hazard.ts';
import type { Lesson } from '../../src/core/lesson.ts';
import { dearnessAfter, NO_LOAD, type SourceLoad } from '../../src/core/load.ts';
import type { Look, ObserveContext } from '../../src/core/look.ts';
import { observe } from '../../src/core/observe.ts';
import { register } from '../../src/core/register.ts';
import { pollDeadline } from '../../src/core/urgency.ts';
import type { Profile, Subscription, Watch } from '../../src/core/watch.ts';
import { DEFAULT_POLICY } from '../support/default-policy.ts';
import { shownAt, type Follower, type Policy, type Sight } from './policy.ts';
import type { TracedRun } from './workload.ts';

const EPOCH = Date.UTC(2026, 0, 1);
const YEAR_MS = 365 * 86_400_000;
const SOURCE = 'default';

const toMs = (seconds: number) => EPOCH + Math.round(seconds * 1_000);
const iso = (seconds: number) => new Date(toMs(seconds)).toISOString();

/** What was learned, by workflow and state; handed on from one replay to the next. */
export type Memory = Map<string, Map<string | null, Statistics>>;

export interface RunwatchOptions {
  profile: Profile;
  random: Random;
  memory?: Memory;
  /** Who is told; by default somebody who hears of ends only. */
  subscriptions?: Subscription[];
  /** How long the budget lets it take to poll all active runs once, s. */
  roundS?: () => number;
  /** By how much requests are dearer than the profile says. */
  dearness?: number;
  /** Limits of the intervals other than those by default. */
  limits?: { minIntervalMs: number; maxIntervalMs: number };
}

/** The daemon's own rules, `core/observe` and all that it calls, with a virtual clock. */
export function runwatch(options: RunwatchOptions): Policy {
  const { profile, memory = new Map(), random, roundS = () => 0 } = options;
  const policy = { ...DEFAULT_POLICY, ...options.limits };
  let load: SourceLoad = { ...NO_LOAD, dearness: options.dearness ?? 1 };

  function learnAll(lessons: Lesson[]): void {
    for (const lesson of lessons) {
      const states = memory.get(lesson.workflowId) ?? new Map<string | null, Statistics>();
      states.set(lesson.state, learn(states.get(lesson.state) ?? emptyStatistics(), lesson));
      memory.set(lesson.workflowId, states);
    }
  }

  const statistics: StatisticsLookup = (_source, workflow, state) =>
    memory.get(workflow)?.get(state);
  const wants = () => false;

  function contextAt({ now, lagS }: Sight): ObserveContext {
    const { dearness } = load;
    const roundMs = roundS() * 1_000;
    return {
      now: toMs(now),
      beganAt: toMs(now),
      lagMs: lagS * 1_000,
      isStreamed: false,
      policy,
      statistics,
      wants,
      random,
      load: { dearness, roundMs },
    };
  }

  function follow(run: TracedRun): Follower {
    const look = viewOf(run);
    let watch = newWatch(run, profile, options.subscriptions ?? []);
    return {
      look(sight) {
        const { watch: after, events, lessons } = observe(watch, look(sight), contextAt(sight));
        watch = after;
        learnAll(lessons);
        const updates = events.filter(
          ({ type }) => type === 'run.progress' || type === 'run.started',
        );
        const { nextPollAt } = watch;
        return {
          nextAt: nextPollAt === null ? null : (nextPollAt - EPOCH) / 1_000,
          updates: updates.length,
        };
      },
      deadline(dueAt) {
        const ground = { now: toMs(dueAt), roundMs: roundS() * 1_000 };
        return (pollDeadline(watch, ground) - EPOCH) / 1_000;
      },
    };
  }

  return {
    name: `runwatch ${profile}`,
    follow,
    lagged(lagS, requestS) {
      const dearness = dearnessAfter(load.dearness, lagS * 1_000, requestS * 1_000);
      load = { ...load, dearness };
    },
  };
}

function newWatch(run: TracedRun, profile: Profile, subscriptions: Subscription[]): Watch {
  const defaults = { timeoutMs: YEAR_MS, minIntervalMs: DEFAULT_POLICY.minIntervalMs, profile };
  const request = { source: SOURCE, runId: 'run', subscriptions };
  return register(null, request, { now: toMs(run.created), defaults }).watch;
}

/** What Noxus answers. */
function viewOf(run: TracedRun): (sight: Sight) => Look {
  const createdAt = iso(run.created);
  const startedAt = iso(run.started);
  const finishedAt = iso(run.finished);
  return ({ now, fails }) => {
    if (fails) return { kind: 'unavailable', message: 'status 503' };
    const { status, progress } = shownAt(run, now);
    const snapshot = {
      id: 'run',
      workflow_id: run.workflow,
      group_id: 'group',
      workflow_version_id: null,
      status,
      progress,
      created_at: createdAt,
      started_at: now >= run.started ? startedAt : null,
      finished_at: now >= run.finished ? finishedAt : null,
      source: null,
      user_id: null,
      conversation_id: null,
      observed_at: iso(now),
    };
    return { kind: 'run', run: snapshot };
  };
}
