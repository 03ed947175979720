import type { LimiterStore } from './ports.ts';
import { costMultiplierAfter, loadUnder, type SourceLoad } from '../core/cadence/load.ts';
import { LongestWait } from '../core/source/read-times.ts';
import { graceMs, holdMs, roundMs, type RateLimit } from '../core/source/limiter.ts';

/** While at most this share of the limit was used, a late request gets a permit anew. */
const AMPLE = 0.1;

/** From this share on, an answered request frees its permit at once, by a command. */
const SHORT = 0.5;

interface SourceLimiterDependencies {
  source: string;
  limit: RateLimit;
  store: LimiterStore;
  /** Milliseconds of a clock that only runs forward. */
  clock: () => number;
  /** Returns names of requests, unique among all processes. */
  newId: () => string;
  onError: (error: unknown) => void;
}

/** The right to send one request. */
export interface Permit {
  /** The request was answered. */
  settle(): void;
}

/** A permit of a claim; one that is not used is given back. */
export interface ClaimedPermit extends Permit {
  giveBack(): void;
}

/** How a permit was taken in the same step as a claim. */
interface TakenPermit {
  /** The name of the request. */
  token: string;
  /** Requests that counted against the limit then. */
  count: number;
  /** The time since the claim started, ms. */
  ageMs: () => number;
}

/**
 * The rate limiter of a source, in one process. All processes share one log of requests. A request
 * counts from before it is sent until one period after its answer or certain arrival.
 * So no window of one period ever contains more requests than the limit.
 */
export interface SourceLimiter {
  limit: RateLimit;
  /** Sets the number of active watches. */
  watched(active: number): void;
  /** Records the lag of a poll that the cadence made due, ms. */
  began(lagMs: number): void;
  /** Of the times between two polls of watches with a widened interval. */
  longestWait: LongestWait;
  /** How busy the limit is, by the polls of this process. */
  load(): SourceLoad;
  /**
   * Whether a permit still covers its request: sent too late, that could exceed the limit. A permit
   * that is not much too old is renewed, so that a busy process still makes requests.
   */
  covers(permit: TakenPermit): boolean;
  /** How long a claimed permit counts after its answer, ms; null where that need not be written. */
  settleMs(permit: TakenPermit): number | null;
  /** Tracks the request of a claim, which frees permits early at a slow source. */
  arrivalOf(permit: TakenPermit): Arrival;
  /** The permit of a claim, where no write follows the answer and settles it. */
  claimed(permit: TakenPermit): ClaimedPermit;
  /**
   * A permit for one request, or null if there is none now.
   * @param probeMs set for a request that may probe a closed source: how long it takes at most, ms
   */
  claim(probeMs?: number): Promise<Permit | null>;
  /** The number of active watches; 0 before they are counted. */
  active(): number;
}

export function createSourceLimiter(deps: SourceLimiterDependencies): SourceLimiter {
  const { source, limit, store, clock, onError } = deps;
  let active = 0;
  let costMultiplier = 1;
  const arrivals = new Arrivals({
    limit,
    clock,
    onArrived: (name) => void store.settle(source, { request: name, limit }).catch(onError),
  });

  function covers({ token, count, ageMs }: TakenPermit): boolean {
    if (ageMs() <= graceMs(limit) / 2) return true;
    // The renewal takes effect well before the permit ends, or others left most of the limit unused.
    if (ageMs() > holdMs(limit) / 2 && count > limit.requests * AMPLE) return false;
    store.renew(source, { request: token, limit }).catch(onError);
    return true;
  }

  function claimed({ token, count }: TakenPermit): ClaimedPermit {
    return {
      settle() {
        if (count <= limit.requests * SHORT) return;
        store.settle(source, { request: token, limit }).catch(onError);
      },
      giveBack: () => void store.giveBack(source, token).catch(onError),
    };
  }

  return {
    limit,
    watched: (count) => void (active = count),
    began(lagMs) {
      costMultiplier = costMultiplierAfter(costMultiplier, lagMs, roundMs(1, limit));
    },
    longestWait: new LongestWait(clock),
    load: () => loadUnder(costMultiplier, roundMs(active, limit)),
    covers,
    settleMs: ({ count }) => (count > limit.requests * SHORT ? limit.perMs : null),
    arrivalOf: ({ token }) => arrivals.track(token),
    claimed,
    active: () => active,
    async claim(probeMs) {
      const token = deps.newId();
      const askedAt = clock();
      const count = await store.admit(source, { request: token, limit, probeMs });
      if (count === null) return null;
      const taken = { token, count, ageMs: () => clock() - askedAt };
      const permit = claimed(taken);
      if (covers(taken)) return permit;
      permit.giveBack();
      return null;
    },
  };
}

/** A source is slow if its answers take more than this share of the limit's period. */
const SLOW = 0.5;

/** The weight of the latest answer in the average answer time. */
const LATEST_WEIGHT = 0.1;

/** A request has certainly arrived after this share of the limit's period. */
const ARRIVES_WITHIN = 0.1;

/** Tracks one request. */
interface Arrival {
  /** The request was sent. */
  sent(): void;
  /** The request was answered or aborted. */
  over(): void;
}

interface ArrivalsDependencies {
  limit: RateLimit;
  /** Milliseconds of a clock that only runs forward. */
  clock: () => number;
  /** Called when a request to a slow source has arrived without an answer so far. */
  onArrived: (request: string) => void;
}

/**
 * Reports the arrival of requests at a slow source, since Noxus counts a request when it arrives. At
 * a fast source the answer itself is early enough.
 */
class Arrivals {
  /** The average answer time, ms. */
  private answerMs = 0;

  constructor(private readonly deps: ArrivalsDependencies) {}

  track(request: string): Arrival {
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
        if (sentAt !== null) this.answerMs += (clock() - sentAt - this.answerMs) * LATEST_WEIGHT;
      },
    };
  }

  private timerFor(request: string): NodeJS.Timeout | undefined {
    const { limit, onArrived } = this.deps;
    if (this.answerMs <= limit.perMs * SLOW) return undefined;
    return setTimeout(() => onArrived(request), limit.perMs * ARRIVES_WITHIN).unref();
  }
}
