import type { LimiterStore } from './ports.ts';
import { costMultiplierAfter, NO_LOAD, type SourceLoad } from '../core/cadence/load.ts';
import { graceMs, roundMs, type RateLimit } from '../core/source/limiter.ts';

/** With so small a share of the budget in use, a request may come late and do no harm. */
const AMPLE = 0.1;

/** From this share on it is worth a command to free what has been answered as early as possible. */
const SHORT = 0.5;

interface SourceBudgetDependencies {
  source: string;
  limit: RateLimit;
  store: LimiterStore;
  /** A clock that only runs forward, ms. */
  clock: () => number;
  /** Makes names of requests that no other process makes. */
  newId: () => string;
  onError: (error: unknown) => void;
}

/** The right to send one request; what has its answer says so. */
export interface Permit {
  settle(): void;
}

/** A permit that a claim took from the rate limit in the same step. */
interface ClaimedPermit {
  /** Names the request. */
  token: string;
  /** Requests that counted then. */
  count: number;
  /** How long ago it was asked for, ms. */
  ageMs: () => number;
}

/**
 * What one process may ask of a source within its rate limit. Every request takes its permit from the
 * log of them that all processes share, and counts from before it is sent until the limit's time
 * after it was answered, or had arrived for certain. So no window of that time ever sees more of them.
 */
export interface SourceBudget {
  limit: RateLimit;
  /** Tells how many watches there are. */
  watched(active: number): void;
  /** Tells how late a poll began that was due by the cadence, ms. */
  began(lagMs: number): void;
  /** How polls fare, by what this process knows. */
  load(): SourceLoad;
  /** Whether a claim was held up for so long that its request may arrive when others do. */
  isLate(permit: ClaimedPermit): boolean;
  /** For how long a claimed permit counts after its answer, ms; null where that need not be written. */
  settleMs(permit: ClaimedPermit): number | null;
  /** Follows the request of a claim, so that those of a slow source count no longer than others. */
  arrivalOf(permit: ClaimedPermit): Arrival;
  /** The permit of a claim, for a request whose answer no write of the claim follows at once. */
  claimed(permit: ClaimedPermit): Permit & { giveBack(): void };
  /** A permit for one request, or for how long there is none. */
  request(): Promise<Permit | { heldForMs: number }>;
  /**
   * A permit for one request, without waiting; null while there is none.
   * @param probeMs how long a request may take that may probe a closed source, ms
   */
  claim(probeMs?: number): Promise<Permit | null>;
  /** How many watches there are; 0 before they are counted. */
  active(): number;
}

export function createSourceBudget(deps: SourceBudgetDependencies): SourceBudget {
  const { source, limit, store, clock, onError } = deps;
  let active = 0;
  let { costMultiplier } = NO_LOAD;
  const arrivals = new Arrivals({
    limit,
    clock,
    onArrived: (name) => void store.settle(source, { request: name, limit }).catch(onError),
  });

  const isLate = (ageMs: number, count: number) =>
    ageMs > graceMs(limit) / 2 && count > limit.requests * AMPLE;

  function settle(name: string, count: number): void {
    if (count <= limit.requests * SHORT) return;
    store.settle(source, { request: name, limit }).catch(onError);
  }

  async function request(probeMs?: number): Promise<Permit | { heldForMs: number }> {
    const name = deps.newId();
    const askedAt = clock();
    const { admitted, count, usedUpMs } = await store.admit(source, {
      request: name,
      limit,
      probeMs,
    });
    if (!admitted) return { heldForMs: usedUpMs };
    if (isLate(clock() - askedAt, count)) return { heldForMs: 0 };
    return { settle: () => settle(name, count) };
  }

  return {
    limit,
    watched: (count) => void (active = count),
    began: (lagMs) =>
      void (costMultiplier = costMultiplierAfter(costMultiplier, lagMs, roundMs(1, limit))),
    load: () => ({ roundMs: roundMs(active, limit), costMultiplier }),
    isLate: ({ ageMs, count }) => isLate(ageMs(), count),
    settleMs: ({ count }) => (count > limit.requests * SHORT ? limit.perMs : null),
    arrivalOf: ({ token }) => arrivals.follow(token),
    claimed: ({ token, count }) => ({
      settle: () => settle(token, count),
      giveBack: () => void store.giveBack(source, token).catch(onError),
    }),
    request: () => request(),
    active: () => active,
    async claim(probeMs) {
      const permit = await request(probeMs);
      return 'settle' in permit ? permit : null;
    },
  };
}

/** A source is slow where its answers take more than this share of the limit's time. */
const SLOW = 0.5;

/** How much of what is known of the time that answers take comes from the latest. */
const LATEST = 0.1;

/** A request that was sent to a slow source has arrived for certain after this share of the limit's time. */
const ARRIVES_WITHIN = 0.1;

/** Follows a request from when it is sent to its answer. */
interface Arrival {
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
class Arrivals {
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
