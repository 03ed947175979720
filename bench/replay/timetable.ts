import { SURE_OF_ONE_IN } from '../../src/core/source/request-order.ts';
import { Agenda } from './agenda.ts';

/** A repeated task: polls of a run, or sweeps of a list. Times in seconds. */
export interface Task {
  /** True for a page of a list: while polls wait too, one request in so many is for pages. */
  isPage?: boolean;
  /** The latest time for a due task while requests are short. */
  deadline(dueAt: number): number;
  /**
   * @returns the number of requests, and the next due time, null for never; from `spareAt` on, the task
   * may take a request that is left over
   */
  act(
    now: number,
    dueAt: number,
  ): { requests: number; nextAt: number | null; spareAt?: number | null };
}

/** A task and its state. */
interface Entry {
  task: Task;
  dueAt: number;
  /** Its deadline while it is due and waits for its turn; null while it sleeps. */
  waits: number | null;
  /** From when on it may take a request that is left over; null for not before it is due. */
  spareAt: number | null;
}

/** Says when requests may go, where a limit is at work that has a state of its own. */
export interface Permits {
  /**
   * @param at when a request would go, s
   * @param used how many have gone since the last call
   * @returns when it may go, or when to ask again: `at` itself for now, s
   */
  goesAt(at: number, used: number): Promise<number>;
}

/** Before all others. */
const AT_ONCE = -Infinity;

/**
 * A virtual clock that runs tasks when they are due. Where the budget of requests is short, the
 * task with the earliest deadline goes first. A task that is moved leaves its old place in the
 * agenda empty.
 */
export class Timetable {
  private readonly due = new Agenda<Entry>();
  private readonly waiting = new Agenda<Entry>();
  private readonly waitingPages = new Agenda<Entry>();
  private readonly spare = new Agenda<Entry>();
  private sincePage = 0;
  /** When the last turn was, s. */
  private lastAt = -Infinity;
  private readonly entries = new Map<Task, Entry>();

  /** @param slotS the budget's time for one request, s */
  constructor(private readonly slotS: number) {}

  /** Adds a task with a due time, or moves an existing one. */
  set(task: Task, at: number): void {
    const entry = this.entries.get(task) ?? { task, dueAt: at, waits: null, spareAt: null };
    this.entries.set(task, entry);
    this.sleep(entry, at);
  }

  /** Makes a task due by a time; adds it, due now, where it is missing. */
  setBy(task: Task, now: number, at: number): void {
    const entry = this.entries.get(task);
    if (entry === undefined) this.set(task, now);
    else if (entry.waits === null && entry.dueAt > at) this.sleep(entry, at);
  }

  has(task: Task): boolean {
    return this.entries.has(task);
  }

  /** Runs an existing task at once; it counts as due at its planned time. */
  wake(task: Task): void {
    const entry = this.entries.get(task);
    if (entry !== undefined && entry.waits !== AT_ONCE) this.queue(entry, AT_ONCE);
  }

  /** Runs until no task is left; requests go one after the other, each with its slot. */
  run(): void {
    const turns = this.turns();
    let freeAt = -Infinity;
    for (let turn = turns.next(); turn.done !== true;) {
      const { at, used } = turn.value;
      if (used > 0) freeAt = this.lastAt + this.slotS * used;
      turn = turns.next(Math.max(at, freeAt));
    }
  }

  /** Runs until no task is left; requests go as permits allow. */
  async runBy(permits: Permits): Promise<void> {
    const turns = this.turns();
    for (let turn = turns.next(); turn.done !== true;) {
      const { at, used } = turn.value;
      turn = turns.next(await permits.goesAt(at, used));
    }
  }

  /** Yields when a request would go, and how many have gone since; takes when it may go. */
  private *turns(): Generator<{ at: number; used: number }, void, number> {
    let now = -Infinity;
    let used = 0;
    while (this.due.size + this.waiting.size + this.waitingPages.size > 0) {
      if (this.waiting.size + this.waitingPages.size === 0) {
        now = Math.max(now, Math.min(this.due.nextAt, this.spare.nextAt));
      }
      while (this.due.nextAt <= now) this.fallDue();
      const goesAt = yield { at: now, used };
      used = 0;
      if (goesAt > now) {
        now = goesAt;
      } else {
        used = this.next(now);
        this.lastAt = now;
      }
    }
  }

  private sleep(entry: Entry, at: number, spareAt: number | null = null): void {
    entry.dueAt = at;
    entry.waits = null;
    entry.spareAt = spareAt !== null && spareAt < at ? spareAt : null;
    this.due.add(at, entry);
    if (entry.spareAt !== null) this.spare.add(entry.spareAt, entry);
  }

  private queue(entry: Entry, deadline: number): void {
    entry.waits = deadline;
    (entry.task.isPage === true ? this.waitingPages : this.waiting).add(deadline, entry);
  }

  private fallDue(): void {
    const { at, item } = this.due.take()!;
    if (item.waits === null && item.dueAt === at) this.queue(item, item.task.deadline(at));
  }

  private takeNext() {
    const { waiting, waitingPages } = this;
    const isPagesTurn = this.sincePage >= SURE_OF_ONE_IN - 1 && waitingPages.size > 0;
    if (isPagesTurn || waitingPages.nextAt < waiting.nextAt) {
      this.sincePage = 0;
      return waitingPages.take();
    }
    this.sincePage += 1;
    return waiting.take();
  }

  /** What may take a request that is left over, if that is so. */
  private takeSpare(now: number): Entry | undefined {
    while (this.spare.nextAt <= now) {
      const { at, item } = this.spare.take()!;
      if (item.waits === null && item.spareAt === at) return item;
    }
    return undefined;
  }

  /** @returns how many requests were sent */
  private next(now: number): number {
    const taken = this.takeNext();
    if (taken !== undefined && taken.item.waits !== taken.at) return 0;
    const entry = taken?.item ?? this.takeSpare(now);
    if (entry === undefined) return 0;
    const { requests, nextAt, spareAt } = entry.task.act(now, Math.min(entry.dueAt, now));
    if (nextAt !== null) {
      this.sleep(entry, nextAt, spareAt);
    } else {
      entry.waits = NaN;
      this.entries.delete(entry.task);
    }
    return requests;
  }
}
