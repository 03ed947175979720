import {
  graceMs,
  roundMs,
  type Admission,
  type RateLimit,
  type RequestAsk,
} from '../core/budget.ts';
import { dearnessAfter, NO_LOAD, type SourceLoad } from '../core/load.ts';

/** With so small a share of the budget in use, a request may come late and do no harm. */
const AMPLE = 0.1;

/** From this share on it is worth a command to free what has been answered as early as possible. */
const SHORT = 0.5;

interface BudgetStore {
  admit(source: string, ask: RequestAsk): Promise<Admission>;
  settle(source: string, ask: RequestAsk): Promise<void>;
}

interface SourceBudgetDependencies {
  source: string;
  limit: RateLimit;
  store: BudgetStore;
  /** Lets no poll of the source start for so long, in any process. */
  hold: (ms: number) => void;
  /** A clock that only runs forward, ms. */
  clock: () => number;
  /** Makes names of requests that no other process makes. */
  newId: () => string;
  onError: (error: unknown) => void;
}

/** A request for leave, with the time at which it was made. */
interface DatedAsk extends RequestAsk {
  askedAt: number;
}

/** Leave that was given; whoever has its answer says so. */
export interface Permit {
  settle(): void;
}

/**
 * What one process may ask of a source within its rate limit. Every request takes its leave from the
 * log of them that all processes share, and counts from before it is sent until the limit's time
 * after it was answered. So no window of that time ever sees more of them, whenever they arrive.
 */
export interface SourceBudget {
  limit: RateLimit;
  /** Tells how many watches there are. */
  watched(active: number): void;
  /** Tells how many more there may be, until they are counted. */
  joined(more: number): void;
  /** Tells how late a poll began that was due by the cadence, ms. */
  began(lagMs: number): void;
  /** How polls fare, by what this process knows. */
  load(): SourceLoad;
  /** Names a request for which somebody else fetches leave, along with what a poll begins with. */
  ask(): DatedAsk;
  /**
   * Judges what came of that. @returns null when the request may be sent at once, else for how long
   * the poll has to wait, ms
   */
  refusal(ask: DatedAsk, admission: Admission): number | null;
  /** The request was answered. Said only where the budget may soon be short. */
  settle(ask: DatedAsk, admission: Admission): void;
  /** Leave for one request, or for how long there is none. */
  request(): Promise<Permit | { heldForMs: number }>;
  /** Leave for one request, without waiting; null while there is none. */
  claim(): Promise<Permit | null>;
}

export function createSourceBudget(deps: SourceBudgetDependencies): SourceBudget {
  const { source, limit, store, clock } = deps;
  let active = 0;
  let { dearness } = NO_LOAD;

  const ask = (): DatedAsk => ({ request: deps.newId(), limit, askedAt: clock() });

  function refusal({ askedAt }: DatedAsk, { admitted, count, usedUpMs }: Admission) {
    if (!admitted) return usedUpMs;
    if (usedUpMs > 0) deps.hold(usedUpMs);
    // Whoever was held up for long since may not send any more: it would arrive when others do.
    const isLate = clock() - askedAt > graceMs(limit) / 2;
    return isLate && count > limit.requests * AMPLE ? 0 : null;
  }

  function settle(settled: DatedAsk, { count }: Admission): void {
    if (count > limit.requests * SHORT) store.settle(source, settled).catch(deps.onError);
  }

  async function request(): Promise<Permit | { heldForMs: number }> {
    const asked = ask();
    const admission = await store.admit(source, asked);
    const heldForMs = refusal(asked, admission);
    return heldForMs === null ? { settle: () => settle(asked, admission) } : { heldForMs };
  }

  return {
    limit,
    watched: (count) => void (active = count),
    joined: (more) => void (active += more),
    began: (lagMs) => void (dearness = dearnessAfter(dearness, lagMs, roundMs(1, limit))),
    load: () => ({ roundMs: roundMs(active, limit), dearness }),
    ask,
    refusal,
    settle,
    request,
    async claim() {
      const leave = await request();
      return 'settle' in leave ? leave : null;
    },
  };
}
