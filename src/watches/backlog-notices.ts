import { isoTime } from '../core/event/event.ts';
import { MOST_SINGLE, type BacklogNotice } from '../core/watch/backlog.ts';
import type { BacklogNotices } from '../redis/stores/backlog-store.ts';
import type { SystemEvents } from '../daemon/system-events.ts';
import type { Process } from '../process.ts';

/** Notifies configured endpoints of backlogs: many stalled runs of a workflow, as one event. */
export function backlogNotices(
  process: Process,
  systemEvents: Pick<SystemEvents, 'plan'>,
): BacklogNotices {
  const { endpoints, log } = process;
  return {
    reach: (endpoint, workflow) =>
      endpoints.wantingSystemEvent('workflow.stalled', workflow).includes(endpoint),
    plan: (notice) => systemEvents.plan({ type: notice.type, data: dataOf(notice, process) }),
    raised(notice) {
      const level = notice.type === 'workflow.stalled' ? 'warn' : 'info';
      log[level](dataOf(notice, process), notice.type);
    },
  };
}

/** The remedy in each event. @param label what texts call the source */
const HELP: Record<BacklogNotice['type'], (label: string) => string> = {
  'workflow.stalled': (label) =>
    `look in ${label} for what its runs wait for; \`runwatch attention\` names those that are stalled`,
  'workflow.recovered': () => 'nothing: its stalled runs have an event each again',
};

function dataOf(
  { type, workflow: { source, workflowId }, status, count, inStatus, since }: BacklogNotice,
  process: Pick<Process, 'linksOf' | 'labelOf'>,
): Record<string, unknown> {
  const run = { id: '', workflow_id: workflowId, group_id: null };
  const most = type === 'workflow.stalled' ? 'More than' : 'At most';
  return {
    source,
    workflow_id: workflowId,
    workflow_name: process.linksOf({ source, runId: '', run }).workflowName,
    state: status,
    count,
    in_state: inStatus,
    since: isoTime(since),
    message: `${most} ${MOST_SINGLE} runs are stalled, most of them ${status}`,
    help: HELP[type](process.labelOf(source)),
  };
}
