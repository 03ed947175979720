import type { Follower, ListSight, Policy } from './policy.ts';
import { RunLists } from './run-lists.ts';
import type { Seen } from './summary.ts';
import { Timetable, type Task } from './timetable.ts';
import type { TracedRun } from './workload.ts';

export interface ReplayOptions {
  /** Whether a read at this time fails. */
  fails?: (now: number) => boolean;
  /** Requests a second that all runs share; Infinity for as many as are wanted. */
  budgetPerS?: number;
}

export interface Replayed {
  /** The runs of a workflow share the cost of sweeps. */
  seen: Seen[];
  /** Changes seen before the end. */
  updates: number;
}

/** A run that is polled. */
interface Polled {
  run: TracedRun;
  follower: Follower;
  requests: number;
}

/** A list with sweeps. */
interface Listed {
  task: Task;
  requests: number;
}

/** A poll calls for the first sweep of a list, which comes after other polls due then, s. */
const AFTER_POLLS_S = 0.001;

/**
 * Polls runs by a policy from their creation until their ends are seen, on a virtual clock. Where
 * the policy has list feeds, it sweeps their lists too.
 */
export class Replay {
  private readonly timetable: Timetable;
  private readonly polls = new Map<TracedRun, Task>();
  private readonly looks = new Map<string, Listed>();
  private readonly seen: Seen[] = [];
  private readonly slotS: number;
  private updates = 0;
  /** Runs that have been created and not yet seen to end. */
  active = 0;

  constructor(
    private readonly policy: Policy,
    private readonly options: ReplayOptions = {},
  ) {
    this.slotS = 1 / (options.budgetPerS ?? Infinity);
    this.timetable = new Timetable(this.slotS);
  }

  run(runs: readonly TracedRun[]): Replayed {
    const lists = new RunLists(runs);
    for (const run of runs) {
      const polled = { run, follower: this.policy.follow(run), requests: 0 };
      const task = this.pollsOf(polled, lists);
      this.polls.set(run, task);
      this.timetable.set(task, run.created);
    }
    this.timetable.run();
    const seen = this.seen.map((one) => {
      const listed = this.looks.get(one.workflow)?.requests ?? 0;
      return { ...one, requests: one.requests + listed / lists.count(one.workflow) };
    });
    return { seen, updates: this.updates };
  }

  private pollsOf(polled: Polled, lists: RunLists): Task {
    return {
      deadline: (dueAt) => {
        if (polled.requests === 0) this.active += 1;
        return polled.follower.deadline(dueAt);
      },
      act: (now, dueAt) => {
        const nextAt = this.look(polled, now, Math.max(0, now - dueAt));
        if (this.policy.lists?.notice(polled.run, now) === true) {
          this.lookAtList(polled.run.workflow, lists, now);
        }
        return { requests: 1, nextAt };
      },
    };
  }

  private look(polled: Polled, now: number, lagS: number): number | null {
    const { run, follower } = polled;
    polled.requests += 1;
    if (this.slotS > 0) this.policy.lagged?.(lagS, this.slotS);
    const fails = this.fails(now);
    const { nextAt, updates } = follower.look({ run, now, lagS, fails });
    this.updates += updates;
    if (nextAt === null) {
      this.active -= 1;
      const { workflow, created } = run;
      this.seen.push({ workflow, created, requests: polled.requests, delayS: now - run.finished });
    }
    return nextAt;
  }

  private fails(now: number): boolean {
    return this.options.fails?.(now) ?? false;
  }

  /** Starts sweeps of a list, unless they run already. */
  private lookAtList(workflow: string, lists: RunLists, now: number): void {
    const looks = this.looks.get(workflow) ?? this.looksAt(workflow, lists);
    this.looks.set(workflow, looks);
    if (!this.timetable.has(looks.task)) this.timetable.set(looks.task, now);
  }

  private looksAt(workflow: string, lists: RunLists): Listed {
    let deadlineAt: number | null = null;
    const looks: Listed = {
      requests: 0,
      task: {
        deadline: (dueAt) => deadlineAt ?? dueAt + this.active * this.slotS + AFTER_POLLS_S,
        act: (now) => {
          let requests = 0;
          const read: ListSight['read'] = (page, size) => {
            requests += 1;
            return this.fails(now) ? null : lists.page(workflow, { now, page, size });
          };
          const next = this.followList({ workflow, now, read });
          looks.requests += requests;
          deadlineAt = next?.deadline ?? null;
          return { requests, nextAt: next?.at ?? null };
        },
      },
    };
    return looks;
  }

  private followList(sight: ListSight) {
    const { woken, moved, next } = this.policy.lists!.look(sight);
    for (const [run, at] of moved) this.timetable.set(this.polls.get(run)!, at);
    for (const run of woken) this.timetable.wake(this.polls.get(run)!);
    return next;
  }
}

export function replay(
  runs: readonly TracedRun[],
  policy: Policy,
  options?: ReplayOptions,
): Replayed {
  return new Replay(policy, options).run(runs);
}
