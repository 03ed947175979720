/** How the runs of a source are listed. */
export interface ListTraits {
  /** The largest page that it gives. */
  readonly pageSize: number;
  /** How many pages can be read: 1 where only the newest can. */
  readonly pages: number;
  /** Whether each workflow has a list of its own, beside that of the source. */
  readonly byWorkflow: boolean;
  /** Whether a run that has ended never goes on: then a list that shows it going on is wrong. */
  readonly endsAreFinal: boolean;
  /** Whether lists stand in for polls; else they serve discovery alone. */
  readonly standIn: boolean;
}

/**
 * What a source is and can be asked, by its configuration alone. What uses a source goes by these, and asks
 * for nothing that it cannot do.
 */
export interface SourceTraits {
  /** What texts call it: the name of its product where that is known, else that of the source. */
  readonly label: string;
  /** What the id of a run looks like, for messages: follows "expected". */
  readonly idShape: string;
  /** Why no run of it can have this id, as a message; null where one can. */
  idProblem(runId: string): string | null;
  /** The one spelling of an id that a run of it can have. */
  canonicalId(runId: string): string;
  /** The names of the parts that an id is made of, joined by slashes; empty where it has none. */
  readonly idParts: readonly string[];
  /** The run id in a URL of its own pages or API; null for none. */
  idInUrl(url: URL): string | null;
  /** Null where its runs cannot be listed: then nothing is discovered, and each run is polled by itself. */
  readonly lists: ListTraits | null;
  /** Whether a request shows that it answers without asking for a run. */
  readonly probes: boolean;
  /** Whether it tells a run that waits for a person from others. */
  readonly waits: boolean;
  /** Whether runs have streams of their events. */
  readonly streams: boolean;
  /** Whether it gives names of workflows and nodes. */
  readonly names: boolean;
  /** Whether a read of a run may take a second request. Its permit is taken with that of the first. */
  readonly mayReadTwice: boolean;
  /** Whether it counts the attempts of a run, which may live again after its end. */
  readonly attempts: boolean;
  /** Whether a run can be stopped. */
  readonly stop: boolean;
}
