import { foldClaims, type ClaimGroup } from '../core/delivery/fold.ts';
import type { Claim } from '../core/delivery/claim.ts';
import type { PoolClaims } from '../redis/stores/pool-claims.ts';
import { FIRST_SLOTS } from '../core/delivery/slots.ts';
import { faultLog } from '../fault-log.ts';
import { isHostExhausted } from '../host-shortage.ts';
import type { Delivered, NextDue } from './attempts.ts';
import { isWithoutResult } from './channels/channel.ts';
import type { Deliverer } from './deliverer.ts';

/** The longest time between two sweeps of the due index, ms: a message about due pools may be lost. */
const SWEEP_EVERY_MS = 5_000;

/** Pools read by one sweep. */
const POOLS_PER_SWEEP = 1_000;

/** How long attempts go on after the process begins to stop; then they are aborted, ms. */
const STOP_GRACE_MS = 500;

/** How long a pool waits after this host could open no connection for it, ms. */
const EXHAUSTED_REST_MS = 1_000;

/** What the loop reacts to. */
type Signal =
  | { kind: 'due'; next: readonly NextDue[] }
  | { kind: 'claimed'; pool: string; asked: number; found: Omit<PoolClaims, 'slots'> }
  | { kind: 'ended'; pool: string; delivered: Delivered };

/**
 * The outbox relay: claims due deliveries and makes their attempts. Due deliveries wait in the store,
 * by pool. Whenever a pool becomes due, a claim is answered or an attempt ends, the loop claims as many
 * deliveries as slots are free. The step that writes the result of an attempt also claims the next
 * delivery of the pool: a backlog costs one round trip per delivery.
 */
export class Relay {
  private readonly signals = createQueue<Signal>();
  private readonly free: FreeSlots;
  /** Pools with due deliveries that wait for a claim. */
  private readonly due = new Set<string>();
  /** Pools with a claim in flight: one at a time each. */
  private readonly claiming = new Set<string>();
  /** Pools for which this process claims nothing for a while, since it could open no connection. */
  private readonly resting = new Set<string>();
  /** Attempts whose end the loop has not seen. */
  private running = 0;
  private readonly wakeUp: WakeUp;
  private readonly onError: (error: unknown) => void;
  private isClosing = false;
  private sweeping: Promise<void> | null = null;
  private readonly closed: Promise<void>;

  constructor(private readonly deliverer: Deliverer) {
    const { config, log } = deliverer.process;
    this.onError = faultLog(log, 'deliver');
    this.free = createFreeSlots(config.delivery.concurrency);
    this.wakeUp = createWakeUp(deliverer, () => void this.sweep().catch(this.onError));
    this.closed = this.run();
  }

  /** Deliveries of these pools have become due. */
  dispatch(pools: readonly string[]): void {
    this.signals.put({ kind: 'due', next: pools.map((pool) => ({ pool, inMs: 0 })) });
  }

  /** Claims may be made again. */
  resume(): void {
    this.dispatch([]);
  }

  /** Reads the due index, in which every process writes. */
  async sweep(): Promise<void> {
    this.sweeping ??= this.readDue().finally(() => (this.sweeping = null));
    return this.sweeping;
  }

  /**
   * Claims nothing more, and resolves once no attempt is in progress. Aborted attempts are released.
   * @param elapsedMs for how long the process has been stopping
   */
  async close(elapsedMs = 0): Promise<void> {
    const { attempts } = this.deliverer;
    this.isClosing = true;
    this.wakeUp.cancel();
    this.signals.put({ kind: 'due', next: [] });
    const graceMs = Math.max(0, STOP_GRACE_MS - elapsedMs);
    const cancelAbort = this.deliverer.later(graceMs, () => attempts.callOff());
    await this.closed;
    cancelAbort();
  }

  private async run(): Promise<void> {
    while (!this.isClosing || this.claiming.size + this.running > 0) {
      for (const signal of await this.signals.takeAll()) this.react(signal);
      if (!this.isClosing) this.claimDue();
    }
  }

  private react(signal: Signal): void {
    switch (signal.kind) {
      case 'due':
        return this.note(signal.next);
      case 'claimed':
        return this.onClaimed(signal);
      case 'ended':
        return this.onEnded(signal);
    }
  }

