import type { Redis } from 'ioredis';
import type { SourceState } from '../../core/source/throttle.ts';
import type { Keys } from '../keys.ts';
import { Lease } from '../leases.ts';
import { countNumbers } from '../numbers.ts';

/** For how long it is known when a source answered, or did again, ms. */
const KEPT_MS = 86_400_000;

/** What all processes know of a source. Times are milliseconds since the epoch. */
export interface SourceRecord {
  /** Null while it simply answers. */
  state: SourceState | null;
  /** The state as it is kept, which a write must find unchanged; '' for none. */
  text: string;
  /** When it last gave a valid answer, to a second or so; null where that is not known. */
  answeredAt: number | null;
  /** When it answered again after it had been closed; null where it has not lately. */
  openSince: number | null;
}

/** What all processes know of sources: whether they answer, and may be asked. */
export class SourceStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  async read(source: string): Promise<SourceRecord> {
    const [state, , open] = this.keys.sourceAdmission(source);
    const [text = null, answered = null, openSince = null] = await this.redis.mget(
      state,
      this.keys.sourceAnswered(source),
      open,
    );
    return {
      state: text === null ? null : (JSON.parse(text) as SourceState),
      text: text ?? '',
      answeredAt: numberOrNull(answered),
      openSince: numberOrNull(openSince),
    };
  }

  /**
   * Writes what became of a source, unless another process was first.
   * @param change.isProbe lets go of the probe
   * @param change.openSince set where it answers again
   */
  async put(
    source: string,
    before: Pick<SourceRecord, 'text'>,
    after: SourceState | null,
    { isProbe, openSince }: { isProbe: boolean; openSince: number | null },
  ): Promise<boolean> {
    const written = await this.redis.rwPutSource(
      ...this.keys.sourceAdmission(source),
      before.text,
      after === null ? '' : JSON.stringify(after),
      isProbe ? 1 : 0,
      openSince === null ? '' : Math.round(openSince),
      KEPT_MS,
    );
    return written === 1;
  }

  /** The right to probe a source that is closed, of one request at a time. */
  probeLease(source: string): Lease {
    const [, probe] = this.keys.sourceAdmission(source);
    return new Lease(this.redis, this.keys, probe);
  }

  /** Notes that a source has given a valid answer. */
  async answered(source: string, now: number): Promise<void> {
    await this.redis.set(this.keys.sourceAnswered(source), Math.round(now), 'PX', KEPT_MS);
  }
}

function numberOrNull(text: string | null): number | null {
  return text === null ? null : Number(text);
}

/** Which sources daemons have had configured, and when last. Errors of the connection pass through. */
export class SourceNamesStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** Notes that a daemon has these sources configured now, milliseconds since the epoch. */
  async note(names: readonly string[], now: number): Promise<void> {
    const fields = names.flatMap((name) => [name, now]);
    if (fields.length > 0) await this.redis.hset(this.keys.sourceNames, ...fields);
  }

  /** When each was configured last, by name. */
  async all(): Promise<Map<string, number>> {
    const found = await this.redis.hgetall(this.keys.sourceNames);
    return new Map(Object.entries(found).map(([name, at]) => [name, Number(at)]));
  }

  async forget(name: string): Promise<void> {
    await this.redis.hdel(this.keys.sourceNames, name);
  }

  /** How many active watches a source has. */
  async countActive(source: string): Promise<number> {
    const { watches } = this.keys;
    return countNumbers(this.redis, watches('state', 'active'), watches('source', source));
  }
}
