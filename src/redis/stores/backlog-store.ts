import type { Redis } from 'ioredis';
import { workflowName, type WorkflowKey } from '../../core/cadence/phase.ts';
import type { PlannedEvent } from '../../core/delivery/planned-event.ts';
import { statusLabel } from '../../core/run/snapshot.ts';
import {
  backlogStep,
  MOST_SINGLE,
  type Backlog,
  type BacklogMove,
  type BacklogNotice,
  type BacklogStep,
} from '../../core/watch/backlog.ts';
import { parseWatchId, type Watch } from '../../core/watch/watch.ts';
import type { WatchChange } from '../watch-change.ts';
import { firstOf } from '../index-columns.ts';
import { stalledIndex } from '../indexes.ts';
import type { Keys, PlanKeys } from '../keys.ts';
import { readNumbers } from '../numbers.ts';
import { raisedPlan } from './event-plan.ts';
import { readStored } from './history-plan.ts';

/** So many watches in an index say that more than {@link MOST_SINGLE} stand in it besides any one. */
const ENOUGH = MOST_SINGLE + 2;

/** What is made of the backlogs of workflows. */
export interface BacklogNotices {
  /** Whether a configured endpoint gets those of a workflow. */
  reach: (endpoint: string, workflow: WorkflowKey) => boolean;
  plan: (notice: BacklogNotice) => PlannedEvent;
  /** Called once the notice is written. */
  raised: (notice: BacklogNotice) => void;
}

/** The stalled runs of workflows, by an index that each write of a watch keeps. */
export class BacklogStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** Judges the moves of a change by what it would find now. */
  judge(
    moves: readonly BacklogMove[],
    { before, after }: Pick<WatchChange, 'before' | 'after'>,
  ): Promise<BacklogStep[]> {
    return Promise.all(
      moves.map(async (move) => {
        const others = await this.readOthers(move.workflow, before?.number);
        return backlogStep(move, others, after);
      }),
    );
  }

  /** Reads no more than a change needs, and not the watch itself. */
  private async readOthers(workflow: WorkflowKey, own: number | undefined): Promise<Backlog> {
    const index = stalledIndex(this.keys, workflow);
    // A chunk holds one number at least.
    const chunks = await this.redis.hlen(index);
    if (chunks >= ENOUGH) return { others: chunks - 1, watches: [], byStatus: new Map() };
    const held = Object.entries(await this.redis.hgetallBuffer(index));
    const numbers = held
      .flatMap(([chunk, places]) => [...places].map((place) => firstOf(Number(chunk)) + place))
      .filter((number) => number !== own);
    const others = numbers.length;
    if (others !== MOST_SINGLE) return { others, watches: [], byStatus: new Map() };
    const rows = await readNumbers(this.redis, this.keys, 'watch', numbers);
    const watches = rows.flatMap(
      ({ watch, record }) => readStored(parseWatchId(watch), record)?.watch ?? [],
    );
    return { others, watches, byStatus: await this.countByStatus(workflow, watches) };
  }

  private async countByStatus(workflow: WorkflowKey, watches: readonly Watch[]) {
    const byStatus = new Map<string, number>();
    for (const { run } of watches) {
      if (run === null || byStatus.has(run.status)) continue;
      const field = `${workflowName(workflow)} ${statusLabel(run)}`;
      byStatus.set(run.status, Number((await this.redis.hget(this.keys.activeRuns, field)) ?? 0));
    }
    return byStatus;
  }
}

/** The moves of a change as they were judged, and the events that follow. */
export interface JudgedBacklogs {
  steps: readonly BacklogStep[];
  planned: readonly PlannedEvent[];
}

/** What the commit script must find unchanged of backlogs, and what it raises. */
export function backlogPlan(planKeys: PlanKeys, { steps, planned }: JudgedBacklogs) {
  return {
    backlogs: steps.map(({ workflow, least, most }) => ({
      index: planKeys.declare(stalledIndex(planKeys.keys, workflow)),
      enough: ENOUGH,
      least,
      ...(most !== Infinity && { most }),
    })),
    ...(planned.length > 0 && { raised: raisedPlan(planKeys, planned) }),
  };
}
