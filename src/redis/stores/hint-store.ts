import type { Redis } from 'ioredis';
import type { Keys } from '../keys.ts';

/** How long a process that was killed goes on holding its streams; more than two renewals. */
const LEASE_MS = 15_000;

/** How many lapsed leases are taken up in one go. */
const MOST_LAPSED = 100;

/** Which runs are streamed, and by which process. Watches are named by their ids. */
export class HintStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /**
   * Takes the lease of a run for a process, unless others need it more, or it rests.
   * @returns the run that it was taken from, if that was necessary; null when it is not had
   */
  async lease(
    source: string,
    { id, process, rank, limit }: { id: string; process: string; rank: number; limit: number },
  ): Promise<{ loser: string | null } | null> {
    const keys = this.keys.hints(source);
    const loser = await this.redis.rwLeaseStream(...keys, id, process, rank, limit, LEASE_MS);
    return loser === null ? null : { loser: loser === '' ? null : loser };
  }

  /** @returns the ids whose lease the process has lost */
  async renew(source: string, process: string, ids: string[]): Promise<string[]> {
    if (ids.length === 0) return [];
    const [leases, ranks, holders] = this.keys.hints(source);
    return this.redis.rwRenewStreams(leases, ranks, holders, process, LEASE_MS, ...ids);
  }

  /** Notes whether the next poll of a run may be left to its stream. */
  async trust(
    source: string,
    { id, process, trusted }: { id: string; process: string; trusted: boolean },
  ): Promise<void> {
    const [leases, ranks, holders] = this.keys.hints(source);
    await this.redis.rwTrustStream(leases, ranks, holders, id, process, trusted ? '+' : '');
  }

  /** Whether the next poll of a run may be left to its stream. */
  async isStreamed(source: string, id: string): Promise<boolean> {
    const [, , holders] = this.keys.hints(source);
    return (await this.redis.hget(holders, id))?.endsWith('+') === true;
  }

  /** Gives a lease back. @param restMs how long nobody tries again */
  async release(
    source: string,
    { id, process, restMs }: { id: string; process: string; restMs: number },
  ): Promise<void> {
    await this.redis.rwReleaseStream(...this.keys.hints(source), id, process, restMs);
  }

  /** Runs whose stream a killed process held; forgotten once `takeUp` is through with one. */
  async takeUpLapsed(source: string, takeUp: (id: string) => Promise<void>): Promise<void> {
    const [leases, ranks, holders] = this.keys.hints(source);
    for (const id of await this.redis.rwLapsedStreams(leases, ranks, holders, MOST_LAPSED)) {
      await takeUp(id);
      await this.redis.rwForgetLapsedStream(leases, ranks, holders, id);
    }
  }

  /** Runs that a process which is dead has streamed; forgotten once `takeUp` is through with one. */
  async takeUpHeldBy(
    source: string,
    process: string,
    takeUp: (id: string) => Promise<void>,
  ): Promise<void> {
    const [, , holders] = this.keys.hints(source);
    for (const [id, holder] of Object.entries(await this.redis.hgetall(holders))) {
      if (holder !== process && holder !== `${process}+`) continue;
      await this.release(source, { id, process, restMs: 0 });
      await takeUp(id);
    }
  }
}
