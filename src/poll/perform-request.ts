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
 * either by the write of the result or by its release. Returns a function that never throws, and returns false
 * where the process was too late to send the request, or to write its result.
 */
export function createPerform(deps: PerformDependencies) {
  const { schedule, limiter, source, onError } = deps;

  async function poll(claim: RequestClaim): Promise<boolean> {
    const { stored, token, lagMs } = claim;
    if (stored === null) return schedule.release(claim, 'never').then(() => true);
    const permitMs = limiter.settleMs(claim);
    const arrival = limiter.arrivalOf(claim);
    // The polls of urgent watches go with those that something asked for.
    const isHinted = claim.kind === 'prompt' && stored.watch.profile !== 'urgent';
    const claimed = { stored, token, lagMs, permitMs, isHinted, onSent: () => arrival.sent() };
    const polled = await deps.observeRun(claimed).finally(() => arrival.over());
    if (polled.is === 'unwatched') await schedule.release(claim, 'never');
    else schedule.settled(claim, polled.is === 'written' ? polled.nextMs : null);
    return polled.is !== 'lost' && !claim.isStale();
  }

  async function request(claim: RequestClaim): Promise<boolean> {
    const { feed } = deps;
    if (claim.kind === 'plan') await feed.makePlan(claim);
    else if (claim.kind === 'list') await feed.readPage(claim, limiter.claimed(claim));
    else if (claim.kind === 'stream') await feed.openStream(claim, limiter.claimed(claim));
    else return poll(claim);
    return true;
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
  async function putBack(claim: RequestClaim): Promise<boolean> {
    limiter.claimed(claim).giveBack();
    await schedule.release(claim, 'as before');
    return false;
  }

  /** Probes the source by its list; the claimed run is not read. */
  async function probeByList(claim: RequestClaim): Promise<boolean> {
    await source.probeList();
    limiter.claimed(claim).settle();
    await schedule.release(claim, 'as before');
    return true;
  }

  async function make(claim: RequestClaim): Promise<boolean> {
    const { failedProbes } = claim;
    const watch = claim.stored?.watch;
    if (watch?.run === null && failedProbes === null) await deps.beforeFirst(watch, claim);
    // After a long delay another process may hold the claim, or the permit may have expired.
    if (claim.isStale() || !limiter.covers(claim)) return putBack(claim);
    if (failedProbes !== null && isListProbe({ failedProbes })) return probeByList(claim);
    return request(claim);
  }

  return async function perform(claim: RequestClaim): Promise<boolean> {
    source.saw(claim.isTroubled);
    let isInTime = true;
    try {
      isInTime = await make(claim);
    } catch (error) {
      await release(claim, error);
    }
    // Usually the answer has released the probe; without one, nothing else would.
    if (claim.failedProbes !== null) await source.dropProbe(claim.token).catch(onError);
    return isInTime;
  };
}
