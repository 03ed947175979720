import type { NeedingRun, WatchAttention } from '../attention.ts';
import { ruleWants } from '../event/patterns.ts';
import { isOfFailures, wholeWorkflowOf } from './failures.ts';
import type { Group, OpenAlert } from './group.ts';
import type { Rule } from './rule.ts';

/** The events of what needs a person. */
const EVENT_OF: Readonly<Record<WatchAttention, string>> = {
  awaiting: 'run.awaiting_human_feedback',
  stalled: 'run.stalled',
  gone: 'run.gone',
  unreachable: 'watch.unreachable',
};

const KINDS = Object.keys(EVENT_OF) as WatchAttention[];

/** What alerts of rules are about: attention shows the alerts in its place. */
export class Covered {
  private readonly workflows = new Set<string>();
  private readonly runs = new Set<string>();

  add(rule: Rule, { labels, late }: Pick<Group, 'labels' | 'late'>, open: OpenAlert): void {
    const runIds = [...open.runIds, ...Object.keys(late)];
    const place = (kind: string) => runIds.map((id) => placeOf(kind, labels['source'], id));
    const isOfDeadline = rule.condition.kind === 'deadline';
    const kinds = KINDS.filter((kind) =>
      isOfDeadline ? kind === 'stalled' : ruleWants(rule.events, EVENT_OF[kind]),
    );
    const workflow = wholeWorkflowOf(open.alert);
    const stalls = !isOfDeadline && ruleWants(rule.events, 'workflow.stalled');
    if (stalls && workflow !== null) this.workflows.add(`stalled ${workflow}`);
    for (const kind of kinds) for (const one of place(kind)) this.runs.add(one);
    if (!isOfFailures(rule)) return;
    if (workflow !== null) this.workflows.add(`failed ${workflow}`);
    for (const one of place('failed')) this.runs.add(one);
  }

  /** Whether alerts are about a run that needs a person. */
  hasRun({ kind, source, runId, workflowId }: NeedingRun): boolean {
    const workflow = wholeWorkflowOf({ labels: { source, workflow_id: workflowId ?? '' } });
    return this.workflows.has(`${kind} ${workflow}`) || this.isPlaced(kind, source, runId);
  }

  /** Whether alerts are about the workflow of failures, or about all of their runs. */
  hasFailures({ alert, runIds }: Pick<OpenAlert, 'alert' | 'runIds'>): boolean {
    const { source = '' } = alert.labels;
    const isOfAll = () => runIds.every((runId) => this.isPlaced('failed', source, runId));
    const workflow = wholeWorkflowOf(alert);
    return this.workflows.has(`failed ${workflow}`) || (runIds.length > 0 && isOfAll());
  }

  private isPlaced(kind: string, source: string, runId: string): boolean {
    const places = [placeOf(kind, source, runId), placeOf(kind, undefined, runId)];
    return places.some((place) => this.runs.has(place));
  }
}

/** A run as an alert knows it: with its source where the alert is of one. */
function placeOf(kind: string, source: string | undefined, runId: string): string {
  return JSON.stringify([kind, source ?? null, runId]);
}
