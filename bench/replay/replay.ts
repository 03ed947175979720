import type { Follower, Moves, Policy, TracedPageName } from './policy.ts';
import { RunLists } from './run-lists.ts';
import type { Seen } from './summary.ts';
import { Timetable, type Permits, type Task } from './timetable.ts';
import type { TracedRun } from './workload.ts';

export interface ReplayOptions {
  /** Whether a read at this time fails. */
  fails?: (now: number) => boolean;
  /** Requests a second that all runs share; Infinity for as many as are wanted. */
  budgetPerS?: number;
  /** How long after a change of a run its event stream says so, s; absent, there are no streams. */
  hintAfterS?: number;
  /** Runs on the same lists that are not followed. */
  unwatched?: readonly TracedRun[];
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
  isActive: boolean;
}

/** Due pages go before polls by cadence, by so many seconds. */
const PAGE_FIRST_S = 1e6;

/** Between two plans, s. */
const PLAN_EVERY_S = 1;

/** Runs that were never read go before pages. */
const NEW_FIRST_S = 1e7;

/**
 * Polls runs by a policy from their creation until their ends are seen, on a virtual clock. Where
 * the policy has list feeds, it sweeps their lists too.
 */
export class Replay {
  private readonly timetable: Timetable;
  private readonly polls = new Map<TracedRun, Task>();
  private readonly pages = new Map<string, Task>();
  /** Requests for lists. */
  private readonly listed = new Map<string | null, number>();
  private planTask: Task | null = null;
  private plannedAt = -Infinity;
  private planDueAt = Infinity;
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
    const lists = this.begin(runs);
    this.timetable.run();
    return this.replayed(lists);
  }

  /** As {@link run}; requests go as permits allow. */
  async runBy(runs: readonly TracedRun[], permits: Permits): Promise<Replayed> {
    const lists = this.begin(runs);
    await this.timetable.runBy(permits);
    return this.replayed(lists);
  }

  private begin(runs: readonly TracedRun[]): RunLists {
    const lists = new RunLists([...runs, ...(this.options.unwatched ?? [])]);
    for (const run of runs) {
      const polled = { run, follower: this.policy.follow(run), requests: 0, isActive: false };
      const task = this.pollsOf(polled, lists);
      this.polls.set(run, task);
      this.timetable.set(task, run.created);
      this.hint(run, task);
    }
    return lists;
  }

  /** Has a run polled once its end was heard of. */
  private hint({ finished }: TracedRun, poll: Task): void {
    const { hintAfterS } = this.options;
    if (hintAfterS === undefined) return;
    const heard: Task = {
      deadline: () => -Infinity,
      act: () => {
        this.timetable.wake(poll);
        return { requests: 0, nextAt: null };
      },
    };
    this.timetable.set(heard, finished + hintAfterS);
  }

  private replayed(lists: RunLists): Replayed {
    const seen = this.seen.map((one) => {
      const own = (this.listed.get(one.workflow) ?? 0) / lists.count(one.workflow);
      const all = (this.listed.get(null) ?? 0) / lists.count(null);
      return { ...one, requests: one.requests + own + all };
    });
    return { seen, updates: this.updates };
  }

  private pollsOf(polled: Polled, lists: RunLists): Task {
    return {
      deadline: (dueAt) => {
        if (polled.requests > 0) return polled.follower.deadline(dueAt);
        if (!polled.isActive) this.active += 1;
        polled.isActive = true;
        return dueAt - NEW_FIRST_S;
      },
      act: (now, dueAt) => {
        const next = this.look(polled, now, Math.max(0, now - dueAt));
        if (this.policy.lists?.notice(polled.run, now) === true) this.beginPlans(lists, now);
        return { requests: 1, ...next };
      },
    };
  }

  private look(polled: Polled, now: number, lagS: number) {
    const { run, follower } = polled;
    polled.requests += 1;
    if (this.slotS > 0) this.policy.lagged?.(lagS, this.slotS);
    const fails = this.fails(now);
    const { nextAt, spareAt, updates } = follower.look({ run, now, lagS, fails });
    this.updates += updates;
    if (nextAt === null) {
      this.active -= 1;
      const { workflow, created } = run;
      this.seen.push({ workflow, created, requests: polled.requests, delayS: now - run.finished });
    }
    return { nextAt, spareAt: spareAt ?? null };
  }

  private fails(now: number): boolean {
    return this.options.fails?.(now) ?? false;
  }

  private beginPlans(lists: RunLists, now: number): void {
    this.planTask ??= this.plansOf(lists);
    const at = Math.max(now, this.plannedAt + PLAN_EVERY_S);
    if (!this.timetable.has(this.planTask) || at < this.planDueAt) {
      this.planDueAt = at;
      this.timetable.set(this.planTask, at);
    }
  }

  private plansOf(lists: RunLists): Task {
    return {
      deadline: () => -Infinity,
      act: (now) => {
        const { pages, nextAt, ...moves } = this.policy.lists!.plan(now);
        [this.plannedAt, this.planDueAt] = [now, nextAt ?? Infinity];
        this.move(moves);
        for (const name of pages) {
          const key = `${name.page} ${name.workflowId}`;
          const task = this.pages.get(key) ?? this.pageOf(name, lists);
          this.pages.set(key, task);
          this.timetable.setBy(task, now, now + name.intervalS);
        }
        return { requests: 0, nextAt };
      },
    };
  }

  private pageOf(name: TracedPageName, lists: RunLists): Task {
    return {
      isPage: true,
      deadline: (dueAt) => dueAt - PAGE_FIRST_S,
      act: (now) => {
        let requests = 0;
        const { nextAt, isGivenUp, ...moves } = this.policy.lists!.readPage(
          name,
          now,
          (of, size) => {
            requests += 1;
            const { workflowId, page } = of;
            return this.fails(now) ? null : lists.page(workflowId, { now, page, size });
          },
        );
        this.move(moves);
        if (isGivenUp === true) this.timetable.set(this.planTask!, now);
        this.listed.set(name.workflowId, (this.listed.get(name.workflowId) ?? 0) + requests);
        return { requests, nextAt };
      },
    };
  }

  private move({ woken, moved }: Moves): void {
    for (const [run, at] of moved) this.timetable.set(this.polls.get(run)!, at);
    for (const run of woken) this.timetable.wake(this.polls.get(run)!);
  }
}

export function replay(
  runs: readonly TracedRun[],
  policy: Policy,
  options?: ReplayOptions,
): Replayed {
  return new Replay(policy, options).run(runs);
}
