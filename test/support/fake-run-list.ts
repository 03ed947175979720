import { isoTime } from '../../src/core/event/event.ts';
import type { ListOutcome, ListQuestion, ListedRun } from '../../src/core/feed/run-list.ts';
import { NOON } from './builders.ts';

/** A list of runs in memory, newest first by creation, with the changes that may happen to it. */
export class FakeRunList {
  /** Requests so far, by page. */
  readonly pages: number[] = [];
  /** Changes to come, one before each page is read. */
  readonly plan: (() => void)[] = [];
  /** The result of every read, in place of a page. */
  answer: ListOutcome | null = null;
  /** True for a list in the unexpected order. */
  isOldestFirst = false;
  /** True for a list of which only the newest page can be read. */
  isNewestOnly = false;
  /** No page gives more runs than this, as where they are large. */
  most = Infinity;
  #runs: ListedRun[] = [];
  #created = 0;
  /** Whether runs stay where they are. */
  #isSorted = false;

  /** Begins runs, each this long after noon by the clock of its creator, s. */
  begin(count: number, createdAtS: number, status = 'running'): string[] {
    return Array.from({ length: count }, (_, index) => {
      const id = `run-${(this.#created += 1)}`;
      const created_at = isoTime(NOON + createdAtS * 1_000 + index);
      const run = { workflow_id: 'workflow-1', status, progress: 0 };
      this.#runs.unshift({ ...run, id, created_at });
      return id;
    });
  }

  /** Gives a run another time of its creation, and leaves all where they are. */
  redate(id: string, createdAtS: number): void {
    this.#sort();
    this.#isSorted = true;
    const run = this.#runs.find((one) => one.id === id);
    if (run !== undefined) run.created_at = isoTime(NOON + createdAtS * 1_000);
  }

  /** Deletes the newest runs, so that all others move up. @returns their ids */
  deleteNewest(count: number): string[] {
    this.#sort();
    return this.#runs.splice(0, count).map(({ id }) => id);
  }

  /** Gives a run another status. */
  move(id: string, status: string): void {
    const run = this.#runs.find((one) => one.id === id);
    if (run !== undefined) run.status = status;
  }

  get ids(): string[] {
    return this.#runs.map(({ id }) => id);
  }

  readPage({ page, size }: ListQuestion): ListOutcome {
    this.plan.shift()?.();
    this.pages.push(page);
    if (this.answer !== null) return this.answer;
    this.#sort();
    const sorted = this.isOldestFirst ? this.#runs.toReversed() : this.#runs;
    const runs = sorted.slice((page - 1) * size, page * size).slice(0, this.most);
    const isCut = runs.length < Math.min(size, sorted.length - (page - 1) * size);
    const isLast = !this.isNewestOnly && !isCut && page * size >= sorted.length;
    return { kind: 'page', page: { runs, isLast, isCut, bytes: 0 } };
  }

  /** Stable, as Noxus's list is: of two runs created at once the later comes first. */
  #sort(): void {
    if (this.#isSorted) return;
    this.#runs.sort((a, b) => Date.parse(b.created_at!) - Date.parse(a.created_at!));
  }
}
