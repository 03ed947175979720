import { createHash } from 'node:crypto';
import type { WorkflowKey } from '../cadence/phase.ts';
import { EVENT_TYPES, SYSTEM_EVENT_TYPES } from '../event/event.ts';
import { isAmong, matchesWatch, ruleWants, type WatchMatch } from '../event/patterns.ts';
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

/** When an alert of condition `each` ends. Durations are milliseconds. */
export interface Resolution {
  /** Types or families; those that match the rule resolve nothing. */
  events: readonly string[];
  /** How many of them in a row. */
  count: number;
  /** How long after the last matching event they resolve it at the earliest. */
  settleMs: number;
  /** After how long without a matching event it ends; null for never. */
  afterMs: number | null;
}

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
  /** How long an alert goes on after its threshold is no longer crossed, or an event has resolved it. */
  keepFiringForMs: number;
  resolve: Resolution;
  severity: Severity;
  owner: string | null;
  /** The owners of workflows, for alerts where the rule has none. */
  ownerOf: (workflow: WorkflowKey) => string | null;
  /** The names of workflows. */
  nameOf: (workflow: WorkflowKey) => string | null;
  annotations: Readonly<Record<string, string>>;
  notify: readonly string[];
  /** Those of its endpoints that page: they get alerts, and no digest. */
  pagers: readonly string[];
  mute: readonly NamedInterval[];
  escalate: readonly Escalation[];
}

