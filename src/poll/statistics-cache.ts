import { emptyStatistics, learn, type StatisticsLookup } from '../core/cadence/hazard.ts';
import {
  type DurationSample,
  workflowName,
  type WorkflowKey,
  type WorkflowStatistics,
} from '../core/cadence/phase.ts';
import type { StatisticsStore } from './ports.ts';

/** The statistics of a workflow that was used since are read again at this age, ms. */
const FRESH_MS = 4_000;

/** A workflow without a lookup for this time is dropped, ms; longer than any polling interval. */
const UNUSED_MS = 900_000;

/** The most tables kept, about a kilobyte each; the least recently used workflows are dropped. */
const MOST_TABLES = 20_000;

/** Workflows that a process reads at its start, before the first lookup. */
const WARMED = 500;

/** The number of workflows read at a time. */
const CHUNK = 100;

interface CacheDependencies {
  store: StatisticsStore;
  /** Called at the first lookup of a workflow: `refresh` should run soon. */
  wake: () => void;
  now: () => number;
}

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

/** Statistics of the workflows that this process needs, in memory. */
export interface StatisticsCache {
  lookup: StatisticsLookup;
  /** Adds samples that this process has just written, so that it uses them at once. */
  learn: (samples: readonly DurationSample[]) => void;
  /** Reads what other processes have written. If that fails, the statistics remain as they are. */
  refresh: () => Promise<void>;
}

/**
 * Creates a cache with a synchronous lookup. `refresh`, run every few seconds, asks which workflows any
 * process has used since, and reads those of them that it keeps. Its first run reads the ones used last.
 */
export function createStatisticsCache({ store, wake, now }: CacheDependencies): StatisticsCache {
  const entries = new Map<string, Entry>();
  let isWarm = false;
  /** Until when the store has said what was used. */
  let seenUntil = 0;

  function entryOf({ source, workflowId }: WorkflowKey): Entry {
    const name = workflowName({ source, workflowId });
    const known = entries.get(name);
    if (known !== undefined) return known;
    const states: Entry['states'] = new Map();
    const times = { isStale: true, readAt: -Infinity, usedAt: now() };
    const entry = { source, workflowId, states, version: null, ...times };
    entries.set(name, entry);
    return entry;
  }

  async function warm(): Promise<void> {
    for (const workflow of await store.lastUsed(WARMED)) entryOf(workflow);
    isWarm = true;
  }

  async function noteUsed(): Promise<void> {
    const { time, names } = await store.usedSince(seenUntil);
    // A store that was lost counts from the beginning.
    const used = time < seenUntil ? entries.keys() : names;
    for (const name of used) {
      const entry = entries.get(name);
      if (entry !== undefined) entry.isStale = true;
    }
    seenUntil = time;
  }

  async function readChunk(chunk: Entry[]): Promise<void> {
    const found = await store.read(chunk, { isUse: true });
    for (const [at, entry] of chunk.entries()) {
      const changed = found[at];
      entry.readAt = now();
      entry.isStale = false;
      if (changed === 'unchanged') continue;
      entry.version = changed?.version ?? null;
      entry.states = changed?.states ?? new Map();
    }
  }

  return {
    lookup(source, workflowId, state) {
      if (workflowId === null) return undefined;
      const count = entries.size;
      const entry = entryOf({ source, workflowId });
      entry.usedAt = now();
      if (entries.size > count) wake();
      return entry.states.get(state);
    },

    learn(samples) {
      for (const sample of samples) {
        const { states } = entryOf(sample);
        states.set(sample.state, learn(states.get(sample.state) ?? emptyStatistics(), sample));
      }
      const [first] = samples;
      if (first === undefined) return;
      const entry = entryOf(first);
      if (entry.version !== null) entry.version += 1;
    },

    async refresh() {
      if (!isWarm) await warm();
      dropUnused(entries, now());
      await noteUsed();
      const due = [...entries.values()].filter(
        ({ isStale, readAt }) => isStale && readAt <= now() - FRESH_MS,
      );
      for (let from = 0; from < due.length; from += CHUNK) {
        await readChunk(due.slice(from, from + CHUNK));
      }
    },
  };
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
