import type { ListOutcome } from './run-list.ts';

/** Which page of the list of workflows to read. */
export interface WorkflowsQuestion {
  /** From 1. */
  page: number;
  /** Workflows on a page. */
  size: number;
}

/** What is read of a workflow. */
export interface NamedWorkflow {
  id: string;
  name: string;
}

/** One page of the list of workflows. */
export interface WorkflowPage {
  workflows: NamedWorkflow[];
  /** How many the page had, those without a name included. */
  items: number;
  /** True where no page follows. */
  isLast: boolean;
  /** True where the answer was too large, so that only its first workflows were read. */
  isCut: boolean;
}

/** The result of one read of a page. */
export type WorkflowListOutcome = { kind: 'page'; page: WorkflowPage } | NoPage;

type NoPage = Exclude<ListOutcome, { kind: 'page' }>;

/** What is read of a workflow's definition: the names of its nodes by their ids. */
export type DefinitionOutcome = { kind: 'definition'; names: Map<string, string> } | NoPage;
