import { canonicalRunId } from '../core/run/snapshot.ts';
import type { SourceTraits } from '../core/source/traits.ts';
import type { WatchKey } from '../core/watch/watch.ts';

/** Says what a source is by its name; null for one that is not configured any more. */
export interface KnownSources {
  traitsOf(source: string): Pick<SourceTraits, 'idProblem' | 'canonicalId'> | null;
}

/**
 * The runs that an id may be of: one of each source that can have it. Of a source that is not configured any
 * more, it may have been written in another case.
 */
export function runKeysOf(
  known: KnownSources,
  sources: readonly string[],
  runId: string,
): WatchKey[] {
  return sources.flatMap((source) => {
    const traits = known.traitsOf(source);
    if (traits === null) {
      return [...new Set([runId, canonicalRunId(runId)])].map((id) => ({ source, runId: id }));
    }
    return traits.idProblem(runId) === null ? [{ source, runId: traits.canonicalId(runId) }] : [];
  });
}

/** Why no run of these sources can have an id. */
export function idProblemOf(
  known: KnownSources,
  sources: readonly string[],
  runId: string,
): string {
  const problems = new Map<string, string[]>();
  for (const source of sources) {
    const problem = known.traitsOf(source)?.idProblem(runId) ?? null;
    if (problem !== null) problems.set(problem, [...(problems.get(problem) ?? []), source]);
  }
  const [[only] = ['no source is configured'], ...others] = problems;
  if (others.length === 0) return only;
  return [...problems].map(([problem, names]) => `${names.join(', ')}: ${problem}`).join('; ');
}
