import {
  entriesOfRuns,
  runsText,
  watchNeeds,
  type NeedingRun,
  type WatchAttention,
} from '../../core/attention.ts';
import { inForce } from '../../core/watch/acknowledgement.ts';
import type { Watch } from '../../core/watch/watch.ts';
import type { Process } from '../../process.ts';
import { NAMED_MS, type AttentionQuery, type Found } from './found.ts';

/** Runs that are read of one kind. */
const MOST_RUNS_READ = 1_000;

/** Runs that need a person alike. */
interface FoundRuns {
  kind: WatchAttention;
  /** The longest first. */
  runs: NeedingRun[];
  /** There are more, of the same sources. */
  isCapped: boolean;
}

/**
 * Runs that need a person. A run with an expired acknowledgement does again: it is still listed among the
 * acknowledged ones, which are few.
 */
export async function runsOf(
  { linksOf, now, stores: { watches } }: Process,
  kind: WatchAttention,
  { withAcknowledged, sources, ...rest }: AttentionQuery,
): Promise<FoundRuns> {
  rest satisfies Record<string, never>;
  const at = now();
  const filter = {
    ...(sources !== undefined && { sources }),
    ...(kind === 'gone' && { since: at - NAMED_MS }),
  };
  const [open, acknowledged] = await Promise.all([
    watches.needing(kind, filter, MOST_RUNS_READ),
    watches.needing(`${kind} acknowledged`, filter, MOST_RUNS_READ),
  ]);
  const isMeant = (watch: Watch) => withAcknowledged || inForce(watch.acknowledged, at) === null;
  const again = acknowledged.items.filter(isMeant);
  const runs = [...open.items, ...again].map((watch): NeedingRun => {
    const { workflowName, runUrl } = linksOf(watch);
    const { since, message } = watchNeeds(kind, watch);
    return {
      kind,
      since,
      message,
      runId: watch.runId,
      source: watch.source,
      workflowId: watch.run?.workflow_id ?? null,
      workflowName,
      runUrl,
      acknowledged: inForce(watch.acknowledged, at),
    };
  });
  return { kind, runs, isCapped: open.isCapped || open.total > open.items.length };
}

/** An entry for each workflow. Where not all runs were read, an index counts those of each. */
export async function runsFound(
  { stores: { watches } }: Process,
  { kind, runs, isCapped }: FoundRuns,
): Promise<Found> {
  const entries = entriesOfRuns(runs);
  if (!isCapped) return { items: entries, isCapped };
  const counting = entries.map(async (item) => {
    const { source, workflowId, count, acknowledged } = item;
    if (source === undefined || !workflowId || acknowledged) return;
    const filter = { sources: [source], workflowId: [workflowId] };
    const { total } = await watches.needing(kind, filter, 0);
    if (total > count) Object.assign(item, { count: total, message: runsText(kind, total) });
  });
  await Promise.all(counting);
  return { items: entries, isCapped };
}
