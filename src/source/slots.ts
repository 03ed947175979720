import type { SourceConfig } from '../config/schema.ts';
import { autoConcurrency, shareOf, type AskedSource } from '../core/source/rate-limit.ts';
import type { NextClaim } from '../redis/stores/request-claim.ts';
import { afterFull, afterLate, FIRST_WINDOW, windowSize } from '../core/source/window.ts';
import { faultLog } from '../fault-log.ts';
import type { SlotQueue, SlotWorker } from '../queue/slot-queue.ts';
import type { RequestClaim } from './schedule.ts';
import type { Source } from './source.ts';
import { isRunlessProbe } from '../core/source/throttle.ts';
import { isAborted } from '../deadline.ts';
import { isHostExhausted } from '../host-shortage.ts';

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
export interface Claimed {
  claims: RequestClaim[];
  next: NextClaim;
}

/**
 * The slots of one source in this process, of which one is at work at a time. It claims as many requests
 * as are due and fit into the window, makes them side by side, and waits until another claim is
 * worthwhile: as a rule one slot in one process serves the source. Another process gets one, too, where
 * more is due than fits.
 */
export class Slots {
  private window = FIRST_WINDOW;
  private readonly underWay = new Set<Promise<void>>();
  private isAtWork = false;
  private isStopped = false;
  /** When a slot was asked for that has not begun here. */
  private askedAt = -Infinity;
  /** When the next request is due, as far as this process knows. */
  private dueAt = Infinity;
  private heldUntil = -Infinity;
  /** How often the source was said to accept requests again: an answer from before holds up nothing. */
  private freed = 0;
  private claimedAt = -Infinity;
  /** When this process asks for a slot. */
  private timer: NodeJS.Timeout | undefined;
  /** Ends the wait of the slot. */
  private wake: () => void = () => undefined;
  private readonly queue: SlotQueue;
  private worker: SlotWorker | null = null;
  /** What the sources of this process are asked, which share what it has under way. */
  private all: readonly AskedSource[] = [];
  private readonly onError: (error: unknown) => void;

  constructor(private readonly source: Source) {
    const { process, name } = source;
    this.queue = process.queueOf(`poll-${name}`);
    this.onError = faultLog(process.log, 'poll', { source: name });
    this.shareWith(Object.values(process.config.sources));
  }

  /** Sets the sources that share what a process has under way. */
  shareWith(all: readonly SourceConfig[]): void {
    this.all = all.map(({ rate_limit: { requests, per }, timeout }) => ({
      limit: { requests, perMs: per },
      timeoutMs: timeout,
    }));
  }

  start(): void {
    this.worker = this.queue.work(() => this.run());
  }

  isRunning(): boolean {
    return this.worker?.isRunning() ?? false;
  }

  /** Something is due now. */
  due(): void {
    this.dueIn(0);
  }

  /** A request is due after this time. */
  dueIn(ms: number): void {
    const at = this.clock() + ms;
    if (at >= this.dueAt) return;
    this.dueAt = at;
    this.goOn();
  }

