import type { RateLimit } from '../core/source/limiter.ts';

/** A poll that is due for this long at two looks in a row is told of as overdue, ms. */
const OVERDUE_MS = 10_000;

/** In how long a rate limit that would do works off what is due, besides what comes, s. */
const CLEARED_WITHIN_S = 60;

/** How far behind the polls of a source are. */
export interface Overdue {
  source: string;
  /** Polls that are due and not started. */
  polls: number;
  /** For how long the oldest is due, ms. */
  oldestMs: number;
  /** Requests in the time of the rate limit that would do. */
  wantedRequests: number;
  limit: RateLimit;
}

interface OverdueDependencies {
  source: string;
  limit: RateLimit;
  store: {
    /** @returns true for the first process to notice */
    overdue(source: string): Promise<boolean>;
    caughtUp(source: string): Promise<boolean>;
  };
  onOverdue: (overdue: Overdue) => Promise<void>;
  onCaughtUp: (source: string) => Promise<void>;
}

/** Watches whether the polls of a source fall behind, and says so once over all processes. */
export class OverdueWatch {
  private behindSince = 0;
  private found: Overdue | null = null;

  constructor(private readonly deps: OverdueDependencies) {}

  /** How far behind they are; null where they keep up. */
  current(): Overdue | null {
    return this.found;
  }

  /** @param oldestMs for how long the earliest request is due; null or below zero where none is */
  async look({ due, oldestMs }: { due: number; oldestMs: number | null }): Promise<void> {
    const { source, limit, store } = this.deps;
    this.behindSince = (oldestMs ?? 0) > OVERDUE_MS ? this.behindSince + 1 : 0;
    if (this.behindSince >= 2) {
      const wantedRequests = wantedLimit(limit, due);
      this.found = { source, polls: due, oldestMs: oldestMs ?? 0, wantedRequests, limit };
      if (await store.overdue(source)) await this.deps.onOverdue(this.found);
    } else if (this.behindSince === 0) {
      const wasBehind = this.found !== null;
      this.found = null;
      if (wasBehind && (await store.caughtUp(source))) await this.deps.onCaughtUp(source);
    }
  }
}

function wantedLimit({ requests, perMs }: RateLimit, due: number): number {
  return requests + Math.ceil((due * perMs) / (CLEARED_WITHIN_S * 1_000));
}
