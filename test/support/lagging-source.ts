import type { Random } from '../../src/core/backoff.ts';
import type { EventType } from '../../src/core/event/event.ts';
import type { RunSnapshot } from '../../src/core/run/snapshot.ts';
import {
  afterContradiction,
  isInconsistent,
  type SourceConsistency,
} from '../../src/core/source/consistency.ts';
import { observe } from '../../src/core/watch/observe.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { newWatch, NOON, observeContext, snapshot } from './builders.ts';

/** What a run is at a time since the beginning, as the source says it. */
export type SaidBySource = (atMs: number) => Partial<RunSnapshot>;

interface FollowOptions {
  runs: readonly SaidBySource[];
  forMs: number;
  /** The shortest time from one request to the next, ms. */
  requestMs: number;
  random: Random;
}

interface Followed {
  /** When each event was raised since the beginning, by its type, ms. */
  at(type: EventType): number[];
  /** How many of a type each run has. */
  byRun(type: EventType): number[];
  /** When the source became inconsistent, ms. */
  inconsistentAt: number[];
  watches: Watch[];
}

/** Polls the runs of a source by the daemon's own rules on a virtual clock, within a rate limit. */
export function followSource({ runs, forMs, requestMs, random }: FollowOptions): Followed {
  const watches: Watch[] = runs.map(() => newWatch());
  const raised: { type: EventType; at: number; index: number }[] = [];
  const inconsistentAt: number[] = [];
  let consistency: SourceConsistency | null = null;
  let stood = 0;
  let now = 0;
  for (;;) {
    const next = nextDue(watches);
    now = Math.max(now + requestMs, (next?.watch.nextPollAt ?? Infinity) - NOON);
    if (next === null || now > forMs)
      return { watches, inconsistentAt, at: timesOf(raised), byRun: countsOf(raised, runs.length) };
    const at = NOON + now;
    const isConsistent = !isInconsistent(consistency, at);
    const said = runs[next.index]?.(now);
    const lagMs = at - (next.watch.nextPollAt ?? at);
    const { watch, events, agreement } = observe(
      next.watch,
      { kind: 'run', run: snapshot({ ...said, observed_at: new Date(at).toISOString() }) },
      { ...observeContext(at), lagMs, isConsistent, random },
    );
    watches[next.index] = watch;
    for (const { type } of events) raised.push({ type, at: now, index: next.index });
    if (agreement === 'agreed') stood += 1;
    if (agreement === 'contradicted') {
      const runId = `run-${next.index}`;
      consistency = afterContradiction(consistency, { runId, stood, now: at });
      stood = 0;
      if (isConsistent && consistency.since !== null) inconsistentAt.push(now);
    }
  }
}

function nextDue(watches: readonly Watch[]): { watch: Watch; index: number } | null {
  const due = watches
    .map((watch, index) => ({ watch, index }))
    .filter(({ watch }) => watch.nextPollAt !== null);
  const dueAt = ({ watch }: { watch: Watch }) => watch.nextPollAt ?? Infinity;
  return due.reduce<(typeof due)[number] | null>(
    (one, other) => (one === null || dueAt(other) < dueAt(one) ? other : one),
    null,
  );
}

function timesOf(raised: readonly { type: EventType; at: number }[]) {
  return (type: EventType): number[] =>
    raised.filter((one) => one.type === type).map(({ at }) => at);
}

function countsOf(raised: readonly { type: EventType; index: number }[], runs: number) {
  return (type: EventType): number[] =>
    Array.from(
      { length: runs },
      (_, run) => raised.filter((one) => one.type === type && one.index === run).length,
    );
}
