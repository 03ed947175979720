import type { Redis } from 'ioredis';
import { POLL_KINDS } from '../../core/source/request-order.ts';
import { groupBy } from '../../core/arrays.ts';
import { watchId, type Watch } from '../../core/watch/watch.ts';
import { replies } from '../connection.ts';
import type { Keys } from '../keys.ts';
import { seenAgain, type Problems } from './problems.ts';
import type { Records } from './records.ts';

/** How much later than its timeout a watch may be due, ms: clocks differ, and steps of theirs are taken out. */
const LATER_MS = 86_400_000;

/** Whether each active watch is due once, or claimed, and not after it times out. */
export class Scheduled {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
    private readonly records: Records,
    private readonly problems: Problems,
  ) {}

  /** Compares watches that were read. */
  async check(watches: readonly Watch[]): Promise<void> {
    const active = watches.filter(({ state }) => state === 'active');
    for (const [source, own] of groupBy(active, (watch) => watch.source)) {
      const wrong = await this.wrongOf(source, own);
      for (const [at, watch] of own.entries()) {
        if (wrong[at] !== null) await this.checkAgain(watch);
      }
    }
  }

  private async checkAgain({ source, runId }: Watch): Promise<void> {
    let wrong: Wrong | null = null;
    const isStill = await seenAgain(async () => {
      const record = await this.records.read({ is: 'watch', watch: { source, runId } });
      const watch = record?.watch;
      if (watch?.state !== 'active') return false;
      [wrong = null] = await this.wrongOf(source, [watch]);
      return wrong !== null;
    });
    if (!isStill || wrong === null) return;
    const { is, says } = wrong as Wrong;
    this.problems.note(is, 'requests', `watch ${watchId({ source, runId })} ${says}`);
  }

  /** What is wrong with the due time of each watch of a source, in their order. */
  private async wrongOf(source: string, watches: readonly Watch[]): Promise<(Wrong | null)[]> {
    const { redis, keys } = this;
    const members = watches.map(({ runId }) => runId);
    const atOnce = redis.multi().hmget(keys.requestClaims(source), ...members);
    for (const due of keys.requestsDue(source).slice(0, POLL_KINDS))
      atOnce.zmscore(due, ...members);
    const [claims = [], ...dues] = await replies<(string | null)[]>(atOnce);
    return watches.map((watch, at) => {
      const times = dues.flatMap((of) => of[at] ?? []);
      return (claims[at] ?? null) === null ? wrongTimes(watch, times.map(Number)) : null;
    });
  }
}

interface Wrong {
  is: 'missing' | 'misplaced';
  says: string;
}

function wrongTimes({ timeoutAt }: Watch, [at, ...others]: readonly number[]): Wrong | null {
  if (at === undefined) return { is: 'missing', says: 'is active, and neither due nor claimed' };
  if (others.length > 0) return { is: 'misplaced', says: 'is due more than once' };
  if (at <= Math.max(timeoutAt, Date.now()) + LATER_MS) return null;
  return { is: 'misplaced', says: `is due at ${at}, and times out at ${timeoutAt}` };
}
