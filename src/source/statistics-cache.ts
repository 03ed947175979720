import {
  emptyStatistics,
  learn,
  type StatisticsLookup,
  type WorkflowStatistics,
} from '../core/cadence/hazard.ts';
import { type DurationSample, workflowName, type WorkflowKey } from '../core/cadence/phase.ts';
import { faultLog } from '../fault-log.ts';
import { startPeriodic, type Periodic } from '../periodic.ts';
import type { StatisticsStore } from '../redis/stores/statistics-store.ts';
import type { Logger } from '../telemetry/logger.ts';

/** The statistics of a workflow that was used since are read again at this age, ms. */
const FRESH_MS = 4_000;

/** A workflow without a lookup for this time is dropped, ms; longer than any polling interval. */
const UNUSED_MS = 900_000;

/** The most tables kept, about a kilobyte each; the least recently used workflows are dropped. */
const MOST_TABLES = 20_000;

/** Workflows that a process reads at its start, before the first lookup. */
const WARMED = 500;

/** How often the duration samples of other processes are read, ms. */
const REFRESH_MS = 5_000;

/** The number of workflows read at a time. */
const CHUNK = 100;

/** The statistics of one workflow. */
interface Entry extends WorkflowKey {
  states: WorkflowStatistics['states'];
  /** Null if the store had no statistics at the last read. */
  version: number | null;
  /** Whether it may have changed since. */
  isStale: boolean;
  readAt: number;
  usedAt: number;
}

/**
 * Statistics of the workflows that this process needs, in memory. `refresh`, run every few seconds, asks which
 * workflows any process has used since, and reads those of them that it keeps. Its first run reads the ones
 * used last.
 */
export class StatisticsCache {
  private readonly entries = new Map<string, Entry>();
  private isWarm = false;
  /** Until when the store has said what was used. */
  private seenUntil = 0;
  private refresher: Periodic | null = null;

  constructor(
    private readonly store: Pick<StatisticsStore, 'read' | 'lastUsed' | 'usedSince'>,
    private readonly now: () => number,
    private readonly log: Logger,
  ) {}

  readonly lookup: StatisticsLookup = (source, workflowId, state) => {
    if (workflowId === null) return undefined;
    const count = this.entries.size;
    const entry = this.entryOf({ source, workflowId });
    entry.usedAt = this.now();
    if (this.entries.size > count) this.wake();
    return entry.states.get(state);
  };

  /** Adds samples that this process has just written, so that it uses them at once. */
  learn(samples: readonly DurationSample[]): void {
    for (const sample of samples) {
      const { states } = this.entryOf(sample);
      states.set(sample.state, learn(states.get(sample.state) ?? emptyStatistics(), sample));
    }
    const [first] = samples;
    if (first === undefined) return;
    const entry = this.entryOf(first);
    if (entry.version !== null) entry.version += 1;
  }

  /** Reads what other processes have written. If that fails, the statistics remain as they are. */
  async refresh(): Promise<void> {
    const { now } = this;
    if (!this.isWarm) await this.warm();
    dropUnused(this.entries, now());
    await this.noteUsed();
    const due = [...this.entries.values()].filter(
      ({ isStale, readAt }) => isStale && readAt <= now() - FRESH_MS,
    );
    for (let from = 0; from < due.length; from += CHUNK) {
      await this.readChunk(due.slice(from, from + CHUNK));
    }
  }

  start(): void {
    this.refresher = startPeriodic(() => this.refresh(), {
      everyMs: REFRESH_MS,
      onError: faultLog(this.log, 'reading statistics'),
    });
  }

  async stop(): Promise<void> {
    await this.refresher?.stop();
  }

  /** Reads a workflow that was looked up for the first time. */
  protected wake(): void {
    this.refresher?.trigger();
  }

  private entryOf({ source, workflowId }: WorkflowKey): Entry {
    const name = workflowName({ source, workflowId });
    const known = this.entries.get(name);
    if (known !== undefined) return known;
    const states: Entry['states'] = new Map();
    const times = { isStale: true, readAt: -Infinity, usedAt: this.now() };
    const entry = { source, workflowId, states, version: null, ...times };
    this.entries.set(name, entry);
    return entry;
  }

  private async warm(): Promise<void> {
    for (const workflow of await this.store.lastUsed(WARMED)) this.entryOf(workflow);
    this.isWarm = true;
  }

  private async noteUsed(): Promise<void> {
    const { time, names } = await this.store.usedSince(this.seenUntil);
    // A store that was lost counts from the beginning.
    const used = time < this.seenUntil ? this.entries.keys() : names;
    for (const name of used) {
      const entry = this.entries.get(name);
      if (entry !== undefined) entry.isStale = true;
    }
    this.seenUntil = time;
  }

  private async readChunk(chunk: Entry[]): Promise<void> {
    const found = await this.store.read(chunk, { isUse: true });
    for (const [at, entry] of chunk.entries()) {
      const changed = found[at];
      entry.readAt = this.now();
      entry.isStale = false;
      if (changed === 'unchanged') continue;
      entry.version = changed?.version ?? null;
      entry.states = changed?.states ?? new Map();
    }
  }
}

/** Drops unused workflows, and the least recently used ones beyond the limit. */
function dropUnused(entries: Map<string, Entry>, now: number): void {
  const latestFirst = [...entries].sort(([, one], [, other]) => other.usedAt - one.usedAt);
  let tables = 0;
  for (const [name, { states, usedAt }] of latestFirst) {
    tables += states.size;
    if (usedAt < now - UNUSED_MS || tables > MOST_TABLES) entries.delete(name);
  }
}
