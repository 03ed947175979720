/**
 * A duration sample: how long something lasted, as far as it was watched. Watching that began late
 * says nothing about the time before. Watching that stopped early gives only a lower bound.
 */
export interface Stay {
  /** Age of the state when watching began, seconds. */
  fromS: number;
  /** Age of the state when it ended, or when watching stopped, seconds. */
  toS: number;
  /** False where watching stopped before the state ended (censored). */
  ended: boolean;
}

/** A duration sample of one state; statistics are made of these. */
export interface Lesson extends Stay {
  source: string;
  workflowId: string;
  /**
   * The state's name within its workflow, such as `running/30`; null for the workflow as a whole.
   */
  state: string | null;
}
