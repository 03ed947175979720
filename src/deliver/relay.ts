import type { Claim } from '../core/delivery/delivery.ts';
import type { EndpointLimits } from '../core/delivery/endpoint-state.ts';
import { poolOf } from '../core/delivery/receiver.ts';
import { FIRST_SLOTS } from '../core/delivery/slots.ts';
import { isNotSent } from './attempt.ts';
import type { Delivered, NextDue } from './deliver.ts';
import type { EndpointStore } from './ports.ts';
import type { ClaimTokens, PoolSlots } from './slots.ts';

export interface RelayDependencies {
  endpoints: Pick<EndpointStore, 'claim' | 'duePools' | 'release'>;
  limitsOf: (pool: string) => EndpointLimits;
  /** Whether this process's configuration has the pool; it claims nothing for others. */
  knows: (pool: string) => boolean;
  tokens: ClaimTokens;
  slots: Pick<PoolSlots, 'adopt' | 'limitOf'>;
  deliver: (claim: Claim, room: () => number) => Promise<Delivered>;
  /** How many attempts this process has under way at the most. */
  capacity: number;
  /** Runs an action after so many ms, unless it is called off by the function that this returns. */
  later: (ms: number, action: () => void) => () => void;
  /** Ends attempts that run: their receivers are given up on. */
  abort: () => void;
  onError: (error: unknown) => void;
}

/** The longest time between two sweeps, ms: a message that says what is due may be lost. */
const SWEEP_EVERY_MS = 5_000;

/** Pools that one sweep reads. */
const POOLS_PER_SWEEP = 1_000;

/** How long attempts go on once the process stops; then they are called off and given back, ms. */
const STOP_GRACE_MS = 500;

/** Claims what is due and delivers it. */
export interface Relay {
  /** Deliveries of these pools have become due: claims what this process has room for. */
  dispatch(pools: readonly string[]): void;
  /** Reads what is due in the store, whichever process planned it. */
  sweep(): Promise<void>;
  /**
   * Claims nothing more; what runs ends soon, or is called off and given back.
   * @param elapsedMs for how long the process has been stopping
   */
  close(elapsedMs?: number): Promise<void>;
}

/**
 * The loop of delivering. What is due waits in the store, pool by pool; this process claims as much of
 * it as it has room for: what it planned itself at once, what others planned when they say so, and what
 * was due later when its time comes. An attempt that is over hands its slot to the next delivery of the
 * pool by the same step that writes its result, so that a backlog costs one round trip each.
 */
export function createRelay(deps: RelayDependencies): Relay {
  const attempts = createAttempts(deps, (next) => heed(next));
  const rounds = createClaimRounds({ ...deps, ...attempts });
  const alarm = createAlarm(deps, () => void sweep().catch(deps.onError));
  let sweeping: Promise<void> | null = null;

  function heed(next: readonly NextDue[]): void {
    dispatch(next.filter(({ inMs }) => inMs <= 0).map(({ pool }) => pool));
    const soonest = Math.min(...next.filter(({ inMs }) => inMs > 0).map(({ inMs }) => inMs));
    if (soonest < SWEEP_EVERY_MS) alarm.ringIn(soonest);
  }

  function dispatch(pools: readonly string[]): void {
    if (!attempts.isClosed()) rounds.ask(pools.filter(deps.knows));
  }

  async function readDue(): Promise<void> {
    try {
      const found = await deps.endpoints.duePools(POOLS_PER_SWEEP);
      heed(found.filter(({ pool }) => deps.knows(pool)));
    } finally {
      if (!attempts.isClosed()) alarm.ringIn(SWEEP_EVERY_MS);
    }
  }

  async function sweep(): Promise<void> {
    sweeping ??= readDue().finally(() => (sweeping = null));
    return sweeping;
  }

  return {
    dispatch,
    sweep,
    async close(elapsedMs = 0) {
      attempts.close();
      alarm.cancel();
      // What was claimed just before goes out, too, while there is a store to write its result to.
      await rounds.settled();
      const stopWaiting = deps.later(Math.max(0, STOP_GRACE_MS - elapsedMs), deps.abort);
      await attempts.ended();
      stopWaiting();
    },
  };
}

/** The attempts that this process has under way. */
function createAttempts(deps: RelayDependencies, heed: (next: readonly NextDue[]) => void) {
  /** By the ids of their deliveries. */
  const underWay = new Map<string, { claim: Claim; end: Promise<void> }>();
  const byPool = new Map<string, number>();
  let isClosed = false;

  /**
   * A receiver gets a few attempts in any case, more only while most of the capacity is free: those
   * that grew and then hang hold up no others.
   */
  function room(pool: string, planned = 0): number {
    const free = isClosed ? 0 : deps.capacity - underWay.size - planned;
    const few = Math.max(0, FIRST_SLOTS - (byPool.get(pool) ?? 0));
    return Math.min(free, few + Math.max(0, free - Math.ceil(deps.capacity / 2)));
  }

  /**
   * What this process has still at hand, because its lease ended before the result could be written, is
   * not sent again: the new claim stands for the attempt that runs.
   */
  function run(claims: readonly Claim[]): void {
    for (const claim of claims) {
      const { id } = claim.stored.delivery;
      const running = underWay.get(id);
      if (running === undefined) {
        underWay.set(id, { claim, end: attend(id, claim) });
        continue;
      }
      deps.tokens.end(running.claim.token);
      running.claim.token = claim.token;
    }
  }

  async function attend(id: string, claim: Claim): Promise<void> {
    const pool = poolOf(claim.stored.delivery.endpoint);
    byPool.set(pool, (byPool.get(pool) ?? 0) + 1);
    // The attempt that asks makes room by its end.
    const delivered = await deliver(claim, () => (isClosed ? 0 : room(pool) + 1));
    underWay.delete(id);
    const left = (byPool.get(pool) ?? 1) - 1;
    if (left > 0) byPool.set(pool, left);
    else byPool.delete(pool);
    run(delivered.claimed);
    // Where nothing is next, there is room again for what was asked for before.
    heed(delivered.next);
  }

  async function deliver(claim: Claim, roomAfter: () => number): Promise<Delivered> {
    try {
      return await deps.deliver(claim, roomAfter);
    } catch (error) {
      if (!isNotSent(error)) deps.onError(error);
      else await giveBack(deps, claim).catch(deps.onError);
      return { claimed: [], next: [] };
    } finally {
      // What was neither written nor given back is, by the next look at what this process holds.
      deps.tokens.end(claim.token);
    }
  }

  return {
    room,
    run,
    hasRoom: () => !isClosed && underWay.size < deps.capacity,
    isClosed: () => isClosed,
    close: () => void (isClosed = true),
    async ended() {
      while (underWay.size > 0) {
        await Promise.allSettled([...underWay.values()].map(({ end }) => end));
      }
    },
  };
}

