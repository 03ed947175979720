/**
 * The requests that a source is sent, as metrics count them: for one run, a page of a list of runs or
 * workflows, one workflow, an event stream, or the stop of a run.
 */
export type RequestKind = 'run' | 'list' | 'workflow' | 'stream' | 'stop';

/** One request as it went over the wire. */
export interface RequestReport {
  kind: RequestKind;
  /** Null where no answer came. */
  status: number | null;
}
