import { createHash } from 'node:crypto';

/** Streams that may be open at first. */
const FIRST = 5;

/** The most streams of a source that may be configured: a size beyond it allows no more. */
export const MOST_STREAMS = 10_000;

/** While streams can be opened, so long until there may be twice as many, ms. */
const DOUBLES_MS = 5_000;

/** Failures within this time halve the number once, ms. */
const HALVES_MS = 1_000;

/** So many different runs must be refused a stream before the source counts as having none. */
const REFUSED_RUNS = 3;

/** For so long no stream is opened then, ms. */
const REFUSED_MS = 600_000;

/** A stream that was open this recently shows that more are to be had, ms. */
const LIKELY_MS = 600_000;

/** The life of a stream before any has broken, ms. */
const LONG_LIFE_MS = 600_000;

/** A stream that breaks after less than so many intervals of its run, or so long, ms, saves no reads. */
const WORTH_INTERVALS = 4;
const WORTH_MS = 10_000;

/** The weight of the latest life in the average. */
const LATEST = 0.3;

/** How many streams of a source may be open, over all processes. Times are ms since the epoch. */
export interface StreamCapacity {
  size: number;
  /** When the size last changed. */
  changedAt: number;
  /** When a stream was last opened; 0 for never. */
  liveAt: number;
  /** Different runs that were refused a stream since, by hashes: a run may be forgotten meanwhile. */
  refused: string[];
  /** Until when none is opened. */
  refusedUntil: number;
  /** How long streams are open until one breaks before its run ends, ms. */
  lifeMs: number;
}

export const NEW_CAPACITY: StreamCapacity = {
  size: FIRST,
  changedAt: 0,
  liveAt: 0,
  refused: [],
  refusedUntil: 0,
  lifeMs: LONG_LIFE_MS,
};

/** What became of a stream. */
export type StreamOutcome =
  | { is: 'live' }
  /** There is no such stream; no answer, or a fault, or too many. */
  | { is: 'refused' | 'failed'; runId: string }
  /** Too many requests, by status 429 or 503. */
  | { is: 'throttled' }
  /** It was open for so long, and broke, or ended with its run. */
  | { is: 'broken' | 'lasted'; afterMs: number };

/** A capacity that a store holds. Its size once grew without a bound, and JSON has null for infinity. */
export type KeptCapacity = Omit<StreamCapacity, 'size'> & { size: number | null };

export function capacityOf(kept: KeptCapacity | null): StreamCapacity {
  if (kept === null) return NEW_CAPACITY;
  return { ...kept, size: Math.min(kept.size ?? FIRST, MOST_STREAMS) };
}

/**
 * The capacity after an outcome; the same object where it does not change.
 * @param most by the configuration
 */
export function capacityAfter(
  capacity: StreamCapacity,
  outcome: StreamOutcome,
  now: number,
  most = MOST_STREAMS,
): StreamCapacity {
  switch (outcome.is) {
    case 'live':
      return grown(capacity, now, most);
    case 'refused':
    case 'failed': {
      const refused = [...new Set([...capacity.refused, hashOf(outcome.runId)])];
      if (refused.length >= REFUSED_RUNS || capacity.refusedUntil > 0) {
        const refusedUntil = now + REFUSED_MS;
        return { ...capacity, refused: [], refusedUntil, size: 1, changedAt: now };
      }
      return { ...(outcome.is === 'failed' ? halved(capacity, now, most) : capacity), refused };
    }
    case 'throttled':
      return halved(capacity, now, most);
    case 'lasted':
    case 'broken':
      return lived(capacity, outcome);
  }
}

function hashOf(runId: string): string {
  return createHash('sha256').update(runId).digest('base64url').slice(0, 12);
}

function grown(capacity: StreamCapacity, now: number, most: number): StreamCapacity {
  const { size, changedAt, liveAt } = capacity;
  const isSame = capacity.refused.length === 0 && capacity.refusedUntil === 0;
  const live = { ...capacity, liveAt: now, refused: [], refusedUntil: 0 };
  if (size < FIRST) return { ...live, size: FIRST, changedAt: now };
  if (changedAt === 0) return { ...live, changedAt: now };
  const doubled = Math.min(size * 2, most);
  if (doubled > size && now - changedAt >= DOUBLES_MS) {
    return { ...live, size: doubled, changedAt: now };
  }
  return isSame && now - liveAt < DOUBLES_MS ? capacity : live;
}

/**
 * The life of a stream is the time that streams were open for each break. So one that ends with its run
 * adds to it, however short that run was.
 */
function lived(
  capacity: StreamCapacity,
  { is, afterMs }: { is: 'broken' | 'lasted'; afterMs: number },
): StreamCapacity {
  if (is === 'lasted') {
    const lifeMs = Math.min(capacity.lifeMs + afterMs * LATEST, LONG_LIFE_MS);
    return lifeMs === capacity.lifeMs ? capacity : { ...capacity, lifeMs };
  }
  const lifeMs = capacity.lifeMs + (afterMs - capacity.lifeMs) * LATEST;
  return { ...capacity, lifeMs: Math.min(lifeMs, afterMs * 2 + 1) };
}

function halved(capacity: StreamCapacity, now: number, most: number): StreamCapacity {
  if (now - capacity.changedAt < HALVES_MS) return capacity;
  // More may be configured where the size grew than here.
  const size = Math.floor(Math.min(capacity.size, most) / 2);
  return { ...capacity, size: Math.max(1, size), changedAt: now };
}

/** How many streams may be open now. @param most by the configuration */
export function allowedStreams(
  { size, refusedUntil }: StreamCapacity,
  { most, now }: { most: number; now: number },
): number {
  return now < refusedUntil ? 0 : Math.min(size, most);
}

/** Whether a stream that is asked for now will most likely be had. */
export function isLikely({ liveAt, refused, refusedUntil }: StreamCapacity, now: number): boolean {
  return refusedUntil === 0 && refused.length === 0 && now - liveAt < LIKELY_MS && liveAt > 0;
}

/** Whether a stream lives long enough to save reads of a run with this interval. */
export function isLastingFor(intervalMs: number, { lifeMs }: StreamCapacity): boolean {
  return lifeMs >= Math.max(WORTH_MS, intervalMs * WORTH_INTERVALS);
}
