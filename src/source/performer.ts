import { isListProbe } from '../core/source/throttle.ts';
import { isAborted } from '../deadline.ts';
import { faultLog } from '../fault-log.ts';
import { isHostExhausted } from '../host-shortage.ts';
import type { RequestClaim } from './schedule.ts';
import type { Source } from './source.ts';

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
    const { limiter, streams } = this.source;
    const { failedProbes, count } = claim;
    const watch = claim.stored?.watch;
    if (watch?.run === null && failedProbes === null) {
      await streams.beforeFirst(watch, { count, limit: limiter.limit.requests });
    }
    // After a long delay another process may hold the claim, or the permit may have expired.
    if (claim.isStale() || !limiter.covers(claim)) return this.putBack(claim);
    if (failedProbes !== null && isListProbe({ failedProbes })) return this.probeByList(claim);
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
    // The polls of urgent watches go with those that something asked for.
    const isHinted = claim.kind === 'prompt' && stored.watch.profile !== 'urgent';
    const claimed = { stored, token, lagMs, permitMs, isHinted, onSent: () => arrival.sent() };
    const polled = await observer.observe(claimed).finally(() => arrival.over());
    if (polled.is === 'unwatched') await schedule.release(claim, 'never');
    else schedule.settled(claim, polled.is === 'written' ? polled.nextMs : null);
    return polled.is !== 'lost' && !claim.isStale();
  }

  /** Probes the source by its list; the claimed run is not read. */
  private async probeByList(claim: RequestClaim): Promise<boolean> {
    const { reader, limiter, schedule } = this.source;
    await reader.probeList();
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
