import type { Redis } from 'ioredis';
import type { SourcePaused } from '../core/look.ts';
import type { Keys } from './keys.ts';

/** A refusal is noted for this long after the last one: longer than the time between two probes. */
const REFUSAL_KEPT_MS = 600_000;

/** For how long it is known when a source answered, ms. */
const ANSWERED_KEPT_MS = 86_400_000;

/** What all processes know of a source: whether it takes requests, and whether it refused the key. */
export class SourceStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /**
   * Pauses a source in every process; a pause that lasts longer already stands.
   * @returns true for the first to pause it
   */
  async pause(source: string, pause: SourcePaused, now: number): Promise<boolean> {
    const ms = Math.ceil(pause.untilMs - now);
    if (ms <= 0) return false;
    const text = JSON.stringify({ ...pause, asked: false });
    return (await this.redis.rwPauseSource(this.keys.sourcePause(source), text, ms)) === 1;
  }

  async paused(source: string): Promise<SourcePaused | null> {
    const text = await this.redis.get(this.keys.sourcePause(source));
    return text === null ? null : (JSON.parse(text) as SourcePaused);
  }

  /** Notes that a source has given a valid answer. */
  async answered(source: string, now: number): Promise<void> {
    await this.redis.set(this.keys.sourceAnswered(source), Math.round(now), 'PX', ANSWERED_KEPT_MS);
  }

  /** When a source last gave a valid answer, to a second or so; null where that is not known. */
  async answeredAt(source: string): Promise<number | null> {
    const at = await this.redis.get(this.keys.sourceAnswered(source));
    return at === null ? null : Number(at);
  }

  /** Notes that a source refused the key. @returns true for the first to notice since it worked */
  async refuse(source: string, reason: string): Promise<boolean> {
    const key = this.keys.sourceRefused(source);
    if ((await this.redis.set(key, reason, 'PX', REFUSAL_KEPT_MS, 'NX')) === 'OK') return true;
    await this.redis.pexpire(key, REFUSAL_KEPT_MS);
    return false;
  }

  /** Those of the sources that have refused the key since they last worked. */
  async refused(sources: string[]): Promise<string[]> {
    if (sources.length === 0) return [];
    const reasons = await this.redis.mget(sources.map((name) => this.keys.sourceRefused(name)));
    return sources.filter((_, at) => typeof reasons[at] === 'string');
  }

  /** Notes that a source works again. @returns true for the first to notice since it was refused */
  async accept(source: string): Promise<boolean> {
    return (await this.redis.del(this.keys.sourceRefused(source))) === 1;
  }
}
