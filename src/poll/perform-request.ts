import { isListProbe } from '../core/source/throttle.ts';
import type { Watch } from '../core/watch/watch.ts';
import { isAborted } from '../deadline.ts';
import { isHostExhausted } from '../host-shortage.ts';
import type { ClaimedPoll, Polled } from './observe-run.ts';
import type { RequestClaim, Schedule } from './schedule.ts';
import type { ClaimedPermit, SourceLimiter } from './source-limiter.ts';

/** The delay of a request after an unexpected error, ms. */
const FAULT_DELAY_MS = 5_000;

/** The delay of a request for which this host could open no connection, ms. */
const EXHAUSTED_DELAY_MS = 1_000;

interface PerformDependencies {
  schedule: Pick<Schedule, 'release' | 'settled' | 'handBack'>;
  limiter: Pick<SourceLimiter, 'covers' | 'settleMs' | 'arrivalOf' | 'claimed'>;
  observeRun: (claim: ClaimedPoll) => Promise<Polled>;
  /** Each releases the claim. */
  feed: {
    makePlan(claim: RequestClaim): Promise<void>;
    readPage(claim: RequestClaim, permit: ClaimedPermit): Promise<void>;
    openStream(claim: RequestClaim, permit: ClaimedPermit): Promise<void>;
  };
  /** Opens the stream of a run before its first read, where that is worth while. */
  beforeFirst(watch: Watch, claim: RequestClaim): Promise<void>;
  /** The source as a whole. */
  source: {
    saw(isTroubled: boolean): void;
    /** Reads the source's list in place of a run. */
    probeList(): Promise<void>;
    /** Releases the source's probe if this request still holds it. */
    dropProbe(request: string): Promise<void>;
  };
  /** This host could open no connection. */
  onExhausted: (error: unknown) => void;
  onError: (error: unknown) => void;
}

/**
 * Makes a claimed request: a poll of a run, a read of a page of a list, or an event stream. The claim always ends,
 * either by the write of the result or by its release. Returns a function that never throws.
 */
export function createPerform(deps: PerformDependencies) {
  const { schedule, limiter, source, onError } = deps;

  async function poll(claim: RequestClaim): Promise<void> {
    const { stored, token, lagMs } = claim;
    if (stored === null) return schedule.release(claim, 'never');
    const permitMs = limiter.settleMs(claim);
    const arrival = limiter.arrivalOf(claim);
    // The polls of urgent watches go with those that something asked for.
    const isHinted = claim.kind === 'prompt' && stored.watch.profile !== 'urgent';
    const claimed = { stored, token, lagMs, permitMs, isHinted, onSent: () => arrival.sent() };
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

  function request(claim: RequestClaim): Promise<void> {
    if (claim.kind === 'plan') return deps.feed.makePlan(claim);
    if (claim.kind === 'list') return deps.feed.readPage(claim, limiter.claimed(claim));
    if (claim.kind === 'stream') return deps.feed.openStream(claim, limiter.claimed(claim));
    return poll(claim);
  }

  async function release(claim: RequestClaim, error: unknown): Promise<void> {
    if (isAborted(error)) return schedule.handBack(claim).catch(onError);
    if (isHostExhausted(error)) return waitForHost(claim, error);
    onError(error);
    await schedule.release(claim, { inMs: FAULT_DELAY_MS }).catch(onError);
  }

  /** Nothing was sent, so it counts neither against the source nor against its limit. */
  async function waitForHost(claim: RequestClaim, error: unknown): Promise<void> {
    deps.onExhausted(error);
    limiter.claimed(claim).giveBack();
    await schedule.release(claim, { inMs: EXHAUSTED_DELAY_MS }).catch(onError);
  }

  /** Sends no request, which leaves the permit to another one. */
  async function putBack(claim: RequestClaim): Promise<void> {
    limiter.claimed(claim).giveBack();
    await schedule.release(claim, 'as before');
  }

  /** Probes the source by its list; the claimed run is not read. */
  async function probeByList(claim: RequestClaim): Promise<void> {
    await source.probeList();
    limiter.claimed(claim).settle();
    await schedule.release(claim, 'as before');
  }

  return async function perform(claim: RequestClaim): Promise<void> {
    const { failedProbes } = claim;
    source.saw(claim.isTroubled);
    try {
      const watch = claim.stored?.watch;
      if (watch?.run === null && failedProbes === null) await deps.beforeFirst(watch, claim);
      // After a long delay another process may hold the claim, or the permit may have expired.
      if (claim.isStale() || !limiter.covers(claim)) await putBack(claim);
      else if (failedProbes !== null && isListProbe({ failedProbes })) await probeByList(claim);
      else await request(claim);
    } catch (error) {
      await release(claim, error);
    }
    // Usually the answer has released the probe; without one, nothing else would.
    if (failedProbes !== null) await source.dropProbe(claim.token).catch(onError);
  };
}
