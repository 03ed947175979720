import { isoTime } from '../../src/core/event.ts';
import type { ListOutcome, ListQuestion, ListedRun } from '../../src/core/run-list.ts';
import { NOON } from './builders.ts';

/** A list of runs in memory, the newest first by their creation, and what may happen to it. */
export class ListWorld {
  /** Requests so far, by page. */
  readonly pages: number[] = [];
  /** What happens next, one thing before each page is read. */
  readonly plan: (() => void)[] = [];
  /** What reads come to in place of a page. */
  answer: ListOutcome | null = null;
  /** True for a list of another order than is expected. */
  isOldestFirst = false;
  #runs: ListedRun[] = [];
  #created = 0;

  /** Begins runs, each so long after noon by the clock of whoever creates it, s. */
  begin(count: number, createdAtS: number): string[] {
    return Array.from({ length: count }, (_, index) => {
      const id = `run-${(this.#created += 1)}`;
      const created_at = isoTime(NOON + createdAtS * 1_000 + index);
      const run = { workflow_id: 'workflow-1', status: 'running', progress: 0, finished_at: null };
      this.#runs.unshift({ ...run, id, created_at });
      return id;
    });
  }

  /** Deletes the newest runs, so that all others move up. @returns their ids */
  deleteNewest(count: number): string[] {
    this.#sort();
    return this.#runs.splice(0, count).map(({ id }) => id);
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
    const runs = sorted.slice((page - 1) * size, page * size);
    return {
      kind: 'page',
      page: { runs, isLast: page * size >= this.#runs.length, isCut: false },
    };
  }

  /** Stable, as the list of Noxus is: of two that were created at once the later comes first. */
  #sort(): void {
    this.#runs.sort((a, b) => Date.parse(b.created_at!) - Date.parse(a.created_at!));
  }
}
