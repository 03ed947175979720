import type { LinksOf } from '../core/run/links.ts';
import type { WorkflowService } from '../http/services.ts';
import type { RunFiguresStore } from '../redis/stores/run-figures-store.ts';

/** How far back figures go where a request does not say. */
const USUAL_MS = 86_400_000;

interface WorkflowServiceDependencies {
  runFigures: Pick<RunFiguresStore, 'since'>;
  linksOf: LinksOf;
  now: () => number;
}

export function createWorkflowService(deps: WorkflowServiceDependencies): WorkflowService {
  const nameOf = (source: string, workflowId: string) =>
    deps.linksOf({ source, runId: '', run: { id: '', workflow_id: workflowId, group_id: null } })
      .workflowName;

  return {
    async list({ since = { agoMs: USUAL_MS }, sources }) {
      const now = deps.now();
      const from = 'at' in since ? since.at : now - since.agoMs;
      const found = await deps.runFigures.since(from, now);
      const workflows = found.workflows
        .filter(({ source }) => sources?.includes(source) ?? true)
        .map((one) => Object.assign(one, { name: nameOf(one.source, one.workflowId) }));
      return { since: found.since, workflows };
    },
  };
}
