import type { Claim } from '../core/claim.ts';
import type { GateLimits } from '../core/gate.ts';
import type { GateStore } from './stores.ts';

interface ClaimRoundsDependencies {
  gates: Pick<GateStore, 'claim'>;
  limitsOf: (gate: string) => GateLimits;
  /** How many more attempts this process may have under way. */
  room: () => number;
  /** Takes what was claimed. */
  run: (claims: readonly Claim[]) => void;
  onError: (error: unknown) => void;
  now: () => number;
}

/** Claims deliveries at the gates that it is asked for. */
export interface ClaimRounds {
  /** Also for the gates that were asked for before, and that there was no room for. */
  ask(gates: readonly string[]): void;
  /** Resolves once what is being claimed has been handed on. */
  settled(): Promise<void>;
}

/**
 * Claims in rounds, one at a time: the gates that are asked for meanwhile go together in the next
 * one, and those that there is no room for wait. What is lost with an error is found by the next look.
 */
export function createClaimRounds(deps: ClaimRoundsDependencies): ClaimRounds {
  const asked = new Set<string>();
  let isOn = false;
  let round = Promise.resolve();

  async function claimAsked(): Promise<void> {
    isOn = true;
    try {
      while (asked.size > 0 && deps.room() > 0) {
        const requests = takeRequests(asked, deps);
        const claims = await deps.gates.claim(requests, deps.now());
        for (const gate of cutShort(requests, claims)) asked.add(gate);
        deps.run(claims);
      }
    } catch (error) {
      deps.onError(error);
    } finally {
      isOn = false;
    }
  }

  return {
    ask(gates) {
      for (const gate of gates) asked.add(gate);
      if (!isOn && asked.size > 0) round = claimAsked();
    },
    settled: () => round,
  };
}

interface Request {
  gate: string;
  limits: GateLimits;
  most: number;
}

/** As many gates as there is room for if each of them fills all of its places. */
function takeRequests(asked: Set<string>, { room, limitsOf }: ClaimRoundsDependencies): Request[] {
  let left = room();
  const requests: Request[] = [];
  for (const gate of asked) {
    if (left <= 0) break;
    const limits = limitsOf(gate);
    const most = Math.min(limits.concurrency, left);
    asked.delete(gate);
    requests.push({ gate, limits, most });
    left -= most;
  }
  return requests;
}

/** Gates that gave as many as there was room for, and may have more. */
function cutShort(requests: readonly Request[], claims: readonly Claim[]): string[] {
  const countOf = (name: string) => claims.filter(({ gate }) => gate.name === name).length;
  return requests.flatMap(({ gate, limits, most }) =>
    most < limits.concurrency && countOf(gate) === most ? [gate] : [],
  );
}
