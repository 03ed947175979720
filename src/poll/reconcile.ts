import { watchId, type WatchKey } from '../core/watch.ts';

/** Watches compared with their jobs in one go: the queue's lists are read once for all of them. */
const CHUNK = 20_000;

interface ActiveWatches {
  active(chunk: number): AsyncIterable<WatchKey[]>;
}

interface PollJobs {
  withoutJob(ids: string[]): Promise<string[]>;
  ensure(ids: string[]): Promise<void>;
}

interface ReconcileDependencies {
  watches: ActiveWatches;
  /** Undefined for a source that is configured no more. */
  jobsOf: (source: string) => PollJobs | undefined;
}

/** What a comparison of watches and jobs found. */
export interface ReconcileReport {
  active: number;
  /** Watches that had no live poll job and have one now. */
  mended: number;
}

/**
 * Compares active watches with poll jobs and gives a job to each watch that has none. The other way
 * needs no search: a job whose watch is not active ends itself when it runs.
 */
export function createReconcile({ watches, jobsOf }: ReconcileDependencies) {
  return async function reconcile(): Promise<ReconcileReport> {
    const report = { active: 0, mended: 0 };
    for await (const chunk of watches.active(CHUNK)) {
      report.active += chunk.length;
      for (const [source, keys] of groupBySource(chunk)) {
        const jobs = jobsOf(source);
        if (jobs === undefined) continue;
        const absent = await jobs.withoutJob(keys.map(watchId));
        await jobs.ensure(absent);
        report.mended += absent.length;
      }
    }
    return report;
  };
}

/** Splits watches by their source. */
export function groupBySource<Key extends WatchKey>(keys: Key[]): Map<string, Key[]> {
  const groups = new Map<string, Key[]>();
  for (const key of keys) {
    const group = groups.get(key.source);
    if (group) group.push(key);
    else groups.set(key.source, [key]);
  }
  return groups;
}
