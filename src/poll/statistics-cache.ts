import { emptyStatistics, learn, type StatisticsLookup } from '../core/cadence/hazard.ts';
import type { DurationSample } from '../core/cadence/phase.ts';
import {
  workflowName,
  type WorkflowKey,
  type WorkflowStatistics,
} from '../core/cadence/workflow-statistics.ts';
import type { StatisticsStore } from './ports.ts';

/** A workflow is read again once what is known of it is this old, ms. */
const FRESH_MS = 4_000;

/** A workflow that nobody has asked for so long is dropped, ms: longer than any time between polls. */
const UNUSED_MS = 900_000;

/** Tables kept, about a kilobyte each. Beyond that, the workflows asked for longest ago are dropped. */
const MOST_TABLES = 20_000;

/** Workflows that a process reads when it starts, before anybody has asked for one. */
const WARMED = 500;

/** Workflows read in one go. */
const CHUNK = 100;

interface CacheDependencies {
  store: StatisticsStore;
  /** Called when somebody asks for a workflow for the first time: `refresh` is wanted soon. */
  wake: () => void;
  now: () => number;
}

/** What this process knows of a workflow. */
interface Entry extends WorkflowKey {
  states: WorkflowStatistics['states'];
  /** Null where nothing was known when it was read. */
  version: number | null;
  readAt: number;
  usedAt: number;
}

/** What was learned of workflows, as far as this process needs it, in its memory. */
export interface StatisticsCache {
  lookup: StatisticsLookup;
  /** Takes in what this process has just written, so that it knows that at once. */
  learn: (samples: readonly DurationSample[]) => void;
  /** Reads what others have learned. When that fails, what was known stays. */
  refresh: () => Promise<void>;
}

/**
 * Statistics by a lookup that asks nobody. `refresh`, run every few seconds, reads the workflows that
 * are in use and have changed; the first run of it reads those that any process used last, so that a
 * process that starts knows what the others have learned. So what others learn is known here after
 * {@link FRESH_MS} and the time between two runs, and what this process learns at once.
 */
export function createStatisticsCache({ store, wake, now }: CacheDependencies): StatisticsCache {
  const entries = new Map<string, Entry>();
  let isWarm = false;

  function entryOf({ source, workflowId }: WorkflowKey): Entry {
    const name = workflowName({ source, workflowId });
    const known = entries.get(name);
    if (known !== undefined) return known;
    const states: Entry['states'] = new Map();
    const entry = { source, workflowId, states, version: null, readAt: -Infinity, usedAt: now() };
    entries.set(name, entry);
    return entry;
  }

  async function warm(): Promise<void> {
    for (const workflow of await store.lastUsed(WARMED)) entryOf(workflow);
    isWarm = true;
  }

  async function readChunk(chunk: Entry[]): Promise<void> {
    const found = await store.read(chunk, { isUse: true });
    for (const [at, entry] of chunk.entries()) {
      const news = found[at];
      entry.readAt = now();
      if (news === 'unchanged') continue;
      entry.version = news?.version ?? null;
      entry.states = news?.states ?? new Map();
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
      const due = [...entries.values()].filter(({ readAt }) => readAt <= now() - FRESH_MS);
      for (let from = 0; from < due.length; from += CHUNK) {
        await readChunk(due.slice(from, from + CHUNK));
      }
    },
  };
}

/** Drops what nobody asks for, and of too much what was asked for longest ago. */
function dropUnused(entries: Map<string, Entry>, now: number): void {
  const latestFirst = [...entries].sort(([, one], [, other]) => other.usedAt - one.usedAt);
  let tables = 0;
  for (const [name, { states, usedAt }] of latestFirst) {
    tables += states.size;
    if (usedAt < now - UNUSED_MS || tables > MOST_TABLES) entries.delete(name);
  }
}