  private note(next: readonly NextDue[]): void {
    const served = next.filter(({ pool }) => this.deliverer.serves(pool));
    for (const { pool, inMs } of served) if (inMs <= 0) this.due.add(pool);
    const soonest = Math.min(...served.filter(({ inMs }) => inMs > 0).map(({ inMs }) => inMs));
    if (!this.isClosing && soonest < SWEEP_EVERY_MS) this.wakeUp.within(soonest);
  }

  private onClaimed({ pool, asked, found }: Signal & { kind: 'claimed' }): void {
    const { claims, heldMs } = found;
    this.claiming.delete(pool);
    this.free.release(pool, asked);
    this.start(pool, claims);
    if (heldMs !== null) this.note([{ pool, inMs: heldMs }]);
    // The pool had as many due as were asked for, and by now more slots.
    else if (claims.length >= asked && asked < this.mostAt(pool)) this.due.add(pool);
  }

  private onEnded({ pool, delivered }: Signal & { kind: 'ended' }): void {
    this.running -= 1;
    this.free.release(pool, 1);
    this.start(pool, delivered.claimed);
    this.note(delivered.next);
  }

  private claimDue(): void {
    if (!this.deliverer.process.pulse.isSure()) return;
    // One share for all that wait now, so that none gets more by its place in the order.
    const share = this.free.share(this.due.size);
    for (const pool of this.due) {
      if (this.free.total() <= 0) return;
      if (this.claiming.has(pool)) continue;
      if (!this.deliverer.serves(pool) || this.resting.has(pool)) {
        this.due.delete(pool);
        continue;
      }
      const asked = Math.min(this.mostAt(pool), this.free.at(pool, share));
      if (asked > 0) {
        this.due.delete(pool);
        this.claiming.add(pool);
        this.free.take(pool, asked);
        void this.claim(pool, asked);
      } else if (this.claiming.size === 0) {
        // Its own attempts keep it from more slots; each of them claims its next delivery.
        this.due.delete(pool);
      }
    }
  }

  /** How many other pools wait for a claim. */
  private othersThan(pool: string): number {
    return this.due.size - Number(this.due.has(pool));
  }

  /** As many as the pool's slots, as far as this process knows them: the store claims no more. */
  private mostAt(pool: string): number {
    const { process, slots } = this.deliverer;
    return Math.min(process.endpoints.limitsOf(pool).most, slots.limitOf(pool));
  }

  private async claim(pool: string, most: number): Promise<void> {
    const { claims, process } = this.deliverer;
    const { endpoints, stores } = process;
    let found: Omit<PoolClaims, 'slots'> = { claims: [], heldMs: null };
    try {
      found = await claims.take(pool, (token) => {
        const limits = endpoints.limitsOf(pool);
        return stores.outbox.claim({ pool, limits, most, token, askedAt: performance.now() });
      });
    } catch (error) {
      // The next sweep finds the pool again.
      this.onError(error);
    }
    this.signals.put({ kind: 'claimed', pool, asked: most, found });
  }

  /** Starts an attempt for each claim, or one for all claims that a message covers. */
  private start(pool: string, claims: readonly Claim[]): void {
    if (!this.deliverer.serves(pool)) {
      void this.giveBack(pool, claims).catch(this.onError);
      return;
    }
    const { claims: own, process } = this.deliverer;
    for (const claimed of foldClaims(claims, process.endpoints.limitsOf(pool).foldMost)) {
      const [first, ...others] = claimed.filter((claim) => own.begin(claim));
      if (first === undefined) continue;
      this.running += 1;
      this.free.take(pool, 1);
      void this.attempt(pool, [first, ...others]);
    }
  }

  private async attempt(pool: string, group: ClaimGroup): Promise<void> {
    let isHeldBack = false;
    const room = () => {
      // The slot of this attempt is free once its result is written.
      const most = this.mayClaimAt(pool) ? this.free.next(pool, this.othersThan(pool)) : 0;
      isHeldBack = most === 0;
      return this.isClosing ? 0 : most;
    };
    const { claimed, next } = await this.deliver(pool, group, room);
    const later = isHeldBack ? [...next, { pool, inMs: 0 }] : next;
    this.signals.put({ kind: 'ended', pool, delivered: { claimed, next: later } });
  }

  private mayClaimAt(pool: string): boolean {
    const { process } = this.deliverer;
    return process.pulse.isSure() && this.deliverer.serves(pool) && !this.resting.has(pool);
  }

