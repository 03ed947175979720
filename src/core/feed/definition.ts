import type { ListOutcome } from './run-list.ts';

/** What is read of a workflow's definition: the names of its nodes by their ids. */
export type DefinitionOutcome =
  { kind: 'definition'; names: Map<string, string> } | Exclude<ListOutcome, { kind: 'page' }>;
