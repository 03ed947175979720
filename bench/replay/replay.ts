import { Agenda } from './agenda.ts';
import type { Follower, Policy } from './policy.ts';
import type { Seen } from './summary.ts';
import type { TracedRun } from './workload.ts';

export interface ReplayOptions {
  /** Whether a read at this time fails. */
  fails?: (now: number) => boolean;
  /** Requests a second that all runs share; Infinity for as many as are wanted. */
  budgetPerS?: number;
}

export interface Replayed {
  seen: Seen[];
  /** Changes that were seen before the end. */
  updates: number;
}

/** A run that is polled. */
interface Polled {
  run: TracedRun;
  follower: Follower;
  requests: number;
  dueAt: number;
}

/**
 * Polls runs by a policy from their creation until their ends are seen, on a virtual clock. Where the
 * budget is short, the look with the earliest deadline is made first.
 */
export class Replay {
  private readonly due = new Agenda<Polled>();
  private readonly waiting = new Agenda<Polled>();
  private readonly seen: Seen[] = [];
  private readonly slotS: number;
  private updates = 0;
  /** Runs that have been created and whose end was not seen. */
  active = 0;

  constructor(
    private readonly policy: Policy,
    private readonly options: ReplayOptions = {},
  ) {
    this.slotS = 1 / (options.budgetPerS ?? Infinity);
  }

  run(runs: readonly TracedRun[]): Replayed {
    for (const run of runs) {
      const polled = { run, follower: this.policy.follow(run), requests: 0, dueAt: run.created };
      this.due.add(run.created, polled);
    }
    let now = -Infinity;
    while (this.due.size + this.waiting.size > 0) {
      if (this.waiting.size === 0) now = Math.max(now, this.due.nextAt);
      while (this.due.nextAt <= now) this.queue(this.due.take()!.item);
      this.look(this.waiting.take()!.item, now);
      now += this.slotS;
    }
    return { seen: this.seen, updates: this.updates };
  }

  private queue(polled: Polled): void {
    if (polled.requests === 0) this.active += 1;
    this.waiting.add(polled.follower.deadline(polled.dueAt), polled);
  }

  private look(polled: Polled, now: number): void {
    const { run, follower } = polled;
    polled.requests += 1;
    const lagS = now - polled.dueAt;
    if (this.slotS > 0) this.policy.lagged?.(lagS, this.slotS);
    const { nextAt, updates } = follower.look({
      run,
      now,
      lagS,
      fails: this.options.fails?.(now) ?? false,
    });
    this.updates += updates;
    if (nextAt === null) {
      this.active -= 1;
      const { workflow, created } = run;
      this.seen.push({ workflow, created, requests: polled.requests, delayS: now - run.finished });
      return;
    }
    polled.dueAt = nextAt;
    this.due.add(nextAt, polled);
  }
}

export function replay(
  runs: readonly TracedRun[],
  policy: Policy,
  options?: ReplayOptions,
): Replayed {
  return new Replay(policy, options).run(runs);
}