  private async deliver(pool: string, group: ClaimGroup, room: () => number): Promise<Delivered> {
    const { attempts, claims } = this.deliverer;
    try {
      return await attempts.deliver(group, room);
    } catch (error) {
      if (!isWithoutResult(error)) {
        this.onError(error);
        return { claimed: [], next: [] };
      }
      if (isHostExhausted(error)) this.rest(pool, error);
      await claims.release(pool, group).catch(this.onError);
      // The bell that the release rings may come while these slots still count as taken.
      return { claimed: [], next: [{ pool, inMs: 0 }] };
    } finally {
      // A claim that is neither written nor released here is released by the periodic check of claims.
      for (const claim of group) claims.end(claim);
    }
  }

  /** Other processes may attempt its deliveries meanwhile. */
  private rest(pool: string, error: unknown): void {
    this.deliverer.process.hostShortages.note(error);
    if (this.resting.has(pool)) return;
    this.resting.add(pool);
    this.deliverer.later(EXHAUSTED_REST_MS, () => {
      this.resting.delete(pool);
      this.dispatch([pool]);
    });
  }

  /** Gives claims back of which no attempt was made. */
  private async giveBack(pool: string, claims: readonly Claim[]): Promise<void> {
    const { claims: own } = this.deliverer;
    const unstarted = claims.filter((claim) => own.begin(claim));
    try {
      if (unstarted.length > 0) await own.release(pool, unstarted);
    } finally {
      for (const claim of unstarted) own.end(claim);
    }
  }

  private async readDue(): Promise<void> {
    try {
      const next = await this.deliverer.process.stores.outbox.duePools(POOLS_PER_SWEEP);
      this.signals.put({ kind: 'due', next });
    } finally {
      if (!this.isClosing) this.wakeUp.within(SWEEP_EVERY_MS);
    }
  }
}

type FreeSlots = ReturnType<typeof createFreeSlots>;

/**
 * The free slots of this process: its capacity less the attempts in progress and the slots reserved
 * for claims in flight.
 */
function createFreeSlots(capacity: number) {
  const usedBy = new Map<string, number>();
  let used = 0;
  function use(pool: string, count: number): void {
    used += count;
    const after = (usedBy.get(pool) ?? 0) + count;
    if (after > 0) usedBy.set(pool, after);
    else usedBy.delete(pool);
  }
  /**
   * What each of so many waiting pools gets beyond a few slots: an equal part of what is left of half of
   * the capacity. Receivers that grew and then hang must not block the others.
   */
  function share(waiting: number): number {
    const beyond = capacity - used - Math.ceil(capacity / 2) - FIRST_SLOTS * (waiting - 1);
    return Math.max(0, Math.floor(beyond / Math.max(1, waiting)));
  }
  /** A few slots, and a share of those beyond. */
  function at(pool: string, beyond: number): number {
    const few = Math.max(0, FIRST_SLOTS - (usedBy.get(pool) ?? 0));
    return Math.min(capacity - used, few + beyond);
  }
  return {
    total: () => capacity - used,
    share,
    at,
    /** Slots for the next deliveries of a pool as its attempt ends: one with many leaves that slot to others. */
    next(pool: string, others: number): number {
      const hasMany = (usedBy.get(pool) ?? 0) > FIRST_SLOTS;
      return hasMany && others > 0 ? 0 : at(pool, share(others + 1)) + 1;
    },
    take: use,
    release: (pool: string, count: number) => use(pool, -count),
  };
}

/** Items put by several producers, taken together by one consumer. */
function createQueue<Item>() {
  let items: Item[] = [];
  let wake: (() => void) | null = null;
  return {
    put(item: Item): void {
      items.push(item);
      wake?.();
    },
    async takeAll(): Promise<Item[]> {
      if (items.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      const taken = items;
      items = [];
      return taken;
    },
  };
}

type WakeUp = ReturnType<typeof createWakeUp>;

/** A timer that runs an action once, at the earliest of the times it was set to. */
function createWakeUp(deliverer: Pick<Deliverer, 'later'>, action: () => void) {
  let timer: { at: number; cancel: () => void } | null = null;
  return {
    within(ms: number): void {
      const at = performance.now() + ms;
      if (timer !== null && timer.at <= at) return;
      timer?.cancel();
      const cancel = deliverer.later(Math.ceil(ms), () => {
        timer = null;
        action();
      });
      timer = { at, cancel };
    },
    cancel: () => timer?.cancel(),
  };
}
