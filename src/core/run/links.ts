import { withoutEndSlash } from '../end-slash.ts';
import type { WorkflowKey } from '../cadence/phase.ts';
import type { WatchKey } from '../watch/watch.ts';
import { parseIdTemplate, splitId, type IdTemplate } from '../source/run-template.ts';
import { ID_PATTERN } from './id.ts';
import type { RunSnapshot } from './snapshot.ts';
import { workflowEntry } from './workflow-entry.ts';

/** The name of a run's workflow, and where users find the run; null where nothing is known. */
export interface RunLinks {
  workflowName: string | null;
  /** The run in the app of its source. */
  runUrl: string | null;
  /** The run in the dashboard. */
  watchUrl: string | null;
}

/** The parts of a watch that its links are made of. `run` is null before the first snapshot. */
interface LinkedWatch extends WatchKey {
  run: Pick<RunSnapshot, 'id' | 'workflow_id' | 'group_id'> | null;
}

export type LinksOf = (watch: LinkedWatch) => RunLinks;

const NO_LINKS: RunLinks = { workflowName: null, runUrl: null, watchUrl: null };

/** Where nothing is configured. */
export const noLinks: LinksOf = () => NO_LINKS;

/** What a template of run URLs may hold in braces. */
export const URL_PLACEHOLDERS = ['run_id', 'workflow_id', 'group_id'] as const;

/**
 * Fills the placeholders of a template such as `https://app.example/{workflow_id}/{run_id}`. Slashes of an id
 * are kept in its path, since an encoded one is another path to most servers; elsewhere they are encoded.
 * @returns null where the template needs an id that is not known
 */
function fillUrl(
  template: string,
  { runId, run }: LinkedWatch,
  idTemplate: IdTemplate | null,
): string | null {
  const values: Record<string, string | null> = {
    run_id: run?.id ?? runId,
    workflow_id: run?.workflow_id ?? null,
    group_id: run?.group_id ?? null,
    ...(idTemplate !== null && splitId(idTemplate, runId)),
  };
  let isComplete = true;
  const { start, end } = pathIn(template);
  const url = template.replaceAll(/\{(\w+)\}/g, (_, name: string, at: number) => {
    const value = values[name] ?? null;
    if (value === null) isComplete = false;
    const encoded = encodeURIComponent(value ?? '');
    const keepsSlashes = at > start && at < end && ID_PATTERN.test(value ?? '');
    return keepsSlashes ? encoded.replaceAll('%2F', '/') : encoded;
  });
  return isComplete ? url : null;
}

/** Where the path of a URL begins and ends. */
function pathIn(template: string): { start: number; end: number } {
  const { 0: whole = '', 1: origin = '' } = /^(\w+:\/\/[^/?#]*)[^?#]*/.exec(template) ?? [];
  return { start: origin.length, end: whole.length };
}

/** The page of a run in the dashboard. */
export function dashboardUrl(publicUrl: string, { source, runId }: WatchKey): string {
  const path = `runs/${encodeURIComponent(source)}/${encodeURIComponent(runId)}`;
  return `${withoutEndSlash(publicUrl)}/${path}`;
}

/** The page of a batch in the dashboard, by its id: its name may come to stand for a later one. */
export function batchPageUrl(publicUrl: string, { id }: { id: string }): string {
  return `${withoutEndSlash(publicUrl)}/batches/${id}`;
}

/** The parts of the configuration that name workflows and say where runs are found. */
interface LinksConfig {
  /** With `id`, the template of ids, where they have parts. */
  sources: Readonly<Record<string, { run_url?: string | undefined; id?: string | undefined }>>;
  workflows: Readonly<Record<string, { name?: string | undefined; run_url?: string | undefined }>>;
  server: { public_url?: string | undefined };
}

interface LinksOptions {
  config: LinksConfig;
  /** The name that the source gives a workflow; null where none is known. */
  learnedName: (workflow: WorkflowKey) => string | null;
}

/** The name of a workflow, and the addresses of its runs. The configuration wins over the source. */
export function createLinksOf({ config, learnedName }: LinksOptions): LinksOf {
  const { public_url: publicUrl } = config.server;
  return (watch) => ({
    workflowName: nameOf(watch),
    runUrl: runUrlOf(config, watch),
    watchUrl: publicUrl === undefined ? null : dashboardUrl(publicUrl, watch),
  });

  function nameOf({ source, run }: LinkedWatch): string | null {
    const workflowId = run?.workflow_id ?? null;
    if (workflowId === null) return null;
    const workflow = { source, workflowId };
    return workflowEntry(config, workflow)?.name ?? learnedName(workflow);
  }
}

function runUrlOf(config: LinksConfig, watch: LinkedWatch): string | null {
  const { source, run } = watch;
  const workflowId = run?.workflow_id ?? null;
  const own = workflowId === null ? undefined : workflowEntry(config, { source, workflowId });
  const { run_url: usual, id } = config.sources[source] ?? {};
  const template = own?.run_url ?? usual;
  const idTemplate = id === undefined ? null : parseIdTemplate(id);
  return template === undefined ? null : fillUrl(template, watch, idTemplate);
}