  /** The source accepts requests again. */
  free(): void {
    this.freed += 1;
    this.heldUntil = -Infinity;
    this.dueAt = Math.min(this.dueAt, this.clock());
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
    this.dueAt = this.clock();
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

  /**
   * Waits for the running slot and the requests under way, then leaves what is due to other processes.
   * @param force waits for nothing, since Redis is away
   */
  async leave(force: boolean): Promise<void> {
    await this.worker?.close(force);
    if (force) return;
    // What was under way is released by now, so that the next slot finds it.
    await Promise.all(this.underWay);
    if (this.dueAt < Infinity) await this.queue.ask().catch(this.onError);
  }

  close(): Promise<void> {
    return this.queue.close();
  }

  /** When another claim is worthwhile. */
  private get claimAt(): number {
    return Math.max(this.dueAt, this.heldUntil);
  }

  private get room(): number {
    const most = this.most();
    return (this.isFixed ? most : windowSize(this.window, most)) - this.underWay.size;
  }

  /** Whether as many may be under way, whatever process and Redis can do. */
  private get isFixed(): boolean {
    return this.source.process.config.polling.concurrency !== 'auto';
  }

  /** The most requests under way in this process. */
  private most(): number {
    const { process, limiter, timeoutMs } = this.source;
    const { concurrency } = process.config.polling;
    const asked = { limit: limiter.limit, timeoutMs };
    return concurrency === 'auto'
      ? autoConcurrency(asked, this.all)
      : shareOf(concurrency, asked, this.all);
  }

  private clock(): number {
    return this.source.process.monotonic();
  }

  /** Has the slot see what has changed; without one, asks for one when it is needed. */
  private goOn(): void {
    if (this.isAtWork) return this.wake();
    clearTimeout(this.timer);
    if (this.isStopped || this.claimAt === Infinity) return;
    const at = Math.max(this.claimAt, this.askedAt + ASKED_MS);
    const inMs = Math.ceil(Math.max(0, at - this.clock()));
    this.timer = setTimeout(() => void this.askNow(), Math.min(inMs, LONGEST_MS)).unref();
  }

  /** Asks for a slot, in whatever process; that begins with a claim. */
  private async askNow(): Promise<void> {
    const { dueAt } = this;
    this.askedAt = this.clock();
    this.dueAt = Infinity;
    try {
      await this.queue.ask();
    } catch (error) {
      this.dueAt = Math.min(this.dueAt, dueAt);
      this.onError(error);
      this.goOn();
    }
  }

  /** Waits until there is something to claim, and room for it. @returns false where that is not soon */
  private async isWorthwhile(): Promise<boolean> {
    const until = this.clock() + WAIT_MS;
    while (!this.isStopped && this.claimAt <= until) {
      const inMs = Math.max(this.claimAt, this.claimedAt + APART_MS) - this.clock();
      if (inMs <= 0 && this.room > 0) return true;
      await (inMs > 0 ? this.wait(inMs) : this.waitForRoom());
    }
    return false;
  }

  /** Waits for a request to end. Where none does for a while, as at a source that hangs, more may be under way. */
  private async waitForRoom(): Promise<void> {
    const busyShare = this.source.process.measureBusy();
    const until = this.clock() + FULL_MS;
    await this.wait(FULL_MS);
    if (this.room > 0 || this.clock() < until) return;
    const full = { claimed: this.underWay.size, busyShare: busyShare(), most: this.most() };
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
    const { room, freed } = this;
    const askedAt = this.clock();
    const busyShare = this.source.process.measureBusy();
    // What becomes due from here on may be missing in the answer.
    this.dueAt = Infinity;
    const { claims, next } = await this.source.schedule.claim(room).catch((error: unknown) => {
      this.dueAt = askedAt + ASKED_MS;
      throw error;
    });
    const answeredAt = this.clock();
    this.claimedAt = answeredAt;
    const isFull = claims.length >= room && next.is === 'idle' && next.ms === 0;
    if (isFull) {
      const full = { claimed: claims.length, busyShare: busyShare(), most: this.most() };
      this.window = afterFull(this.window, full);
    }
    const isHeld = next.is !== 'idle' && freed === this.freed;
    if (isHeld) this.heldUntil = Math.max(this.heldUntil, answeredAt + next.ms);
    if (next.ms !== null) this.dueAt = Math.min(this.dueAt, answeredAt + next.ms);
    for (const one of claims) this.begin(one, askedAt);
    if (isFull && this.room <= 0) this.askForHelp();
    return claims.length;
  }

  private begin(claim: RequestClaim, claimedAt: number): void {
    const request = this.perform(claim, claimedAt).finally(() => {
      const isFull = this.room <= 0;
      this.underWay.delete(request);
      if (isFull) this.wake();
    });
    this.underWay.add(request);
  }

  private async perform(claim: RequestClaim, claimedAt: number): Promise<void> {
    const isInTime = await this.source.performer.perform(claim);
    if (!isInTime) this.window = afterLate(this.window, claimedAt, this.clock());
  }

  /** More is due than fits here, so that another process may have a slot, too. */
  private askForHelp(): void {
    if (this.clock() < this.askedAt + ASKED_MS) return;
    this.askedAt = this.clock();
    this.queue.ask().catch(this.onError);
  }

  /** @returns whether other slots are at work, which claim what this process knows of */
  private async leaveToOthers(): Promise<boolean> {
    if (!(await this.areOthersAtWork())) return false;
    // This process hears its own wake-up, too.
    this.isAtWork = false;
    this.dueAt = Infinity;
    await this.source.wakeAll();
    return true;
  }

  /** Whether other live processes have slots: that of a killed one counts for a minute or two. */
  private async areOthersAtWork(): Promise<boolean> {
    if ((await this.queue.countAtWork()) <= 1) return false;
    const { id, stores } = this.source.process;
    const [atWork, live] = await Promise.all([
      this.queue.processesAtWork(),
      stores.processes.counters(),
    ]);
    return [...atWork].some((one) => one !== id && live.has(one));
  }
}

/** The delay of a request after an unexpected error, ms. */
const FAULT_DELAY_MS = 5_000;

/** The delay of a request for which this host could open no connection, ms. */
const EXHAUSTED_DELAY_MS = 1_000;

/**
 * Makes claimed requests: a poll of a run, a read of a page of a list, a plan, or an event stream. The claim always
 * ends, either by the write of the result or by its release.
 */
export class Performer {
  private readonly onError: (error: unknown) => void;

