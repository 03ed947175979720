import { groupBy } from '../core/arrays.ts';
import type { ClockStep } from '../core/clock.ts';
import type { Claim } from '../core/delivery/claim.ts';
import { UNWELL_KEPT } from '../redis/stores/endpoint-record.ts';
import type { PoolClaims } from '../redis/stores/pool-claims.ts';
import { movedBack } from '../core/delivery/endpoint-state.ts';
import { poolOf } from '../core/delivery/receiver.ts';
import { tokensOf, type ClaimedMember } from '../redis/leases.ts';
import type { Deliverer } from './deliverer.ts';
import { changeEndpoint } from './endpoint-control.ts';

/** The most pools that get new due times. */
const POOLS_MOVED = 100_000;

/** Outstanding deliveries compared at a time. */
export const COMPARED_AT_ONCE = 2_000;

/**
 * The claims of this process on deliveries. The store has a claim as token and lease, and each write proves
 * the token. Here a claim is, one after the other:
 * - asked for: `take` gives a step its token, which counts as held until the store answers;
 * - held: the store has made it;
 * - attempted: `begin` has it, the only one of its delivery;
 * - ended: `end`, after the write of its result or its `release`.
 *
 * What the store ascribes to this process and it does not hold, `tend` releases; what a dead process held,
 * `takeOver` releases.
 */
export class Claims {
  private readonly newToken: () => string;
  /** How many claims each token holds. */
  private readonly held = new Map<string, number>();
  /** Claims whose attempt is in progress and not yet written or released, by delivery. */
  private readonly attempting = new Map<string, Claim>();

  constructor(private readonly deliverer: Deliverer) {
    this.newToken = tokensOf(deliverer.process.id);
  }

  /**
   * Takes a step that claims deliveries of a pool by the given token, and adopts the slots that it returns.
   * Throws what the step throws: whatever it claimed is not held here then.
   */
  async take<Result extends PoolClaims | string>(
    pool: string,
    step: (token: string) => Promise<Result>,
  ): Promise<Result> {
    const token = this.newToken();
    this.hold(token, 1);
    try {
      const result = await step(token);
      this.hold(token, typeof result === 'string' ? 0 : result.claims.length);
      if (typeof result !== 'string') this.deliverer.slots.adopt(pool, result.slots);
      return result;
    } catch (error) {
      this.hold(token, 0);
      throw error;
    }
  }

  /**
   * A delivery whose attempt is still in progress, since its lease expired first, is not sent again: the
   * new claim then proves the running attempt. Where the record has changed meanwhile, that attempt's
   * result is written, though its message may cover others whose results are not.
   * @returns whether an attempt begins by this claim
   */
  begin(claim: Claim): boolean {
    const { id } = claim.stored.delivery;
    const running = this.attempting.get(id);
    if (running === undefined || !isSameRecord(running, claim)) {
      this.attempting.set(id, claim);
      return true;
    }
    this.endToken(running.token);
    running.token = claim.token;
    return false;
  }

  /** Releases claims. From now on the deliveries may be claimed again, for another attempt. */
  async release(pool: string, claims: readonly Claim[]): Promise<void> {
    const { endpoints, stores } = this.deliverer.process;
    for (const claim of claims) this.forget(claim);
    const held = claims.map(({ stored, token }) => ({ id: stored.delivery.id, token }));
    await stores.outbox.release({ pool, limits: endpoints.limitsOf(pool) }, held);
  }

  /** A claim has been written or released, or neither: then `tend` releases it. */
  end(claim: Claim): void {
    this.forget(claim);
    this.endToken(claim.token);
  }

  /** Makes deliveries that a dead process has claimed due at once. */
  async takeOver(process: string): Promise<void> {
    const { deliveryClaims, outbox } = this.deliverer.process.stores;
    await outbox.replayLease.endOf(process);
    for await (const held of deliveryClaims.heldBy(process)) await this.releaseStored(held);
  }

  /** Releases claims with this process's id that it does not hold. */
  async tend(): Promise<void> {
    const { id, stores } = this.deliverer.process;
    for await (const held of stores.deliveryClaims.heldBy(id)) {
      const lost = held.filter(({ token }) => !this.held.has(token));
      if (lost.length > 0) await this.releaseStored(lost);
    }
  }

  /** Claims may be made again, after a time in which they were not sure to stand. */
  resume(): void {
    this.deliverer.relay.resume();
  }

  /** Moves due times back with the store's clock, after a step forward was removed from it. */
  async moveBack(step: ClockStep): Promise<void> {
    const { process } = this.deliverer;
    const { endpoints, stores } = process;
    const { endpointStates, outbox } = stores;
    const inTrouble = await endpointStates.inTrouble(endpoints.names);
    for (const { receiver } of [...inTrouble, ...(await endpointStates.unwell(UNWELL_KEPT))]) {
      await changeEndpoint(process, receiver, (state) => movedBack(state, step));
    }
    for (const { pool } of await outbox.duePools(POOLS_MOVED)) {
      await outbox.moveBack({ pool, limits: endpoints.limitsOf(pool) }, step);
    }
    // A due time within the step was written while the clock was ahead, or is one of after the step.
    let from: string | undefined;
    do from = (await outbox.compare(from, COMPARED_AT_ONCE)).next ?? undefined;
    while (from !== undefined);
  }

  private async releaseStored(held: readonly ClaimedMember[]): Promise<void> {
    const { endpoints, stores } = this.deliverer.process;
    const found = await stores.deliveries.getMany(held.map(({ member }) => member));
    const byPool = groupBy(held, (_, at) => poolOf(found[at]?.delivery.endpoint ?? ''));
    // Side by side: claims of many pools cost one round trip.
    const releases = [...byPool].map(([pool, claims]) => {
      const released = claims.map(({ member: id, token }) => ({ id, token }));
      return stores.outbox.release({ pool, limits: endpoints.limitsOf(pool) }, released);
    });
    await Promise.all(releases);
  }

  private forget(claim: Claim): void {
    const { id } = claim.stored.delivery;
    if (this.attempting.get(id) === claim) this.attempting.delete(id);
  }

  private hold(token: string, claims: number): void {
    if (claims > 0) this.held.set(token, claims);
    else this.held.delete(token);
  }

  private endToken(token: string): void {
    this.hold(token, (this.held.get(token) ?? 0) - 1);
  }
}

function isSameRecord({ stored: one }: Claim, { stored: other }: Claim): boolean {
  return one.version === other.version && one.number === other.number;
}
