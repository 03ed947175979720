import { released, type StoredDelivery } from '../core/delivery.ts';
import { permit } from '../core/gate.ts';
import type { GateLimits, StoredGate } from '../core/gate.ts';
import type { DeliveryStore, GateStore } from './stores.ts';

/** Parked deliveries are let go at this pace per endpoint, so that one that is back is not run over. */
const RELEASED_PER_SECOND = 50;

interface ReleaseDependencies {
  deliveries: DeliveryStore;
  gates: GateStore;
  limitsOf: (endpoint: string) => GateLimits;
  dispatch: (gates: string[]) => void;
  now: () => number;
}

/**
 * Lets parked deliveries go where their gate has opened, one at a time as a probe where it may soon,
 * and all of them to be skipped where it is closed for good.
 * Returns a function to be called every `everyMs`, from any number of processes.
 */
export function createReleaseParked(deps: ReleaseDependencies, everyMs: number) {
  return async function releaseParked(): Promise<void> {
    for (const name of await deps.gates.parked()) {
      if (await deps.gates.mayRelease(name, Math.floor(everyMs * 0.9))) {
        await releaseAt(deps, await deps.gates.get(name), everyMs);
      }
    }
  };
}

async function releaseAt(
  deps: ReleaseDependencies,
  gate: StoredGate,
  everyMs: number,
): Promise<void> {
  const limits = deps.limitsOf(gate.name);
  const count = await releasable(deps, gate, limits, everyMs);
  if (count === 0) return;
  const ids = await deps.gates.parkedAt(gate.name, count);
  const parked = await deps.deliveries.getMany(ids);
  await Promise.all(parked.map(async (stored) => stored && release(deps, stored, gate, limits)));
  deps.dispatch([gate.name]);
}

/** How many deliveries a gate lets go in one round. */
async function releasable(
  deps: ReleaseDependencies,
  gate: StoredGate,
  { rate }: GateLimits,
  everyMs: number,
): Promise<number> {
  const perRound = Math.ceil((RELEASED_PER_SECOND * everyMs) / 1_000);
  switch (permit(gate.gate, deps.now()).kind) {
    case 'send':
      return rate === null ? perRound : Math.min(perRound, Math.ceil((rate * everyMs) / 1_000));
    case 'probe':
      return (await deps.gates.isProbed(gate.name)) ? 0 : 1;
    case 'skip':
      return perRound;
    case 'wait':
    case 'park':
      return 0;
  }
}

/** One that has moved meanwhile is left to whoever moved it. */
async function release(
  { deliveries, now }: ReleaseDependencies,
  before: StoredDelivery,
  gate: StoredGate,
  limits: GateLimits,
): Promise<void> {
  if (before.delivery.state !== 'parked') return;
  const at = now();
  const after = released(before.delivery, at);
  await deliveries.move({ before, after, gate, limits, most: 0, now: at });
}
