import type { ListKey } from '../core/feed/list-standing.ts';
import type { Watch } from '../core/watch/watch.ts';

/** Most workflows that one process keeps an eye on; those spotted longest ago go first. */
const MAX_WORKFLOWS = 10_000;

/** How often at most a workflow is found to have several runs, ms. */
const SPOT_EVERY_MS = 10_000;

interface Spotted {
  /** The run that was polled last. */
  runId: string;
  /** When a list was last called for, on the clock of `now`. */
  at: number;
}

/**
 * Notices, from the polls that go by in this process, that several runs of one workflow are watched.
 * Keeps nothing elsewhere and asks nobody, so that it adds nothing to the cost of a poll.
 * Returns a function that names the list worth a look, null where there is none or it was named just
 * before.
 */
export function createListSpotter(now: () => number) {
  const workflows = new Map<string, Spotted>();

  return function spot({ source, runId, state, run }: Watch): ListKey | null {
    if (state !== 'active' || run === null || run.workflow_id === null) return null;
    const workflowId = run.workflow_id;
    const name = `${source}/${workflowId}`;
    const known = workflows.get(name);
    const isSeveral = known !== undefined && known.runId !== runId;
    const isDue = isSeveral && now() - known.at >= SPOT_EVERY_MS;
    // Set anew, it is the last to go.
    workflows.delete(name);
    workflows.set(name, { runId, at: isDue ? now() : (known?.at ?? -Infinity) });
    if (workflows.size > MAX_WORKFLOWS) dropOldest(workflows);
    return isDue ? { source, workflowId } : null;
  };
}

function dropOldest(workflows: Map<string, Spotted>): void {
  const [oldest] = workflows.keys();
  if (oldest !== undefined) workflows.delete(oldest);
}
