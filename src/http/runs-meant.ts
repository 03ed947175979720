import type { WatchKey } from '../core/watch/watch.ts';
import type { Process } from '../process.ts';
import { idProblemOf, runKeysOf } from '../watches/run-keys.ts';
import { invalid } from './problem.ts';

/** A filter by the id of a run. */
interface RunIdFilter {
  /** Absent, all runs are meant. */
  runId: string | undefined;
  /** Those that may be meant; absent, all that are configured or have watches. */
  sources: readonly string[] | undefined;
}

/**
 * The runs that the id of a filter means: one of each source that can have it.
 * Throws InvalidRequest where none can.
 */
export async function runsMeant(
  process: Process,
  { runId, sources }: RunIdFilter,
): Promise<WatchKey[] | undefined> {
  if (runId === undefined) return undefined;
  const asked = sources ?? (await allSources(process));
  const runs = runKeysOf(process, asked, runId);
  if (runs.length === 0) throw invalid('query.run_id', idProblemOf(process, asked, runId));
  return runs;
}

async function allSources({ config, stores }: Process): Promise<string[]> {
  const stored = await stores.watches.sources();
  return [...new Set([...Object.keys(config.sources), ...stored])];
}
