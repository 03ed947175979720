import type { RateLimit } from '../core/source/limiter.ts';

/** A source is slow where its answers take more than this share of the limit's time. */
const SLOW = 0.5;

/** How much of what is known of the time that answers take comes from the latest. */
const LATEST = 0.1;

/** A request that was sent to a slow source has arrived for certain after this share of the limit's time. */
const ARRIVES_WITHIN = 0.1;

/** Follows a request from when it is sent to its answer. */
export interface Arrival {
  /** The request is sent. */
  sent(): void;
  /** It is answered, or given up. */
  over(): void;
}

interface ArrivalsDependencies {
  limit: RateLimit;
  /** A clock that only runs forward, ms. */
  clock: () => number;
  /** A request of a slow source has arrived, but is not answered. */
  onArrived: (request: string) => void;
}

/**
 * Says when requests have arrived at a source that answers late, for that is what counts against its
 * limit. A quick answer says itself that its request had arrived, to be sure of which costs little.
 */
export class Arrivals {
  /** How long answers take, ms. */
  private answerMs = 0;

  constructor(private readonly deps: ArrivalsDependencies) {}

  follow(request: string): Arrival {
    const { clock } = this.deps;
    let timer: NodeJS.Timeout | undefined;
    let sentAt: number | null = null;
    return {
      sent: () => {
        if (sentAt !== null) return;
        sentAt = clock();
        timer = this.timerFor(request);
      },
      over: () => {
        clearTimeout(timer);
        if (sentAt !== null) this.answerMs += (clock() - sentAt - this.answerMs) * LATEST;
      },
    };
  }

  private timerFor(request: string): NodeJS.Timeout | undefined {
    const { limit, onArrived } = this.deps;
    if (this.answerMs <= limit.perMs * SLOW) return undefined;
    return setTimeout(() => onArrived(request), limit.perMs * ARRIVES_WITHIN).unref();
  }
}
