import type { Redis } from 'ioredis';
import { holdMs, type Admission, type PermitRequest } from '../../core/source/limiter.ts';
import type { Keys } from '../keys.ts';

/** The requests that count against the rate limits of sources, in all processes. */
export class BudgetStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** A permit for one request. For as long as a source is closed, its rate limit counts as used up. */
  async admit(source: string, { request, limit, probeMs }: PermitRequest): Promise<Admission> {
    const { clock, budget, sourceAdmission } = this.keys;
    const [admitted, count, usedUpMs] = await this.redis.rwAdmitRequest(
      clock,
      budget(source),
      ...sourceAdmission(source),
      request,
      limit.requests,
      holdMs(limit),
      probeMs ?? 0,
    );
    return { admitted: admitted === 1, count, usedUpMs };
  }

  /** Notes that a request was answered just now. */
  async settle(source: string, { request, limit }: PermitRequest): Promise<void> {
    const { clock, budget } = this.keys;
    await this.redis.rwSettleRequest(clock, budget(source), request, limit.perMs);
  }

  /** Notes that a request is sent only now: it counts for as long as if its permit were new. */
  async renew(source: string, { request, limit }: PermitRequest): Promise<void> {
    const { clock, budget } = this.keys;
    await this.redis.rwRenewPermit(clock, budget(source), request, holdMs(limit));
  }

  /** How many requests count now. */
  async used(source: string): Promise<number> {
    const [now] = await this.redis.rwReadClock(this.keys.clock);
    return this.redis.zcount(this.keys.budget(source), now, '+inf');
  }

  /** Gives back the permit of a request that was not sent. */
  async giveBack(source: string, request: string): Promise<void> {
    await this.redis.zrem(this.keys.budget(source), request);
  }
}
