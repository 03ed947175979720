import type { TracedRun } from './workload.ts';

/** A page of a list. */
export interface TracedPage {
  /** The newest first. */
  runs: TracedRun[];
  /** True where no page follows. */
  isLast: boolean;
}

/** The lists of the runs of each workflow, and of all, as Noxus shows them: those that were created. */
export class RunLists {
  /** The oldest first. */
  private readonly runs = new Map<string | null, TracedRun[]>();

  constructor(runs: readonly TracedRun[]) {
    const sorted = runs.toSorted((a, b) => a.created - b.created);
    this.runs.set(null, sorted);
    for (const run of sorted) {
      const some = this.runs.get(run.workflow) ?? [];
      some.push(run);
      this.runs.set(run.workflow, some);
    }
  }

  /** How many runs of a workflow, or with null of all, there are. */
  count(workflow: string | null): number {
    return this.runs.get(workflow)?.length ?? 0;
  }

  /** @param page from 1 */
  page(workflow: string | null, { now, page, size }: PageQuestion): TracedPage {
    const all = this.runs.get(workflow) ?? [];
    const end = createdBy(all, now) - (page - 1) * size;
    const runs = all.slice(Math.max(0, end - size), Math.max(0, end)).toReversed();
    return { runs, isLast: end <= size };
  }
}

interface PageQuestion {
  now: number;
  page: number;
  size: number;
}

function createdBy(runs: readonly TracedRun[], now: number): number {
  let [low, high] = [0, runs.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (runs[middle]!.created <= now) low = middle + 1;
    else high = middle;
  }
  return low;
}
