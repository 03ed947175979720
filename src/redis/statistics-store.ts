import type { Redis } from 'ioredis';
import { openCursor } from './cursor.ts';
import { BINS, DECAY, exposureOf } from '../core/hazard.ts';
import type { Stay } from '../core/lesson.ts';
import type { WatchChange } from '../core/watch-change.ts';
import { watchedRun } from '../core/watched-run.ts';
import {
  parseWorkflowName,
  workflowName,
  type WorkflowKey,
  type WorkflowStatistics,
} from '../core/workflow-statistics.ts';
import type { Keys } from './keys.ts';
import { filterIndexes, readPage } from './page.ts';
import { replies } from './replies.ts';
import { DURATIONS, isStateField, readStatistics, tableField } from './statistics-record.ts';

/**
 * Most tables that are kept, about a kilobyte each: two for each of 10,000 states, how long it lasts
 * and how long the next news takes from its beginning on. Beyond that, the workflows that were used
 * longest ago are forgotten; of a workflow that has too many, nothing is learned of new states.
 */
export const TABLE_LIMITS = { ofAll: 20_000, ofOne: 100 };

/** What was learned of how long states last. Errors of the connection pass through. */
export class StatisticsStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /**
   * Reads workflows in one round trip.
   * @param wanted with the version that the reader has, if any
   * @param options.isUse whether what is news to the reader counts as used by that
   * @returns in order; null where nothing is known, `unchanged` where the reader has it
   */
  async read(
    wanted: readonly (WorkflowKey & { version?: number | null })[],
    { isUse }: { isUse: boolean },
  ): Promise<(WorkflowStatistics | null | 'unchanged')[]> {
    const { statistics, workflowsUsed, workflowClock } = this.keys;
    const pipeline = this.redis.pipeline();
    for (const workflow of wanted) {
      const name = workflowName(workflow);
      const version = String(workflow.version ?? '');
      const used = isUse ? name : '';
      pipeline.rwReadStatisticsBuffer(
        statistics(name),
        workflowsUsed,
        workflowClock,
        version,
        used,
      );
    }
    const found = await replies<Buffer[] | null>(pipeline);
    return found.map((reply, at) => {
      const { source, workflowId } = wanted[at] ?? { source: '', workflowId: '' };
      return reply === null ? 'unchanged' : readStatistics({ source, workflowId }, reply);
    });
  }

  /** The workflows that were used last. */
  async lastUsed(limit: number): Promise<WorkflowKey[]> {
    const names = await this.redis.zrevrange(this.keys.workflowsUsed, 0, limit - 1);
    return names.map(parseWorkflowName);
  }

  /** Workflows of which something is known, the latest to become so first. Throws RunwatchError `invalid_cursor`, `stale_cursor`. */
  async list(
    filter: { source?: string | undefined },
    { limit, cursor }: { limit: number; cursor?: string | undefined },
  ): Promise<{ items: WorkflowKey[]; nextCursor: string | null }> {
    const { from, cursorAt } = await openCursor(
      this.redis,
      this.keys.cursorsOf(this.keys.workflowClock),
      cursor,
    );
    const page = await readPage(this.redis, {
      indexes: filterIndexes(this.keys.workflows, { source: filter.source }),
      order: 'newest',
      limit,
      from,
    });
    return {
      items: page.members.map(({ id }) => parseWorkflowName(id)),
      nextCursor: page.next === null ? null : cursorAt(page.next),
    };
  }

  /** How many tables of states are kept. */
  async countTables(): Promise<number> {
    return Number((await this.redis.get(this.keys.tablesKnown)) ?? 0);
  }
}

/** What the script needs to know to learn from a change of a watch; null where there is nothing to. */
export function learningPlan(keys: Keys, change: WatchChange) {
  const { lessons = [] } = change;
  const run = watchedRun(change);
  const workflow = run ?? lessons[0];
  if (workflow === undefined) return null;
  return {
    name: workflowName(workflow),
    hash: keys.statistics(workflowName(workflow)),
    hashes: keys.statistics(''),
    workflows: keys.workflows(),
    ofSource: keys.workflows('source', workflow.source),
    bySource: keys.workflows('source', ''),
    used: keys.workflowsUsed,
    clock: keys.workflowClock,
    count: keys.tablesKnown,
    mostOfAll: TABLE_LIMITS.ofAll,
    mostOfOne: TABLE_LIMITS.ofOne,
    bins: BINS,
    decay: DECAY,
    stays: [
      ...lessons.map((lesson) => plannedStay(tableField(lesson.state), lesson)),
      ...(run === null ? [] : [plannedStay(DURATIONS, run.duration)]),
    ],
    ...(run?.polled && { polled: run.polled }),
  };
}

function plannedStay(field: string, stay: Stay) {
  const { firstBin, seconds, endedIn } = exposureOf(stay);
  return {
    field,
    isCounted: isStateField(field),
    firstBin,
    seconds,
    ...(endedIn !== null && { endedIn }),
  };
}
