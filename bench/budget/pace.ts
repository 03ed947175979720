import type { RateLimit } from '../../src/core/source/rate-limit.ts';
import { BudgetStore } from '../../src/redis/stores/source-store.ts';
import { seededRandom } from '../../src/simulator/seeded-random.ts';
import { openStores } from '../../test/support/stores.ts';
import { ourReplay, replayOurs } from '../replay/scenarios.ts';
import { summarize, type Seen, type Summary } from '../replay/summary.ts';
import type { Permits } from '../replay/timetable.ts';
import type { TracedRun } from '../replay/workload.ts';
import { withContext } from '../support/context.ts';
import { startRedis } from '../support/redis.ts';

/** Runs that are registered at once. */
const RUNS = 30;

/** The same cell with other durations. */
const SEEDS = 5;

/** How long runs last, s: where the source is asked each few seconds, so many times longer. */
const LASTS = { leastS: 30, mostS: 90 };

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

/** Rates as limits of a second, of a minute and of an hour; less than one a second has none of a second. */
const RATES: { perS: string; longer: number; limits: RateLimit[] }[] = [
  { perS: '0.03', longer: 30, limits: [each(2, MINUTE_MS), each(120, HOUR_MS)] },
  { perS: '1', longer: 1, limits: [each(60, MINUTE_MS), each(3_600, HOUR_MS)] },
  { perS: '10', longer: 1, limits: [each(600, MINUTE_MS), each(36_000, HOUR_MS)] },
];

/** What there is besides single polls. */
const WAYS = {
  'polls alone': { lists: false },
  'by lists': { lists: true },
  'by event streams': { lists: false, hintAfterS: 0.5 },
};

/** So many looks at the limit between two requests: a request goes so much too late at most. */
const LOOKS = 10;

/** The clock of the store before the first run, ms. */
const BEGIN_MS = 1_000_000_000;

interface PaceCell {
  name: string;
  /** Of the delay from a run's end until it is seen, s. */
  p95: number;
  /** The same by a limit of the same rate by the second, s. */
  perSecond: number;
  /** Between two requests, s. */
  spacingS: number;
  requestsPerRun: number;
}

/**
 * Limits of a minute and of an hour beside the same rate by the second: the daemon's own rules on a virtual
 * clock, and its own limiter in Redis on that clock.
 */
export async function playPace(seed: number): Promise<PaceCell[]> {
  return withContext(async (context) => {
    const redis = await startRedis(context);
    const stores = openStores(
      { url: `unix://${redis.socket}`, prefix: 'pace' },
      { isClockManual: true },
    );
    context.onEnd(() => stores.close());
    const limiter = new Limiter(stores);
    const cells: PaceCell[] = [];
    for (const { perS, longer, limits } of RATES) {
      for (const [way, how] of Object.entries(WAYS)) {
        const cell = { longer, how, seed };
        const perSecond = (await play(limiter, { ...cell, limit: bySecond(limits) })).p95;
        for (const limit of limits) {
          const { p95, requestsPerRun } = await play(limiter, { ...cell, limit });
          const name = `${RUNS} runs at once, ${perS}/s as ${limit.requests} per ${limit.perMs === HOUR_MS ? '1h' : '1m'}, ${way}`;
          const spacingS = limit.perMs / limit.requests / 1_000;
          cells.push({ name, p95, perSecond, spacingS, requestsPerRun });
        }
      }
    }
    return cells;
  });
}

interface Played {
  /** The limit in Redis, or how many requests each second go at equal distances. */
  limit: RateLimit | number;
  longer: number;
  how: { lists: boolean; hintAfterS?: number };
  seed: number;
}

async function play(limiter: Limiter, { limit, longer, how, seed }: Played): Promise<Summary> {
  const seen: Seen[] = [];
  const { lists, ...hints } = how;
  const budgetPerS = typeof limit === 'number' ? limit : (limit.requests / limit.perMs) * 1_000;
  for (let at = 0; at < SEEDS; at += 1) {
    const runs = runsOf(seed + at, longer);
    const options = { seed: seed + at, profile: 'normal' as const, lists };
    const replayed =
      typeof limit === 'number'
        ? replayOurs(runs, options, { ...hints, budgetPerS })
        : await ourReplay(options, { ...hints, budgetPerS }).runBy(runs, limiter.permits(limit));
    seen.push(...replayed.seen);
  }
  return summarize(seen);
}

function each(requests: number, perMs: number): RateLimit {
  return { requests, perMs };
}

/** The same rate by the second; as a number where that is less than one request. */
function bySecond([limit]: readonly RateLimit[]): RateLimit | number {
  const { requests, perMs } = limit as RateLimit;
  const perS = (requests * SECOND_MS) / perMs;
  return perS < 1 ? perS : each(perS, SECOND_MS);
}

function runsOf(seed: number, longer: number): TracedRun[] {
  const random = seededRandom(seed);
  return Array.from({ length: RUNS }, () => {
    const finished = longer * (LASTS.leastS + random() * (LASTS.mostS - LASTS.leastS));
    return {
      workflow: 'workflow',
      created: 0,
      started: 0,
      finished,
      status: 'completed',
      progress: [],
    };
  });
}

/** The limiter of the store, on a clock that is set for each question. */
class Limiter {
  private sources = 0;
  private requests = 0;
  private readonly budgets: BudgetStore;

  constructor(private readonly stores: ReturnType<typeof openStores>) {
    this.budgets = new BudgetStore(stores.redis, stores.keys);
  }

  /** The permits of a source that was never asked. */
  permits(limit: RateLimit): Permits {
    const source = `source-${(this.sources += 1)}`;
    const lookEveryS = limit.perMs / limit.requests / LOOKS / 1_000;
    let held: { request: string; at: number } | null = null;
    return {
      goesAt: async (at, used) => {
        if (used > 0) held = null;
        if (held?.at === at) return at;
        if (held !== null) await this.budgets.giveBack(source, { request: held.request, limit });
        const request = await this.admit(source, limit, at);
        held = request === null ? null : { request, at };
        return request === null ? at + lookEveryS : at;
      },
    };
  }

  /** Takes a permit for a request that is answered at once. */
  private async admit(source: string, limit: RateLimit, at: number): Promise<string | null> {
    const { redis, keys } = this.stores;
    const request = `request-${(this.requests += 1)}`;
    await redis.set(keys.clock, BEGIN_MS + Math.round(at * 1_000));
    if ((await this.budgets.admit(source, { request, limit })) === null) return null;
    await this.budgets.settle(source, { request, limit });
    return request;
  }
}
