import type { WorkflowKey } from '../cadence/phase.ts';
import { valueOf } from '../records.ts';

/** The parts of a configuration by which entries of workflows are found. */
interface WorkflowEntries<Entry> {
  /** By the id of a workflow, which may have the name of a source and a slash before it. */
  workflows: Readonly<Record<string, Entry>>;
  sources: Readonly<Record<string, unknown>>;
}

/** The entry of a workflow: the one for its source alone, else the one for any source. */
export function workflowEntry<Entry>(
  { workflows, sources }: WorkflowEntries<Entry>,
  { source, workflowId }: WorkflowKey,
): Entry | undefined {
  const own = Object.hasOwn(sources, source)
    ? valueOf(workflows, `${source}/${workflowId}`)
    : undefined;
  if (own !== undefined) return own;
  const isForOneSource = sourceOfEntry(workflowId, sources) !== null;
  return isForOneSource ? undefined : valueOf(workflows, workflowId);
}

/** The source that the key of an entry names; null for an entry that is for any source. */
export function sourceOfEntry(
  key: string,
  sources: Readonly<Record<string, unknown>>,
): string | null {
  const source = key.slice(0, Math.max(0, key.indexOf('/')));
  return Object.hasOwn(sources, source) ? source : null;
}

/** The ids of workflows that have an entry. */
export function workflowsWithEntry({ workflows, sources }: WorkflowEntries<unknown>): string[] {
  const ids = Object.keys(workflows).map((key) => {
    const source = sourceOfEntry(key, sources);
    return source === null ? key : key.slice(source.length + 1);
  });
  return [...new Set(ids)];
}
