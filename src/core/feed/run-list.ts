import type { FetchTrouble, RunSnapshot } from '../run/snapshot.ts';

/** A list of runs of a source. */
export interface RunList {
  source: string;
  /** Null for the list of the runs of all workflows. */
  workflowId: string | null;
}

/** Which page of which list to read. */
export interface ListQuestion {
  /** Null for the runs of all workflows of the source. */
  workflowId: string | null;
  /** From 1; the newest runs are on the first. */
  page: number;
  /** Runs on a page, at most as many as the traits of the source say. */
  size: number;
}

/** What a list shows of a run: a hint that it may have changed, never a fact. */
export type ListedRun = Pick<
  RunSnapshot,
  'id' | 'workflow_id' | 'status' | 'progress' | 'created_at' | 'attempt'
>;

/** One page of a list of runs. */
export interface RunPage {
  /** In the order of the list: newest first, as far as the source keeps to it. */
  runs: ListedRun[];
  /** True where no page follows. */
  isLast: boolean;
  /**
   * True where the answer was too large, so that only its first runs were read. A page of that size
   * would have fit.
   */
  isCut: boolean;
  /** How many bytes the answer had. */
  bytes: number;
}

/** The result of one read of a page. */
export type ListOutcome =
  | { kind: 'page'; page: RunPage }
  /** 403, 404 and the like: the runs of this source, or workflow, cannot be listed. */
  | { kind: 'not_offered'; status: number; message: string }
  | FetchTrouble;
