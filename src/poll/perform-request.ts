import { RunwatchError } from '../core/errors.ts';
import { isListProbe } from '../core/source/throttle.ts';
import type { NextLook } from './list-look.ts';
import type { ListPermit } from './list-pages.ts';
import type { ClaimedPoll, Polled } from './observe-run.ts';
import type { RequestClaim, Schedule } from './schedule.ts';
import type { SourceBudget } from './source-limiter.ts';

/** A request that threw is made again after this time, ms. */
const FAULT_DELAY_MS = 5_000;

interface PerformDependencies {
  schedule: Pick<Schedule, 'release' | 'settled' | 'handBack'>;
  budget: Pick<SourceBudget, 'isLate' | 'settleMs' | 'arrivalOf' | 'claimed'>;
  observeRun: (claim: ClaimedPoll) => Promise<Polled>;
  lookAtList: (look: { member: string; permit: ListPermit }) => Promise<NextLook>;
  /** What is known of the source as a whole. */
  source: {
    saw(isTroubled: boolean): void;
    /** Asks for the source's list in place of a run. */
    probeList(): Promise<void>;
    /** Lets go of a probe that was not made. */
    dropProbe(request: string): Promise<void>;
  };
  onError: (error: unknown) => void;
  now: () => number;
}

/**
 * Makes a claimed request: a read of a run, or a look at a list. Whatever becomes of it, the claim
 * ends: by the write of what was seen, or by giving it back. Returns a function that never throws.
 */
export function createPerform(deps: PerformDependencies) {
  const { schedule, budget, source, onError } = deps;

  async function poll(claim: RequestClaim): Promise<void> {
    const { stored, token, lagMs } = claim;
    if (stored === null) return unused(claim, 'never');
    const permitMs = budget.settleMs(claim);
    const arrival = budget.arrivalOf(claim);
    const claimed = { stored, token, lagMs, permitMs, onSent: () => arrival.sent() };
    const polled = await deps.observeRun(claimed).finally(() => arrival.over());
    switch (polled.is) {
      case 'written':
        return schedule.settled(claim, polled.nextMs);
      case 'lost':
        return schedule.settled(claim, null);
      case 'unwatched':
        return schedule.release(claim, 'never');
    }
  }

  async function look(claim: RequestClaim): Promise<void> {
    const { member } = claim;
    const next = await deps.lookAtList({ member, permit: budget.claimed(claim) });
    await schedule.release(claim, next === null ? 'never' : { inMs: next.dueAt - deps.now() });
  }

  async function tryLater(claim: RequestClaim, error: unknown): Promise<void> {
    onError(error);
    await schedule.release(claim, { inMs: FAULT_DELAY_MS }).catch(onError);
  }

  /** The run stays as it was: it is the source that was probed. */
  async function probeByList(claim: RequestClaim): Promise<void> {
    await source.probeList();
    budget.claimed(claim).settle();
    await schedule.release(claim, 'as before');
  }

  async function unused(claim: RequestClaim, until: 'as before' | 'never'): Promise<void> {
    await schedule.release(claim, until);
  }

  return async function perform(claim: RequestClaim): Promise<void> {
    const { failedProbes } = claim;
    source.saw(claim.isTroubled);
    try {
      // Held up for so long, another process may have the claim, or its permit count no more.
      if (claim.isStale() || budget.isLate(claim)) await unused(claim, 'as before');
      else if (failedProbes !== null && isListProbe({ failedProbes })) await probeByList(claim);
      else await (claim.kind === 'list' ? look(claim) : poll(claim));
    } catch (error) {
      if (isGivenUp(error)) await schedule.handBack(claim).catch(onError);
      else await tryLater(claim, error);
    }
    // Its answer lets go of it as a rule; where none was taken in, nothing else does.
    if (failedProbes !== null) await source.dropProbe(claim.token).catch(onError);
  };
}

/** The process stops: another one makes the request. */
function isGivenUp(error: unknown): boolean {
  return error instanceof RunwatchError && error.code === 'aborted';
}
