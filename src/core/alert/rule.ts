import { createHash } from 'node:crypto';
import { matchesWatch, ruleWants, type WatchMatch } from '../event/patterns.ts';
import type { DigestSchedule, NamedInterval } from './time-interval.ts';
import { valueOf } from '../records.ts';

export const SEVERITIES = ['critical', 'error', 'warning', 'info'] as const;

export type Severity = (typeof SEVERITIES)[number];

/** When a rule's alerts fire. */
export type Condition =
  /** At each matching event. */
  | { kind: 'each' }
  /** At so many matching events within a time. */
  | { kind: 'count'; count: number; withinMs: number }
  /** At so many matching runs in a row. */
  | { kind: 'consecutive'; count: number }
  /** When this share of the last runs matches. */
  | { kind: 'rate'; rate: number; ofLast: number; atLeast: number }
  /** When no such event comes for that long. */
  | { kind: 'absent'; event: string; withinMs: number }
  /** When a run is not terminal by then. */
  | { kind: 'deadline'; reference: 'created_at' | 'started_at'; limit: DeadlineLimit }
  /** Never at once: one notification a day covers all that matched. */
  | { kind: 'digest'; schedule: DigestSchedule };

/** How long a run may take. */
type DeadlineLimit =
  | { kind: 'interval'; ms: number }
  /** So many times what that share of the workflow's runs takes. */
  | { kind: 'usual'; percentile: number; times: number };

/** When an alert of condition `each` resolves. */
export type Resolution =
  /** At so many `run.completed` of its group in a row. */
  | { kind: 'success'; threshold: number }
  /** When nothing has matched for that long. */
  | { kind: 'after'; ms: number }
  /** At one of these events of its group. */
  | { kind: 'events'; events: readonly string[] };

interface Escalation {
  /** Counts from the first notification. */
  afterMs: number;
  unlessAcknowledged: boolean;
  notify: readonly string[];
}

/** A rule makes alerts of events: one for each group of labels. Durations are milliseconds. */
export interface Rule {
  name: string;
  /** Event types or families. */
  events: readonly string[];
  when: WatchMatch | undefined;
  /** `source`, `workflow_id`, `event`, `metadata.<key>`; `...` stands for the run itself. */
  groupBy: readonly string[];
  groupWaitMs: number;
  groupIntervalMs: number;
  repeatIntervalMs: number;
  maxRuns: number;
  condition: Condition;
  /** How long a threshold must be crossed before the alert fires. */
  forMs: number;
  /** How long an alert goes on after a threshold is no longer crossed. */
  keepFiringForMs: number;
  resolve: Resolution;
  severity: Severity;
  owner: string | null;
  /** The owners of workflows, by their ids, for alerts where the rule has none. */
  ownerOf: (workflowId: string) => string | null;
  /** The names of workflows, by their ids. */
  nameOf: (workflowId: string) => string | null;
  annotations: Readonly<Record<string, string>>;
  notify: readonly string[];
  mute: readonly NamedInterval[];
  escalate: readonly Escalation[];
}

/** An alert of a rule inhibits those of another that have the same values of some labels. */
export interface InhibitRule {
  sourceRule: string;
  targetRule: string;
  equal: readonly string[];
}

/** What rules see of an event. */
export interface AlertEvent {
  id: string;
  type: string;
  /** When it was detected, milliseconds since the epoch. */
  at: number;
  source: string;
  metadata: Readonly<Record<string, string>>;
  /** Null for an event that is about no run. */
  run: AlertedRun | null;
  /** Of a system event that is about a workflow. */
  workflowId?: string;
}

/** The workflow that an event is about, by its run or by itself. */
export function workflowOf({ run, workflowId }: Pick<AlertEvent, 'run' | 'workflowId'>) {
  return run?.workflowId ?? workflowId ?? null;
}

/** A run as alerts keep it. */
export interface AlertedRun {
  runId: string;
  workflowId: string | null;
  /** The workflow's name. */
  name: string | null;
  url: string | null;
  status: string | null;
}

/** The terminal events, of which rates and rows are made. */
const ENDS: ReadonlySet<string> = new Set(['run.completed', 'run.failed', 'run.stopped']);

const SUCCESS = 'run.completed';