async function giveBack(
  { endpoints, limitsOf }: RelayDependencies,
  { stored, token }: Claim,
): Promise<void> {
  const { id, endpoint } = stored.delivery;
  const pool = poolOf(endpoint);
  await endpoints.release({ pool, limits: limitsOf(pool) }, [{ id, token }]);
}

/** Rings once, at the earliest of the times that it is set to. */
function createAlarm({ later }: Pick<RelayDependencies, 'later'>, ring: () => void) {
  let set: { at: number; cancel: () => void } | null = null;
  return {
    ringIn(ms: number): void {
      const at = performance.now() + ms;
      if (set !== null && set.at <= at) return;
      set?.cancel();
      const cancel = later(Math.ceil(ms), () => {
        set = null;
        ring();
      });
      set = { at, cancel };
    },
    cancel: () => set?.cancel(),
  };
}

interface ClaimRoundsDependencies {
  endpoints: Pick<EndpointStore, 'claim'>;
  limitsOf: (pool: string) => EndpointLimits;
  tokens: ClaimTokens;
  slots: Pick<PoolSlots, 'adopt' | 'limitOf'>;
  /** How many more attempts at a pool this process may have under way besides so many that are planned. */
  room: (pool: string, planned: number) => number;
  /** Whether there is room for any. */
  hasRoom: () => boolean;
  /** Takes what was claimed. */
  run: (claims: readonly Claim[]) => void;
  onError: (error: unknown) => void;
}

/** Claims deliveries at the pools that it is asked for. */
interface ClaimRounds {
  /** Also for the pools that were asked for before, and that there was no room for. */
  ask(pools: readonly string[]): void;
  /** Resolves once what is being claimed has been handed on. */
  settled(): Promise<void>;
}

/**
 * Claims in rounds, one at a time: the pools that are asked for meanwhile go together in the next
 * one, and those that there is no room for wait. What is lost with an error is found by the next sweep.
 */
function createClaimRounds(deps: ClaimRoundsDependencies): ClaimRounds {
  const asked = new Set<string>();
  let isOn = false;
  let round = Promise.resolve();

  async function claimAsked(): Promise<void> {
    isOn = true;
    try {
      while (asked.size > 0 && deps.hasRoom()) {
        await Promise.all(takeRequests(asked, deps).map((one) => claimAt(one)));
      }
    } catch (error) {
      deps.onError(error);
    } finally {
      isOn = false;
    }
  }

  async function claimAt({ pool, most }: { pool: string; most: number }): Promise<void> {
    const token = deps.tokens.ask();
    const limits = deps.limitsOf(pool);
    try {
      const request = { pool, limits, most, token, askedAt: performance.now() };
      const { claims, slots } = await deps.endpoints.claim(request);
      deps.tokens.got(token, claims.length);
      deps.slots.adopt(pool, slots);
      deps.run(claims);
      // It gave as many as there was room for, or has more slots than were known of.
      if (claims.length === most && most < mostAt(pool, deps)) asked.add(pool);
    } catch (error) {
      deps.tokens.lose(token);
      throw error;
    }
  }

  return {
    ask(pools) {
      for (const pool of pools) asked.add(pool);
      if (!isOn && asked.size > 0) round = claimAsked();
    },
    settled: () => round,
  };
}

/**
 * As many pools as there is room for if each of them fills its share. One that has attempts under way
 * and no room for more is left to these: each of them claims the next by its end.
 */
function takeRequests(
  asked: Set<string>,
  deps: ClaimRoundsDependencies,
): { pool: string; most: number }[] {
  const requests: { pool: string; most: number }[] = [];
  let planned = 0;
  for (const pool of asked) {
    if (!deps.hasRoom()) break;
    const most = Math.min(mostAt(pool, deps), deps.room(pool, planned));
    if (most <= 0 && deps.room(pool, 0) > 0) break;
    asked.delete(pool);
    if (most <= 0) continue;
    requests.push({ pool, most });
    planned += most;
  }
  return requests;
}

/** As many as its slots, as far as is known here: more cannot be claimed. */
function mostAt(pool: string, { limitsOf, slots }: ClaimRoundsDependencies): number {
  return Math.min(limitsOf(pool).most, slots.limitOf(pool));
}
