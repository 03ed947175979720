import type { Claim } from '../core/claim.ts';
import type { GateLimits } from '../core/gate.ts';
import { createClaimRounds } from './claim-rounds.ts';
import type { Delivered, Ring } from './deliver-event.ts';
import type { GateStore } from './stores.ts';

interface DispatcherDependencies {
  gates: Pick<GateStore, 'claim' | 'dueBy'>;
  limitsOf: (gate: string) => GateLimits;
  deliver: (claim: Claim, room: () => number) => Promise<Delivered>;
  /** How many attempts this process has under way at the most. */
  capacity: number;
  /** Runs an action after so many ms; those that are left when the process ends need not run. */
  later: (ms: number, action: () => void) => void;
  onError: (error: unknown) => void;
  now: () => number;
}

/** How often what is due is looked for, and so how far ahead, ms. */
export const LOOK_EVERY_MS = 100;

/** Gates that are asked for in one look. */
const GATES_PER_LOOK = 1_000;

/** Claims what is due and delivers it. */
export interface Dispatcher {
  /** Deliveries of these gates have become due: claims what this process has room for. */
  dispatch(gates: readonly string[]): void;
  /** Looks for all that is due, whoever planned it; to be called every {@link LOOK_EVERY_MS}. */
  look(): Promise<void>;
  /** Claims nothing more; resolves once what is under way has come to its end. */
  close(): Promise<void>;
}

/**
 * The loop of delivering. What is due waits in the store, gate by gate; this process claims as much
 * of it as it has room for, the process that planned a delivery at once, any other at its next look.
 * An attempt that is over hands its place to the next delivery at the same gate by the same step that
 * writes its result, so that a backlog costs one round trip each. What a process that died had
 * claimed is due again when its places lapse.
 */
export function createDispatcher(deps: DispatcherDependencies): Dispatcher {
  /** By the ids of their deliveries. */
  const underWay = new Map<string, Promise<void>>();
  let isClosed = false;
  const room = () => (isClosed ? 0 : deps.capacity - underWay.size);
  /** The attempt that asks makes room by its end. */
  const roomAfter = () => (isClosed ? 0 : room() + 1);
  const rounds = createClaimRounds({ ...deps, room, run });

  /**
   * A place may lapse although its holder lives, when results cannot be written for long. What this
   * process still has the result of is not sent again: writing that ends the new claim, too.
   */
  function run(claims: readonly Claim[]): void {
    for (const claim of claims) {
      const { id } = claim.stored.delivery;
      if (!underWay.has(id)) underWay.set(id, attend(id, claim));
    }
  }

  async function attend(id: string, claim: Claim): Promise<void> {
    const delivered = await deliver(claim);
    underWay.delete(id);
    run(delivered.claimed);
    // Where nothing rings, there is room again for what was asked for before.
    heed(delivered.rings);
  }

  /** Where it fails, the place of the delivery lapses, and with that it is due again. */
  async function deliver(claim: Claim): Promise<Delivered> {
    try {
      return await deps.deliver(claim, roomAfter);
    } catch (error) {
      deps.onError(error);
      return { claimed: [], rings: [] };
    }
  }

  /** What is due only after the next look is found by that. */
  function heed(rings: readonly Ring[]): void {
    const now = deps.now();
    dispatch(rings.filter(({ at }) => at <= now).map(({ gate }) => gate));
    for (const { gate, at } of rings) {
      if (at > now && at <= now + LOOK_EVERY_MS) deps.later(at - now, () => dispatch([gate]));
    }
  }

  function dispatch(gates: readonly string[]): void {
    if (!isClosed) rounds.ask(gates);
  }

  return {
    dispatch,
    look: async () => heed(await deps.gates.dueBy(deps.now() + LOOK_EVERY_MS, GATES_PER_LOOK)),
    async close() {
      isClosed = true;
      // What was claimed just before goes out, too, while there is a store to write its result to.
      await rounds.settled();
      while (underWay.size > 0) await Promise.allSettled(underWay.values());
    },
  };
}