/** A rule that no configuration holds: where nothing else is given, it matches nothing and notifies nobody. */
export function unconfiguredRule(given: Pick<Rule, 'name' | 'condition'> & Partial<Rule>): Rule {
  return {
    events: [],
    when: undefined,
    groupBy: [],
    groupWaitMs: 0,
    groupIntervalMs: 0,
    repeatIntervalMs: 0,
    maxRuns: 0,
    forMs: 0,
    keepFiringForMs: 0,
    resolve: { events: [], count: 1, settleMs: 0, afterMs: null },
    severity: 'info',
    owner: null,
    ownerOf: () => null,
    nameOf: () => null,
    annotations: {},
    notify: [],
    pagers: [],
    mute: [],
    escalate: [],
    ...given,
  };
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
  /** When its run ended, by its source's account, milliseconds since the epoch; absent where it does not say. */
  finishedAt?: number;
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

/** What an event is to a rule; null for nothing. */
export type Role = 'match' | 'resolve' | 'sample';

/** What an event is to a rule, where it meets the rule's `when`. */
export function roleOf(rule: Rule, type: string): Role | null {
  const { condition } = rule;
  if (condition.kind === 'absent') return roleOfAwaited(condition.event, type);
  if (condition.kind === 'deadline') return endsWait(type) ? 'resolve' : null;
  if (ruleWants(rule.events, type)) return 'match';
  if (condition.kind === 'each') return ruleWants(rule.resolve.events, type) ? 'resolve' : null;
  const isOfRuns = condition.kind === 'consecutive' || condition.kind === 'rate';
  return isOfRuns && ENDS.has(type) ? 'sample' : null;
}

/** Any event of a run shows that its group exists. */
function roleOfAwaited(awaited: string, type: string): Role | null {
  if (ruleWants([awaited], type)) return 'resolve';
  return type.startsWith('run.') ? 'sample' : null;
}

/** A deadline is one of an attempt: another one has another, and shows that the attempt before has ended. */
function endsWait(type: string): boolean {
  return isFinal(type) || type === 'run.restarted';
}

/** Events after which none follows in the life of a run, or of an attempt of it. */
const FINAL_EVENTS: readonly string[] = [...ENDS, 'run.gone', 'watch.expired'];

/** Whether none follows in the life of a run, or of an attempt of it: such an event ends the wait of a deadline. */
export function isFinal(type: string): boolean {
  return FINAL_EVENTS.includes(type);
}

/** Whether an event meets the conditions of a rule's `when`. */
export function meets(rule: Rule, event: Omit<AlertEvent, 'id' | 'at'>) {
  const { source, metadata } = event;
  return matchesWatch(rule.when, { source, metadata, run: { workflow_id: workflowOf(event) } });
}

/** What ends the state that an event says; of others, time does. */
const COUNTERPARTS: Readonly<Record<string, string>> = {
  'run.failed': 'run.completed',
  'run.stalled': 'run.recovered',
  'watch.unreachable': 'watch.recovered',
  'workflow.stalled': 'workflow.recovered',
  'source.unreachable': 'source.recovered',
  'source.inconsistent': 'source.consistent',
  'polling.overdue': 'polling.caught_up',
  'discovery.unavailable': 'discovery.recovered',
  'endpoint.disabled': 'endpoint.recovered',
  'endpoint.failing': 'endpoint.recovered',
};

/**
 * What ends the state of one run. The end of its watch by a user ends its alerts, too: that is an entry `left` of
 * `entry.ts`, which `group.ts` judges.
 */
const ENDS_OF_STATES = ['run.resumed', 'run.recovered', 'watch.recovered', ...FINAL_EVENTS];

const DAY_MS = 86_400_000;

/** Without any run for this long, the failures of a workflow are over, ms. */
const QUIET_MS = 7 * DAY_MS;

/** The types that patterns of a rule name. */
export function typesOf(patterns: readonly string[]): string[] {
  return [...EVENT_TYPES, ...SYSTEM_EVENT_TYPES].filter((type) => ruleWants(patterns, type));
}

/**
 * When alerts of a rule end that says nothing of it: by what ends the state of a run in a group of its own,
 * by the counterpart of an event, and where there is none after a day. The failures of a workflow end by a
 * success, once none has come for `group_interval`.
 */
export function defaultResolution({
  events,
  groupBy,
  groupIntervalMs,
}: Pick<Rule, 'events' | 'groupBy' | 'groupIntervalMs'>): Resolution {
  const types = typesOf(events);
  const isOfRun = groupBy.includes('...');
  const ends = isOfRun ? ENDS_OF_STATES : types.flatMap((type) => COUNTERPARTS[type] ?? []);
  // With the type among its labels, no group has both an event and its counterpart.
  const resolving = groupBy.includes('event') ? [] : ends.filter((type) => !types.includes(type));
  const isOfFailures = !isOfRun && resolving.includes('run.completed');
  const mayGoOn = (type: string) =>
    isOfRun
      ? type === 'run.resumed' || isFinal(type)
      : COUNTERPARTS[type] === undefined || /^(run|watch)\./.test(type);
  const needsTime = resolving.length === 0 || types.some(mayGoOn);
  const ofOthers = needsTime ? DAY_MS : null;
  return {
    events: resolving,
    count: 1,
    settleMs: isOfFailures ? groupIntervalMs : 0,
    afterMs: isOfFailures ? QUIET_MS : ofOthers,
  };
}

/** The labels of the group that counts what belongs to none of the others of its source. */
export function overflowLabels(source: string): Record<string, string> {
  return { overflow: 'true', source };
}

/** How long the alert of this group goes on after its last event, at the least, ms. */
const OVERFLOW_GOES_ON_MS = 3_600_000;

/**
 * A rule as it judges the group of its overflow. The events are of many groups: none of them resolves its
 * alert, and no threshold means anything. They are counted, and an alert says so, at once with the first.
 */
export function overflowRule(rule: Rule): Rule {
  const { condition, annotations, groupIntervalMs } = rule;
  const afterMs = Math.max(groupIntervalMs, OVERFLOW_GOES_ON_MS);
  const summary =
    `The rule ${rule.name} has as many groups as it may have of this source; ` +
    'events of further ones are counted together.';
  return {
    ...rule,
    groupWaitMs: 0,
    annotations: { ...annotations, summary },
    condition: condition.kind === 'digest' ? condition : { kind: 'each' },
    resolve: { events: [], count: 1, settleMs: 0, afterMs },
  };
}

/** Whether a rule makes groups with these labels. */
export function makesLabels(rule: Rule, labels: Readonly<Record<string, string>>): boolean {
  const { when, events, condition } = rule;
  const names =
    labels['overflow'] === undefined
      ? rule.groupBy.flatMap((label) => (label === '...' ? RUN_LABELS : label))
      : ['overflow', 'source'];
  const isSame = new Set(names).size === Object.keys(labels).length;
  if (!isSame || !names.every((name) => labels[name] !== undefined)) return false;
  const values: Record<string, readonly string[] | undefined> = {
    source: when?.source,
    workflow_id: when?.workflow_id,
    ...Object.fromEntries(
      Object.entries(when?.metadata ?? {}).map(([key, wanted]) => [`metadata.${key}`, wanted]),
    ),
  };
  return Object.entries(labels).every(([label, value]) => {
    if (label !== 'event') return isAmong(valueOf(values, label), value);
    return condition.kind === 'absent' || condition.kind === 'deadline' || ruleWants(events, value);
  });
}

const RUN_LABELS = ['source', 'workflow_id', 'run_id'];

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

/**
 * The owner that a rule names, else that of the workflow, where all runs are of one owner.
 * @param opener the source of the event that opened the group: it stands for the source of all where the
 * rule groups by none
 */
export function ownerOf(
  rule: Pick<Rule, 'owner' | 'ownerOf'>,
  labels: Readonly<Record<string, string>>,
  runs: readonly Pick<AlertedRun, 'workflowId'>[],
  opener: string,
): string | null {
  if (rule.owner !== null) return rule.owner;
  const { workflow_id: label, source = opener } = labels;
  const workflows = label === undefined ? runs.map(({ workflowId }) => workflowId) : [label];
  const owners = new Set(
    workflows.map((workflowId) =>
      workflowId === null ? null : rule.ownerOf({ source, workflowId }),
    ),
  );
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
