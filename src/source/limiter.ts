import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { costMultiplierAfter, loadUnder, type SourceLoad } from '../core/cadence/load.ts';
import { LongestWait } from '../core/source/read-times.ts';
import {
  graceMs,
  holdMs,
  roundMs,
  secondHoldMs,
  type Permit,
  type PermitRequest,
  type RateLimit,
} from '../core/source/rate-limit.ts';
import { faultLog } from '../fault-log.ts';
import { SECOND } from '../redis/lua/rate-limit.ts';
import type { Process } from '../process.ts';

/** While at most this share of the limit was used, a late request gets a permit anew. */
const AMPLE = 0.1;

/** From this share on, an answered request frees its permit at once, by a command. */
const SHORT = 0.5;

/** How often a request that a user waits for asks for its permit, ms. */
const ASK_EVERY_MS = 50;

/** A permit of a claim; one that is not used is given back. */
export interface ClaimedPermit extends Permit {
  giveBack(): void;
}

/** The permit for the second request of a read; one that is not used is given back. */
interface SecondPermit {
  /** The second request is sent. */
  use(): void;
  /** The read is over. */
  end(): void;
}

const NO_SECOND: SecondPermit = { use: () => undefined, end: () => undefined };

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
 * The rate limiter of a source, in one process. All processes share one log of requests in Redis, by which
 * `redis/lua/rate-limit.ts` decides in the same step as a claim (`request-claim.ts`) or an admission. A request
 * counts from before it is sent until one period after its answer or certain arrival.
 * So no window of one period ever contains more requests than the limit. Those of a period of more than a second
 * are spread over it (`paceOf`).
 */
export class SourceLimiter {
  /** Of the times between two polls of watches with a widened interval. */
  readonly longestWait: LongestWait;
  readonly onError: (error: unknown) => void;
  private watches = 0;
  private costMultiplier = 1;
  /** How many requests wait for a permit that a user waits for, and whether the schedule has the next one. */
  private awaited = 0;
  private isOfSchedule = false;
  private readonly arrivals: Arrivals;

  constructor(
    private readonly process: Process,
    private readonly name: string,
    readonly limit: RateLimit,
    /** Set where a read may take a second request: how long its first one may take, ms. */
    private readonly readsTwiceWithin: number | null = null,
  ) {
    this.longestWait = new LongestWait(() => process.monotonic());
    this.onError = faultLog(process.log, 'budget', { source: name });
    this.arrivals = new Arrivals(this, process.monotonic, (request) => this.settle(request));
  }

  get requestsPerMs(): number {
    return this.limit.requests / this.limit.perMs;
  }

  /** Takes another limit; one that lets no read through, while each takes two requests, is held until a restart. */
  change(limit: RateLimit): 'taken' | 'same' | 'held' {
    if (this.readsTwiceWithin !== null && limit.requests < 2) return 'held';
    if (isDeepStrictEqual(limit, this.limit)) return 'same';
    // The same object, so that what refers to it goes by the new limit.
    Object.assign(this.limit, limit);
    return 'taken';
  }

  /**
   * How long the second permit of a read counts, ms; undefined where reads take one request. It is taken with the
   * first: asked for in between, a short limit would never give it, and a closed source never opened.
   */
  get secondHoldMs(): number | undefined {
    const { readsTwiceWithin: within } = this;
    return within === null ? undefined : secondHoldMs(this.limit, within);
  }

  /** The number of active watches; 0 before they are counted. */
  active(): number {
    return this.watches;
  }

  /** Sets the number of active watches. */
  watched(active: number): void {
    this.watches = active;
  }

  /** Records the lag of a poll that the cadence made due, ms. */
  began(lagMs: number): void {
    this.costMultiplier = costMultiplierAfter(this.costMultiplier, lagMs, roundMs(1, this.limit));
  }

  /** How busy the limit is, by the polls of this process. */
  load(): SourceLoad {
    return loadUnder(this.costMultiplier, roundMs(this.watches, this.limit));
  }

  /** The share of the limit that all processes use now. */
  async usedShare(): Promise<number> {
    return (await this.process.stores.budgets.used(this.name)) / this.limit.requests;
  }

  /**
   * Whether a permit still covers its request: sent too late, that could exceed the limit. A permit
   * that is not much too old is renewed, so that a busy process still makes requests.
   */
  covers({ token, count, ageMs }: TakenPermit): boolean {
    const { limit } = this;
    if (ageMs() <= graceMs(limit) / 2) return true;
    // The renewal takes effect well before the permit ends, or others left most of the limit unused.
    if (ageMs() > holdMs(limit) / 2 && count > limit.requests * AMPLE) return false;
    this.renew(token);
    return true;
  }

  /** How long a claimed permit counts after its answer, ms; null where that need not be written. */
  settleMs({ count }: TakenPermit): number | null {
    return count > this.limit.requests * SHORT ? this.limit.perMs : null;
  }

  /** Tracks the request of a claim, which frees permits early at a slow source. */
  arrivalOf({ token }: TakenPermit): Arrival {
    return this.arrivals.track(token);
  }

