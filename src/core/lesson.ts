/**
 * How long something lasted, as far as it was watched. A stay that was watched from its middle on says
 * nothing about its first half, and one that was left before it ended only that it lasted so long.
 */
export interface Stay {
  /** Age of the state when watching began, seconds. */
  fromS: number;
  /** Age of the state when it ended, or when watching did, seconds. */
  toS: number;
  /** False where watching stopped before the state ended (censored). */
  ended: boolean;
}

/** One stay of a run in one state: what statistics are made of. */
export interface Lesson extends Stay {
  source: string;
  workflowId: string;
  /** The state's name within its workflow, such as `running/30`; null for the workflow as a whole. */
  state: string | null;
}
