import type { Config } from '../config/schema.ts';
import { dashboardUrl, fillUrl, type LinkedWatch, type LinksOf } from '../core/run/links.ts';
import type { WorkflowKey } from '../core/cadence/phase.ts';

/** The parts of the configuration that name workflows and say where runs are found. */
type LinksConfig = Pick<Config, 'sources' | 'workflows' | 'server'>;

interface RunLinksDependencies {
  config: LinksConfig;
  /** The name that Noxus gives a workflow; null where none is known. */
  learnedName: (workflow: WorkflowKey) => string | null;
}

/** The name of a workflow, and the addresses of its runs. The configuration wins over Noxus. */
export function createLinksOf({ config, learnedName }: RunLinksDependencies): LinksOf {
  const { public_url: publicUrl } = config.server;
  return (watch) => ({
    workflowName: nameOf(watch),
    runUrl: runUrlOf(config, watch),
    watchUrl: publicUrl === undefined ? null : dashboardUrl(publicUrl, watch),
  });

  function nameOf({ source, run }: LinkedWatch): string | null {
    const workflowId = run?.workflow_id ?? null;
    if (workflowId === null) return null;
    return config.workflows[workflowId]?.name ?? learnedName({ source, workflowId });
  }
}

function runUrlOf({ sources, workflows }: LinksConfig, watch: LinkedWatch): string | null {
  const own = watch.run?.workflow_id ? workflows[watch.run.workflow_id] : undefined;
  const template = own?.run_url ?? sources[watch.source]?.run_url;
  return template === undefined ? null : fillUrl(template, watch);
}
