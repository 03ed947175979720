import type {
  MigratedChunk,
  MigratedStore,
  Migration,
  MigrationStep,
  Unreadable,
} from './migrations.ts';

/** How far a migration has come. */
export interface MigrationPlace {
  /** The step that is under way, from 0; their number where all are done, -1 where Redis has lost it. */
  step: number;
  /** Where its next chunk begins. */
  cursor: string;
  /** How many records it has gone through. */
  handled: number;
}

/** The place behind a chunk. */
export function placeAfter(
  { step, handled }: MigrationPlace,
  chunk: MigratedChunk,
): MigrationPlace {
  return chunk.cursor === null
    ? { step: step + 1, cursor: '', handled: 0 }
    : { step, cursor: chunk.cursor, handled: handled + chunk.handled };
}

/** A chunk, and where it begins. */
interface PlacedChunk {
  step: MigrationStep;
  place: MigrationPlace;
  chunk: MigratedChunk;
}

/** Reads what is left of a migration from a place on, chunk by chunk: each once the one before is dealt with. */
export async function* chunksFrom(
  store: MigratedStore,
  { steps }: Migration,
  from: MigrationPlace,
): AsyncIterable<PlacedChunk> {
  let place = from;
  for (const step of steps.slice(from.step)) {
    const size = new ChunkSize();
    const { step: number } = place;
    while (place.step === number) {
      const chunk = await step.next(store, place.cursor, size.records);
      if (!size.fits(chunk)) continue;
      yield { step, place, chunk };
      place = placeAfter(place, chunk);
    }
  }
}

/** What Redis writes within 2 ms or so, where a script is all that it does. */
const MOST_COMMANDS = 256;
const MOST_BYTES = 262_144;

const FIRST_RECORDS = 16;
const MOST_RECORDS = 256;

/** A chunk has twice as many records as the one before, which took less than this share of what it may. */
const SMALL = 0.25;

/** How many records a chunk goes through: a Redis that writes them answers nothing else meanwhile. */
class ChunkSize {
  records = FIRST_RECORDS;

  /** Whether a chunk is small enough to be written; otherwise it is to be read again, with fewer records. */
  fits({ writes, handled }: MigratedChunk): boolean {
    const bytes = writes.reduce((all, words) => all + bytesOf(words), 0);
    const share = Math.max(writes.length / MOST_COMMANDS, bytes / MOST_BYTES);
    const records = Math.min(this.records, handled);
    if (share > 1 && records > 1) {
      this.records = Math.floor(records / 2);
      return false;
    }
    if (share < SMALL) this.records = Math.min(2 * this.records, MOST_RECORDS);
    return true;
  }
}

function bytesOf(words: MigratedChunk['writes'][number]): number {
  return words.reduce<number>((all, word) => all + (typeof word === 'number' ? 8 : word.length), 0);
}

/** The most records that cannot be read that are named. */
const MOST_NAMED = 20;

/** Records that cannot be read: the first ones are named, and all are counted. */
export class UnreadableRecords {
  readonly named: Unreadable[] = [];
  count = 0;

  /** @returns those that are named */
  add(some: readonly Unreadable[]): readonly Unreadable[] {
    const named = some.slice(0, MOST_NAMED - this.named.length);
    this.named.push(...named);
    this.count += some.length;
    return named;
  }
}

export function migrationName({ from, to }: Pick<Migration, 'from' | 'to'>): string {
  return `the migration of records from form ${from} to form ${to}`;
}

/** Why a migration cannot be continued after Redis has lost its place. */
export function lostPlaceText(migration: Migration): string {
  return `Redis has lost how far ${migrationName(migration)} is: restore a backup from before it`;
}
