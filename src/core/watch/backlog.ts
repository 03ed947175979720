import type { WorkflowKey } from '../cadence/phase.ts';
import { isWebhook, type Receiver } from '../delivery/receiver.ts';
import type { Delivery } from '../delivery/delivery.ts';
import type { EventType, RunwatchEvent } from '../event/event.ts';
import type { ChangedWatch, Watch } from './watch.ts';

/** So many stalled runs of a workflow have an event each; more are its backlog, which has one notice. */
export const MOST_SINGLE = 5;

/** The stalled runs of a workflow besides that of a change, as they were read before it. */
export interface Backlog {
  /** How many; where it is more than {@link MOST_SINGLE}, at least so many. */
  others: number;
  /** All of them where there are {@link MOST_SINGLE}, so that the change counts; else none. */
  watches: readonly Watch[];
  /** How many runs of the workflow are watched by status, of the statuses of these watches. */
  byStatus: ReadonlyMap<string, number>;
}

/** A run that begins to count as stalled in its workflow, or does no longer. */
export interface BacklogMove {
  workflow: WorkflowKey;
  does: 'enter' | 'leave';
}

/** What a change does to a backlog that was read. */
export interface BacklogStep extends BacklogMove {
  /** The change holds while this many other runs are stalled. */
  least: number;
  most: number;
  /** Null where the change does not cross {@link MOST_SINGLE}. */
  notice: BacklogNotice | null;
}

/** More than {@link MOST_SINGLE} runs of a workflow are stalled, or no longer. */
export interface BacklogNotice {
  type: 'workflow.stalled' | 'workflow.recovered';
  workflow: WorkflowKey;
  /** The status in which most of the stalled runs stand. */
  status: string;
  /** How many runs are stalled. */
  count: number;
  /** How many runs of the workflow are watched in that status, stalled or not. */
  inStatus: number;
  /** Since when the oldest of them stands there, milliseconds since the epoch. */
  since: number;
}

/** The workflow in which a watch counts as stalled; null where it does in none. */
export function stalledIn({
  source,
  state,
  run,
  dwell,
}: Pick<Watch, 'source' | 'state' | 'run' | 'dwell'>): WorkflowKey | null {
  const workflowId = run?.workflow_id ?? null;
  const isStalled = state === 'active' && dwell?.stalled === true;
  return isStalled && workflowId !== null ? { source, workflowId } : null;
}

/** The backlogs that a change enters and leaves. */
export function backlogMoves({ before, after }: ChangedWatch) {
  const was = before === null ? null : stalledIn(before.watch);
  const is = stalledIn(after);
  const moves: BacklogMove[] = [];
  if (was?.workflowId === is?.workflowId) return moves;
  if (was !== null) moves.push({ workflow: was, does: 'leave' });
  if (is !== null) moves.push({ workflow: is, does: 'enter' });
  return moves;
}

/** Judges a move by the backlog that it finds. */
export function backlogStep(move: BacklogMove, backlog: Backlog, after: Watch): BacklogStep {
  const { others } = backlog;
  if (others < MOST_SINGLE) return { ...move, least: 0, most: MOST_SINGLE - 1, notice: null };
  if (others > MOST_SINGLE)
    return { ...move, least: MOST_SINGLE + 1, most: Infinity, notice: null };
  return { ...move, least: others, most: others, notice: noticeOf(move, backlog, after) };
}

function noticeOf(
  { workflow, does }: BacklogMove,
  { others, watches, byStatus }: Backlog,
  after: Watch,
): BacklogNotice {
  const isOver = does === 'leave';
  const stalled = isOver ? watches : [...watches, after];
  const status = mostOften(stalled.flatMap(({ run }) => run?.status ?? []));
  const count = isOver ? others : others + 1;
  return {
    type: isOver ? 'workflow.recovered' : 'workflow.stalled',
    workflow,
    status,
    count,
    inStatus: Math.max(byStatus.get(status) ?? 0, count),
    since: Math.min(...stalled.map(({ dwell, changedAt }) => dwell?.since ?? changedAt)),
  };
}

function mostOften(statuses: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const status of statuses) counts.set(status, (counts.get(status) ?? 0) + 1);
  const [first = ['unknown']] = [...counts].toSorted(([, a], [, b]) => b - a);
  return first[0];
}

/** A change of a watch, with what it notifies. */
interface NotifyingChange extends ChangedWatch {
  events: readonly RunwatchEvent[];
  deliveries: readonly Delivery[];
}

/**
 * The change without the deliveries that a notice stands for: `run.stalled` of each run beyond the first
 * ones, and `run.recovered` of the same runs. Webhooks of watches get both, and so do endpoints that get
 * no notice.
 * @param reaches whether a notice of the workflow reaches a configured endpoint
 */
export function withNotices<Change extends NotifyingChange>(
  change: Change,
  steps: readonly BacklogStep[],
  reaches: (endpoint: Receiver, workflow: WorkflowKey) => boolean,
): Change {
  const { before, after, events, deliveries } = change;
  const entered = steps.find(({ does, least }) => does === 'enter' && least >= MOST_SINGLE);
  const left =
    before?.watch.dwell?.isInNotice === true && steps.find(({ does }) => does === 'leave');
  const workflowOf = (type: EventType) => {
    if (type === 'run.stalled') return entered?.workflow;
    return type === 'run.recovered' && left ? left.workflow : undefined;
  };
  const covered = new Map(
    events.flatMap(({ id, type }) => {
      const workflow = workflowOf(type);
      return workflow === undefined ? [] : [[id, { type, workflow }] as const];
    }),
  );
  if (covered.size === 0) return change;
  const { dwell } = after;
  const isStalling = [...covered.values()].some(({ type }) => type === 'run.stalled');
  return {
    ...change,
    after:
      isStalling && dwell !== null ? { ...after, dwell: { ...dwell, isInNotice: true } } : after,
    deliveries: deliveries.filter(({ eventId, endpoint }) => {
      const workflow = covered.get(eventId)?.workflow;
      return workflow === undefined || isWebhook(endpoint) || !reaches(endpoint, workflow);
    }),
  };
}
