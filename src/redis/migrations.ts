import type { Redis } from 'ioredis';
import type { Keys } from './keys.ts';

/** The form that records have before any of the {@link MIGRATIONS}. */
export const SCHEMA = '12';

/** A command that writes: its name, its key, and its arguments, of which there are 1,000 at most. */
export type Write = readonly [command: string, key: string, ...rest: (string | number | Buffer)[]];

/** A record that no step can read. It stays as it is. */
export interface Unreadable {
  key: string;
  why: string;
}

/** What a step makes of some records. */
export interface MigratedChunk {
  /** Where the next chunk begins; null after the last one. */
  cursor: string | null;
  /** How many records it went through. */
  handled: number;
  /** What is written, all of it in one script. */
  writes: readonly Write[];
  unreadable: readonly Unreadable[];
}

/** A store in the midst of a migration. */
export interface MigratedStore {
  redis: Redis;
  keys: Keys;
}

/**
 * A part of a migration. It goes through records by their numbers, which neither a restart of Redis nor a
 * failover changes, as the cursors of SCAN do.
 */
export interface MigrationStep {
  /** What has become of records after it, to follow "step 1 of 2:". */
  name: string;
  /** Whether it leaves less than there was: such a step goes on in a Redis that is full. */
  frees: boolean;
  /** By how much it makes a record larger, bytes, about. */
  bytesEach: number;
  /** How many records it goes through. */
  count(store: MigratedStore): Promise<number>;
  /**
   * Reads the next records, and writes nothing. A chunk that was written before leaves the same once more, since an
   * answer of Redis may be lost. One that is too large to be written at once is read again, with fewer records.
   * @param cursor '' for the first chunk
   * @param most records that the chunk may go through
   */
  next(store: MigratedStore, cursor: string, most: number): Promise<MigratedChunk>;
}

/** Brings the records of one form to the next one. */
export interface Migration {
  from: string;
  to: string;
  steps: readonly MigrationStep[];
}

/** The migrations that this version knows, in order: each begins with the form that the one before leads to. */
export const MIGRATIONS: readonly Migration[] = [];
