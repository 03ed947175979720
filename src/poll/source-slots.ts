import type { NextClaim } from '../core/source/schedule.ts';
import { afterFull, afterLate, FIRST_WINDOW, windowSize } from '../core/source/window.ts';

/** A slot without a due request waits for one for as long; then it ends, and the queue gives the next one, ms. */
const WAIT_MS = 10_000;

/** Claims of a slot are at least so far apart, so that one takes what comes due within moments, ms. */
const APART_MS = 5;

/** A window that stays full for as long is too small, unless the process is busy, ms. */
const FULL_MS = 100;

/** A slot that was asked for and has not begun by now was lost, or runs in another process, ms. */
const ASKED_MS = 1_000;

/** The longest time that a timer can be set to, ms. */
const LONGEST_MS = 2 ** 31 - 1;

/** After so many claims in vain a slot ends, if other slots are at work. */
const VAIN = 2;

/** What a claim has taken, and when the next one is worthwhile. */
export interface Claimed<Claim> {
  claims: Claim[];
  next: NextClaim;
}

interface SlotsDependencies<Claim> {
  /** Claims so many requests at most. */
  claim: (most: number) => Promise<Claimed<Claim>>;
  /** Makes a claimed request and settles it; never throws. @returns false where it came too late */
  perform: (claim: Claim) => Promise<boolean>;
  /** Adds a slot to the queue that all processes share, unless one waits in it. */
  ask: () => Promise<void>;
  /** The number of slots that are at work, in all processes. */
  countAtWork: () => Promise<number>;
  /** Has the slots of all processes claim. */
  wakeAll: () => Promise<void>;
  /** The most requests under way in this process. */
  most: () => number;
  /** Whether there are that many whatever process and Redis can do. */
  isFixed: boolean;
  /** Starts to measure which share of its time this process does not wait. @returns what gives it */
  measureBusy: () => () => number;
  /** Milliseconds of a clock that only runs forward. */
  clock: () => number;
  onError: (error: unknown) => void;
}

/**
 * The slots of one source in this process, of which one is at work at a time. It claims as many requests
 * as are due and fit into the window, makes them side by side, and waits until another claim is
 * worthwhile: as a rule one slot in one process serves the source. Another process gets one, too, where
 * more is due than fits.
 */
export class Slots<Claim> {
  private window = FIRST_WINDOW;
  private readonly underWay = new Set<Promise<void>>();
  private isAtWork = false;
  private isStopped = false;
  /** When a slot was asked for that has not begun here. */
  private askedAt = -Infinity;
  /** When the next request is due, as far as this process knows. */
  private dueAt = Infinity;
  private heldUntil = -Infinity;
  private claimedAt = -Infinity;
  /** When this process asks for a slot. */
  private timer: NodeJS.Timeout | undefined;
  /** Ends the wait of the slot. */
  private wake: () => void = () => undefined;

  constructor(private readonly deps: SlotsDependencies<Claim>) {}

  /** Something is due now. */
  due(): void {
    this.dueIn(0);
  }

  /** A request is due after this time. */
  dueIn(ms: number): void {
    const at = this.deps.clock() + ms;
    if (at >= this.dueAt) return;
    this.dueAt = at;
    this.goOn();
  }

  /** The source accepts requests again. */
  free(): void {
    this.heldUntil = -Infinity;
    this.dueAt = Math.min(this.dueAt, this.deps.clock());
    this.goOn();
  }

  /** Another process says that something is due, or that the source accepts requests again. It asks for a slot where that takes one. */
  woken(): void {
    if (this.isAtWork) this.free();
    else this.heldUntil = -Infinity;
  }

  /** Runs one slot, until nothing is due soon, or other slots claim all that is due. */
  async run(): Promise<void> {
    this.isAtWork = true;
    this.askedAt = -Infinity;
    clearTimeout(this.timer);
    // Another process may have asked for it.
    this.dueAt = this.deps.clock();
    try {
      for (let vain = 0; await this.isWorthwhile();) {
        vain = (await this.claim()) > 0 ? 0 : vain + 1;
        if (vain >= VAIN && (await this.leaveToOthers())) break;
      }
    } finally {
      this.isAtWork = false;
      this.goOn();
    }
  }

  /** Lets no slot claim any more. */
  stop(): void {
    this.isStopped = true;
    clearTimeout(this.timer);
    this.wake();
  }

  /** Waits for the requests under way, then leaves what is due to other processes. */
  async leave(): Promise<void> {
    await Promise.all(this.underWay);
    if (this.dueAt < Infinity) await this.deps.ask().catch(this.deps.onError);
  }