/** What an event is to a rule; null for nothing. */
export type Role = 'match' | 'resolve' | 'sample';

/** What an event is to a rule, where it meets the rule's `when`. */
export function roleOf(rule: Rule, type: string): Role | null {
  const { condition } = rule;
  if (condition.kind === 'absent') return roleOfAwaited(condition.event, type);
  if (condition.kind === 'deadline') return endsDeadline(type) ? 'resolve' : null;
  if (ruleWants(rule.events, type)) return 'match';
  if (condition.kind === 'each') return resolves(rule.resolve, type) ? 'resolve' : null;
  const isOfRuns = condition.kind === 'consecutive' || condition.kind === 'rate';
  return isOfRuns && ENDS.has(type) ? 'sample' : null;
}

/** Any event of a run shows that its group exists. */
function roleOfAwaited(awaited: string, type: string): Role | null {
  if (ruleWants([awaited], type)) return 'resolve';
  return type.startsWith('run.') ? 'sample' : null;
}

/** Whether an event ends the wait for a run's end. */
function endsDeadline(type: string): boolean {
  return ENDS.has(type) || type === 'run.gone' || type === 'watch.expired';
}

function resolves(resolve: Resolution, type: string): boolean {
  switch (resolve.kind) {
    case 'success':
      return type === SUCCESS;
    case 'events':
      return ruleWants(resolve.events, type);
    case 'after':
      return false;
  }
}

/** Whether an event meets the conditions of a rule's `when`. */
export function meets(rule: Rule, event: Omit<AlertEvent, 'id' | 'at'>) {
  const { source, metadata } = event;
  return matchesWatch(rule.when, { source, metadata, run: { workflow_id: workflowOf(event) } });
}

/** Whether a group is of one of these sources, or of no particular one. */
export function isOfSources(
  { source = '' }: Readonly<Record<string, string>>,
  sources: readonly string[],
): boolean {
  return source === '' || sources.includes(source);
}

/** The labels of the group that an event belongs to, in the order of `group_by`. */
export function labelsOf(
  rule: Pick<Rule, 'groupBy'>,
  event: Omit<AlertEvent, 'id' | 'at'>,
): Record<string, string> {
  const { type, source, metadata } = event;
  const labels: Record<string, string> = {};
  for (const label of rule.groupBy) {
    if (label === '...') Object.assign(labels, runLabels(event));
    else if (label === 'source') labels['source'] = source;
    else if (label === 'workflow_id') labels['workflow_id'] = workflowOf(event) ?? '';
    else if (label === 'event') labels['event'] = type;
    else labels[label] = valueOf(metadata, label.slice('metadata.'.length)) ?? '';
  }
  return labels;
}

function runLabels(event: Omit<AlertEvent, 'id' | 'at'>): Record<string, string> {
  const { source, run } = event;
  return { source, workflow_id: workflowOf(event) ?? '', run_id: run?.runId ?? '' };
}

/** The owner that a rule names, else that of the workflow, where all runs are of one owner. */
export function ownerOf(
  rule: Pick<Rule, 'owner' | 'ownerOf'>,
  { workflow_id: label }: Readonly<Record<string, string>>,
  runs: readonly Pick<AlertedRun, 'workflowId'>[],
): string | null {
  if (rule.owner !== null) return rule.owner;
  const workflows = label === undefined ? runs.map(({ workflowId }) => workflowId) : [label];
  const owners = new Set(workflows.map((id) => (id === null ? null : rule.ownerOf(id))));
  const [only = null] = owners;
  return owners.size === 1 ? only : null;
}

const KEY_DIGITS = 20;

/** The name of a group: a hash of its rule and labels. */
export function groupKey(rule: string, labels: Readonly<Record<string, string>>): string {
  const sorted = Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const digest = createHash('sha256')
    .update(JSON.stringify([rule, sorted]))
    .digest('hex');
  return digest.slice(0, KEY_DIGITS);
}

interface Notifying {
  notify: readonly string[];
  escalate: readonly { notify: readonly string[] }[];
}

/** The endpoints that some rule notifies. */
export function notifiedByRules(rules: readonly Notifying[]): Set<string> {
  return new Set(
    rules.flatMap(({ notify, escalate }) => [
      ...notify,
      ...escalate.flatMap((step) => step.notify),
    ]),
  );
}
