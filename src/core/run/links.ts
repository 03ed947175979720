import type { WatchKey } from '../watch/watch.ts';
import type { RunSnapshot } from './snapshot.ts';

/** The name of a run's workflow, and where users find the run; null where nothing is known. */
export interface RunLinks {
  workflowName: string | null;
  /** The run in Noxus. */
  runUrl: string | null;
  /** The run in the dashboard. */
  watchUrl: string | null;
}

/** The parts of a watch that its links are made of. `run` is null before the first snapshot. */
export interface LinkedWatch extends WatchKey {
  run: Pick<RunSnapshot, 'id' | 'workflow_id' | 'group_id'> | null;
}

export type LinksOf = (watch: LinkedWatch) => RunLinks;

const NO_LINKS: RunLinks = { workflowName: null, runUrl: null, watchUrl: null };

/** Where nothing is configured. */
export const noLinks: LinksOf = () => NO_LINKS;

/** What a template of run URLs may hold in braces. */
export const URL_PLACEHOLDERS = ['run_id', 'workflow_id', 'group_id'] as const;

/**
 * Fills the placeholders of a template such as `https://app.example/{workflow_id}/{run_id}`.
 * @returns null where the template needs an id that is not known
 */
export function fillUrl(template: string, { runId, run }: LinkedWatch): string | null {
  const values: Record<string, string | null> = {
    run_id: run?.id ?? runId,
    workflow_id: run?.workflow_id ?? null,
    group_id: run?.group_id ?? null,
  };
  let isComplete = true;
  const url = template.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const value = values[name] ?? null;
    if (value === null) isComplete = false;
    return encodeURIComponent(value ?? '');
  });
  return isComplete ? url : null;
}

/** The page of a run in the dashboard. */
export function dashboardUrl(publicUrl: string, { source, runId }: WatchKey): string {
  const path = `runs/${encodeURIComponent(source)}/${encodeURIComponent(runId)}`;
  return `${publicUrl.replace(/\/+$/, '')}/${path}`;
}