  constructor(private readonly source: Source) {
    this.onError = faultLog(source.process.log, 'poll', { source: source.name });
  }

  /** Never throws. @returns false where it was too late to send the request, or to write its result */
  async perform(claim: RequestClaim): Promise<boolean> {
    const { process, name, throttle } = this.source;
    throttle.saw(claim.isTroubled);
    let isInTime = true;
    try {
      isInTime = await this.make(claim);
    } catch (error) {
      await this.release(claim, error);
    }
    // Usually the answer has released the probe; without one, nothing else would.
    if (claim.failedProbes !== null) {
      await process.stores.sources.probeLease(name).end(claim.token).catch(this.onError);
    }
    return isInTime;
  }

  private async make(claim: RequestClaim): Promise<boolean> {
    const { limiter, reader, streams } = this.source;
    const { failedProbes, count } = claim;
    const watch = claim.stored?.watch;
    if (watch?.run === null && failedProbes === null) {
      await streams.beforeFirst(watch, { count, limit: limiter.limit.requests });
    }
    // After a long delay another process may hold the claim, or the permit may have expired.
    if (claim.isStale() || !limiter.covers(claim)) return this.putBack(claim);
    if (failedProbes !== null && reader.canProbe && isRunlessProbe({ failedProbes })) {
      return this.probe(claim);
    }
    return this.request(claim);
  }

  private async request(claim: RequestClaim): Promise<boolean> {
    const { limiter, lists, streams } = this.source;
    if (claim.kind === 'plan') await lists.makePlan(claim);
    else if (claim.kind === 'list') await lists.readPage(claim, limiter.claimed(claim));
    else if (claim.kind === 'stream') await streams.openClaimed(claim, limiter.claimed(claim));
    else return this.poll(claim);
    return true;
  }

  private async poll(claim: RequestClaim): Promise<boolean> {
    const { schedule, limiter, observer } = this.source;
    const { stored, token, lagMs } = claim;
    if (stored === null) return schedule.release(claim, 'never').then(() => true);
    const permitMs = limiter.settleMs(claim);
    const arrival = limiter.arrivalOf(claim);
    const second = limiter.secondOf(claim);
    // The polls of urgent watches go with those that something asked for.
    const isHinted = claim.kind === 'prompt' && stored.watch.profile !== 'urgent';
    const calls = { onSent: () => arrival.sent(), onSecond: () => second.use() };
    const claimed = { stored, token, lagMs, permitMs, isHinted, ...calls };
    const polled = await observer.observe(claimed).finally(() => {
      arrival.over();
      second.end();
    });
    if (polled.is === 'unwatched') await schedule.release(claim, 'never');
    else schedule.settled(claim, polled.is === 'written' ? polled.nextMs : null);
    return polled.is !== 'lost' && !claim.isStale();
  }

  /** Probes the source; the claimed run is not read. */
  private async probe(claim: RequestClaim): Promise<boolean> {
    const { reader, limiter, schedule } = this.source;
    await reader.probe();
    limiter.claimed(claim).settle();
    await schedule.release(claim, 'as before');
    return true;
  }

  /** Sends no request, which leaves the permit to another one. */
  private async putBack(claim: RequestClaim): Promise<boolean> {
    const { limiter, schedule } = this.source;
    limiter.claimed(claim).giveBack();
    await schedule.release(claim, 'as before');
    return false;
  }

  private async release(claim: RequestClaim, error: unknown): Promise<void> {
    const { schedule } = this.source;
    if (isAborted(error)) return schedule.handBack(claim).catch(this.onError);
    if (isHostExhausted(error)) return this.waitForHost(claim, error);
    this.onError(error);
    await schedule.release(claim, { inMs: FAULT_DELAY_MS }).catch(this.onError);
  }

  /** Nothing was sent, so it counts neither against the source nor against its limit. */
  private async waitForHost(claim: RequestClaim, error: unknown): Promise<void> {
    const { process, limiter, schedule } = this.source;
    process.hostShortages.note(error);
    limiter.claimed(claim).giveBack();
    await schedule.release(claim, { inMs: EXHAUSTED_DELAY_MS }).catch(this.onError);
  }
}