  /** The permit of a claim, where no write follows the answer and settles it. */
  claimed({ token, count }: TakenPermit): ClaimedPermit {
    return {
      settle: () => {
        if (count > this.limit.requests * SHORT) this.settle(token);
      },
      giveBack: () => {
        this.giveBack(token);
        if (this.readsTwiceWithin !== null) this.giveBack(token + SECOND);
      },
    };
  }

  /** The second permit of a read, by the name of its request. */
  secondOf({ token }: { token: string }): SecondPermit {
    if (this.readsTwiceWithin === null) return NO_SECOND;
    let isUsed = false;
    return {
      use: () => (isUsed = true),
      // Held for as long as the first request may take, it would use up the limit of a source that is fast.
      end: () => (isUsed ? this.settle(token + SECOND) : this.giveBack(token + SECOND)),
    };
  }

  /** Permits for a read of a run, or null if there are none now. */
  async claimRead(): Promise<(Permit & { second: SecondPermit }) | null> {
    const token = this.process.newToken();
    const { secondHoldMs: held } = this;
    const permit = await this.take({ request: token, secondHoldMs: held });
    return permit && { settle: () => permit.settle(), second: this.secondOf({ token }) };
  }

  /**
   * A permit for one request, or null if there is none now.
   * @param probeMs set for a request that may probe a closed source: how long it takes at most, ms
   */
  claim(probeMs?: number): Promise<Permit | null> {
    return this.take({ probeMs });
  }

  /**
   * A permit for a request that a user waits for, which the schedule of this process leaves to it. Null where there
   * is none in time, or the source is closed.
   */
  async claimWithin(ms: number, isClosed: () => Promise<boolean>): Promise<ClaimedPermit | null> {
    const { monotonic } = this.process;
    const giveUpAt = monotonic() + ms;
    this.awaited += 1;
    try {
      for (;;) {
        const permit = await this.take();
        if (permit !== null) this.isOfSchedule = true;
        if (permit !== null || (await isClosed()) || monotonic() >= giveUpAt) return permit;
        await delay(ASK_EVERY_MS);
      }
    } finally {
      this.awaited -= 1;
    }
  }

  /**
   * For how long the schedule leaves permits to requests that users wait for, ms; null where it does not. It has
   * every other one, so that such requests hold up no poll for long.
   */
  leavesFor(): number | null {
    const leaves = this.awaited > 0 && !this.isOfSchedule;
    this.isOfSchedule = false;
    return leaves ? ASK_EVERY_MS : null;
  }

  private async take({
    request = this.process.newToken(),
    ...more
  }: Partial<PermitRequest> = {}): Promise<ClaimedPermit | null> {
    const { monotonic, stores } = this.process;
    const askedAt = monotonic();
    const count = await stores.budgets.admit(this.name, {
      ...more,
      request,
      limit: this.limit,
      longestHoldMs: this.secondHoldMs,
    });
    if (count === null) return null;
    const taken = { token: request, count, ageMs: () => monotonic() - askedAt };
    const permit = this.claimed(taken);
    if (more.probeMs !== undefined) permit.endProbe = () => this.endProbe(request);
    if (this.covers(taken)) return permit;
    permit.giveBack();
    permit.endProbe?.();
    return null;
  }

  private renew(token: string): void {
    const { limit, name, secondHoldMs: held } = this;
    const { budgets } = this.process.stores;
    budgets.renew(name, { request: token, limit }).catch(this.onError);
    if (held === undefined) return;
    const second = { request: token + SECOND, limit, secondHoldMs: held };
    budgets.renew(name, second).catch(this.onError);
  }

  /** Usually the answer has released the probe; without one, nothing else would. */
  private endProbe(request: string): void {
    this.process.stores.sources.probeLease(this.name).end(request).catch(this.onError);
  }

  private giveBack(request: string): void {
    const { budgets } = this.process.stores;
    budgets.giveBack(this.name, { request, limit: this.limit }).catch(this.onError);
  }

  private settle(request: string): void {
    const { budgets } = this.process.stores;
    budgets.settle(this.name, { request, limit: this.limit }).catch(this.onError);
  }
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

/**
 * Reports the arrival of requests at a slow source, since a source may count a request when it arrives. At
 * a fast source the answer itself is early enough. So nine tenths of the limit can be used; without, two
 * thirds are where answers take a second (`bench -- budget --cells slow`).
 */
class Arrivals {
  /** The average answer time, ms. */
  private answerMs = 0;

  /** @param onArrived called when a request to a slow source has arrived without an answer so far */
  constructor(
    private readonly limiter: Pick<SourceLimiter, 'limit'>,
    private readonly clock: () => number,
    private readonly onArrived: (request: string) => void,
  ) {}

  track(request: string): Arrival {
    const { clock } = this;
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
    const { limit } = this.limiter;
    if (this.answerMs <= limit.perMs * SLOW) return undefined;
    return setTimeout(() => this.onArrived(request), limit.perMs * ARRIVES_WITHIN).unref();
  }
}