  /** When another claim is worthwhile. */
  private get claimAt(): number {
    return Math.max(this.dueAt, this.heldUntil);
  }

  private get room(): number {
    const most = this.deps.most();
    return (this.deps.isFixed ? most : windowSize(this.window, most)) - this.underWay.size;
  }

  /** Has the slot see what has changed; without one, asks for one when it is needed. */
  private goOn(): void {
    if (this.isAtWork) return this.wake();
    clearTimeout(this.timer);
    if (this.isStopped || this.claimAt === Infinity) return;
    const at = Math.max(this.claimAt, this.askedAt + ASKED_MS);
    const inMs = Math.ceil(Math.max(0, at - this.deps.clock()));
    this.timer = setTimeout(() => void this.askNow(), Math.min(inMs, LONGEST_MS)).unref();
  }

  /** Asks for a slot, in whatever process; that begins with a claim. */
  private async askNow(): Promise<void> {
    const { dueAt } = this;
    this.askedAt = this.deps.clock();
    this.dueAt = Infinity;
    try {
      await this.deps.ask();
    } catch (error) {
      this.dueAt = Math.min(this.dueAt, dueAt);
      this.deps.onError(error);
      this.goOn();
    }
  }

  /** Waits until there is something to claim, and room for it. @returns false where that is not soon */
  private async isWorthwhile(): Promise<boolean> {
    const { clock } = this.deps;
    const until = clock() + WAIT_MS;
    while (!this.isStopped && this.claimAt <= until) {
      const inMs = Math.max(this.claimAt, this.claimedAt + APART_MS) - clock();
      if (inMs <= 0 && this.room > 0) return true;
      await (inMs > 0 ? this.wait(inMs) : this.waitForRoom());
    }
    return false;
  }

  /** Waits for a request to end. Where none does for a while, as at a source that hangs, more may be under way. */
  private async waitForRoom(): Promise<void> {
    const { clock, most, measureBusy } = this.deps;
    const busyShare = measureBusy();
    const until = clock() + FULL_MS;
    await this.wait(FULL_MS);
    if (this.room > 0 || clock() < until) return;
    const full = { claimed: this.underWay.size, busyShare: busyShare(), most: most() };
    this.window = afterFull(this.window, full);
  }

  private wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.wake(), Math.ceil(ms));
      this.wake = () => {
        clearTimeout(timer);
        this.wake = () => undefined;
        resolve();
      };
    });
  }

  /** Claims what fits and begins it. @returns how many requests that were */
  private async claim(): Promise<number> {
    const { clock } = this.deps;
    const { room } = this;
    const askedAt = clock();
    const busyShare = this.deps.measureBusy();
    // What becomes due from here on may be missing in the answer.
    this.dueAt = Infinity;
    const { claims, next } = await this.deps.claim(room).catch((error: unknown) => {
      this.dueAt = askedAt + ASKED_MS;
      throw error;
    });
    const answeredAt = clock();
    this.claimedAt = answeredAt;
    const isFull = claims.length >= room && next.is === 'idle' && next.ms === 0;
    if (isFull) {
      const full = { claimed: claims.length, busyShare: busyShare(), most: this.deps.most() };
      this.window = afterFull(this.window, full);
    }
    if (next.is !== 'idle') this.heldUntil = Math.max(this.heldUntil, answeredAt + next.ms);
    if (next.ms !== null) this.dueAt = Math.min(this.dueAt, answeredAt + next.ms);
    for (const one of claims) this.begin(one, askedAt);
    if (isFull && this.room <= 0) this.askForHelp();
    return claims.length;
  }

  private begin(claim: Claim, claimedAt: number): void {
    const request = this.perform(claim, claimedAt).finally(() => {
      const isFull = this.room <= 0;
      this.underWay.delete(request);
      if (isFull) this.wake();
    });
    this.underWay.add(request);
  }

  private async perform(claim: Claim, claimedAt: number): Promise<void> {
    const isInTime = await this.deps.perform(claim);
    if (!isInTime) this.window = afterLate(this.window, claimedAt, this.deps.clock());
  }

  /** More is due than fits here, so that another process may have a slot, too. */
  private askForHelp(): void {
    if (this.deps.clock() < this.askedAt + ASKED_MS) return;
    this.askedAt = this.deps.clock();
    this.deps.ask().catch(this.deps.onError);
  }

  /** @returns whether other slots are at work, which claim what this process knows of */
  private async leaveToOthers(): Promise<boolean> {
    if ((await this.deps.countAtWork()) <= 1) return false;
    // This process hears its own wake-up, too.
    this.isAtWork = false;
    this.dueAt = Infinity;
    await this.deps.wakeAll();
    return true;
  }
}
