import { Agenda } from './agenda.ts';

/** Something that is done time and again: polls of a run, or looks at a list. Times in seconds. */
export interface Task {
  /** By when what is due should be done, where requests are short. */
  deadline(dueAt: number): number;
  /** @returns how many requests it took, and when it is due again; null for never */
  act(now: number, dueAt: number): { requests: number; nextAt: number | null };
}

/** A task, and where it stands. */
interface Entry {
  task: Task;
  dueAt: number;
  /** Its deadline while it is due and waits for its turn; null while it sleeps. */
  waits: number | null;
}

/** Before all others. */
const AT_ONCE = -Infinity;

/**
 * A virtual clock that does tasks when they are due. Where the budget of requests is short, the one with
 * the earliest deadline goes first. A task that is moved leaves its old place in the agenda empty.
 */
export class Timetable {
  private readonly due = new Agenda<Entry>();
  private readonly waiting = new Agenda<Entry>();
  private readonly entries = new Map<Task, Entry>();

  /** @param slotS how long the budget has for one request, s */
  constructor(private readonly slotS: number) {}

  /** Adds a task that is due at a time, or moves the one that is there. */
  set(task: Task, at: number): void {
    const entry = this.entries.get(task) ?? { task, dueAt: at, waits: null };
    this.entries.set(task, entry);
    this.sleep(entry, at);
  }

  has(task: Task): boolean {
    return this.entries.has(task);
  }

  /** Has a task done at once that is there; it counts as due when it was set to be. */
  wake(task: Task): void {
    const entry = this.entries.get(task);
    if (entry !== undefined && entry.waits !== AT_ONCE) this.queue(entry, AT_ONCE);
  }

  /** Goes on until nothing is left to be done. */
  run(): void {
    let now = -Infinity;
    while (this.due.size + this.waiting.size > 0) {
      if (this.waiting.size === 0) now = Math.max(now, this.due.nextAt);
      while (this.due.nextAt <= now) this.fallDue();
      now += this.slotS * this.next(now);
    }
  }

  private sleep(entry: Entry, at: number): void {
    entry.dueAt = at;
    entry.waits = null;
    this.due.add(at, entry);
  }

  private queue(entry: Entry, deadline: number): void {
    entry.waits = deadline;
    this.waiting.add(deadline, entry);
  }

  private fallDue(): void {
    const { at, item } = this.due.take()!;
    if (item.waits === null && item.dueAt === at) this.queue(item, item.task.deadline(at));
  }

  /** @returns how many requests were sent */
  private next(now: number): number {
    const taken = this.waiting.take();
    if (taken === undefined || taken.item.waits !== taken.at) return 0;
    const { item: entry } = taken;
    const { requests, nextAt } = entry.task.act(now, entry.dueAt);
    if (nextAt !== null) {
      this.sleep(entry, nextAt);
    } else {
      entry.waits = NaN;
      this.entries.delete(entry.task);
    }
    return requests;
  }
}
