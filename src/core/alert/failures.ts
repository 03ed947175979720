import type { WorkflowKey } from '../cadence/phase.ts';
import { ruleWants } from '../event/patterns.ts';
import type { Alert } from './alert.ts';
import { defaultResolution, unconfiguredRule, type Rule } from './rule.ts';

/*
 * Failures need a person without any rule, too. One rule that no configuration holds makes an alert of those of
 * each workflow: the bounds, the purge, reloads and restarts of alerts hold for it. It sends nothing and counts
 * nothing, and only attention shows it.
 */

/** The name of that rule, which no rule of a configuration can have. */
export const FAILURES = '/failures';

/** Whether a rule, by its name, is for attention alone: users see no alert of it, and it sends and counts nothing. */
export function isSilent(rule: string): boolean {
  return rule === FAILURES;
}

const events = ['run.failed'];
const groupBy = ['source', 'workflow_id'];
const groupIntervalMs = 300_000;

export const FAILURES_RULE: Rule = unconfiguredRule({
  name: FAILURES,
  events,
  groupBy,
  // Nothing is sent, so that an earlier step for that would be in vain.
  groupWaitMs: groupIntervalMs,
  groupIntervalMs,
  repeatIntervalMs: Infinity,
  maxRuns: 10,
  condition: { kind: 'each' },
  resolve: defaultResolution({ events, groupBy, groupIntervalMs }),
  severity: 'error',
});

/** The labels of the failures of a workflow, or of the runs of a source that are of none. */
export function failuresLabels({
  source,
  workflowId,
}: Pick<WorkflowKey, 'source'> & { workflowId: string | null }): Record<string, string> {
  return { source, workflow_id: workflowId ?? '' };
}

/** Whether a rule makes alerts of failures. */
export function isOfFailures(rule: Pick<Rule, 'events' | 'condition'> | undefined): boolean {
  const kind = rule?.condition.kind ?? 'absent';
  if (rule === undefined || kind === 'absent' || kind === 'deadline' || kind === 'digest') {
    return false;
  }
  return ruleWants(rule.events, 'run.failed');
}

/** The workflow that an alert is about as a whole, as a text; null for any other group. */
export function wholeWorkflowOf({ labels }: Pick<Alert, 'labels'>): string | null {
  const { source, workflow_id: workflowId, ...others } = labels;
  const isWhole = source !== undefined && workflowId !== undefined;
  return isWhole && Object.keys(others).length === 0 ? JSON.stringify([source, workflowId]) : null;
}
