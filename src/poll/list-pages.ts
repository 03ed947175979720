import {
  isNextPageWorthIt,
  MAX_LIST_PAGES,
  type BatchMember,
  type BatchPlan,
} from '../core/feed/batch.ts';
import { listedAs } from '../core/feed/list-findings.ts';
import type { ListOutcome, ListQuestion, ListedRun } from '../core/feed/run-list.ts';

/** Reads pages of lists of one source. */
export interface ListReader {
  readPage(question: ListQuestion): Promise<ListOutcome>;
}

/** What a look at a list came to. */
export type ListReading =
  | ListRuns
  | Exclude<ListOutcome, { kind: 'page' }>
  /** Runs drag documents along that are too large for this to be worth it. */
  | { kind: 'too_large' };

/** The runs that were read, by {@link listedAs} and in the order of the list. */
export interface ListRuns {
  kind: 'runs';
  runs: Map<string, ListedRun>;
  pages: number;
}

interface Wanted {
  workflowId: string;
  size: number;
  members: ReadonlyMap<string, BatchMember>;
  plan: BatchPlan;
}

/** The right to read one page; one that is not used is given back. */
export interface ListPermit {
  settle(): void;
  giveBack(): void;
}

/** The part of a source's budget that looks at lists need, beyond the first page. */
export interface ListBudget {
  request(): Promise<{ settle(): void } | { heldForMs: number }>;
}

/** How a source is asked. */
export interface ListAccess {
  reader: ListReader;
  budget: ListBudget;
  /** For the first page. */
  permit: ListPermit;
}

/**
 * Reads a list from its newest page on, as far as its members make that worth it. A run that moves to
 * the next page meanwhile is seen twice, and counts as it was seen last.
 */
export async function readList(
  { workflowId, size, members, plan }: Wanted,
  { reader, budget, permit }: ListAccess,
): Promise<ListReading> {
  const runs = new Map<string, ListedRun>();
  for (let page = 1; ; page += 1) {
    const leave = page === 1 ? permit : await budget.request();
    if (!('settle' in leave)) return listRuns(runs, page - 1);
    const outcome = await reader.readPage({ workflowId, page, size });
    leave.settle();
    if (outcome.kind !== 'page') return outcome;
    if (outcome.page.isCut) return { kind: 'too_large' };
    for (const run of outcome.page.runs) runs.set(listedAs(run.id), run);
    const missing = [...members].flatMap(([id, member]) => (runs.has(id) ? [] : [member]));
    const goesOn = page < MAX_LIST_PAGES && isNextPageWorthIt(outcome.page, missing, plan);
    if (!goesOn) return listRuns(runs, page);
  }
}

function listRuns(runs: ListRuns['runs'], pages: number): ListRuns {
  return { kind: 'runs', runs, pages };
}
