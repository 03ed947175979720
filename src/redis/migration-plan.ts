import type { Redis } from 'ioredis';
import type { Keys } from './keys.ts';
import { chunksFrom, lostPlaceText, UnreadableRecords } from './migration-walk.ts';
import { MIGRATIONS, type MigratedStore, type Migration, type Unreadable } from './migrations.ts';
import { FormStore, type FoundForm } from './stores/form-store.ts';

/** What a step would do. */
interface PlannedStep {
  from: string;
  to: string;
  name: string;
  /** How many records it has to go through. */
  records: number;
  /** How much memory it takes, about; 0 where it frees some. */
  bytes: number;
  /** Some of the records that it cannot read, and leaves as they are. */
  unreadable: readonly Unreadable[];
  unreadableCount: number;
}

/** What a start of the daemon would do about the form of records. */
export interface MigrationPlan {
  found: FoundForm;
  /** The form that this version writes. */
  newest: string;
  /** Why a daemon of this version would not start on these records; null where it would. */
  refusal: string | null;
  /** What is left to do; none where nothing is. */
  steps: PlannedStep[];
}

/**
 * Reads all that the migrations to come would read, and writes nothing. Each step sees what is there now, without
 * what the steps before it would have written. Errors of the connection pass through.
 */
export async function planOf(
  redis: Redis,
  keys: Keys,
  migrations: readonly Migration[] = MIGRATIONS,
): Promise<MigrationPlan> {
  const forms = new FormStore(redis, keys, migrations);
  const found = await forms.read();
  const { newest } = forms;
  const ahead = forms.ahead(found);
  if (ahead === null) return { found, newest, refusal: await forms.foreign(), steps: [] };
  const [first] = ahead;
  if (first !== undefined && found.migration?.step === -1) {
    return { found, newest, refusal: lostPlaceText(first), steps: [] };
  }
  const steps: PlannedStep[] = [];
  for (const [at, migration] of ahead.entries()) {
    const done = at === 0 ? (found.migration?.step ?? 0) : 0;
    steps.push(...(await stepsOf({ redis, keys }, migration, done)));
  }
  return { found, newest, refusal: null, steps };
}

/** @param done how many steps of the migration are done */
async function stepsOf(
  store: MigratedStore,
  migration: Migration,
  done: number,
): Promise<PlannedStep[]> {
  const { from, to, steps } = migration;
  const unreadable = steps.map(() => new UnreadableRecords());
  const begin = { step: done, cursor: '', handled: 0 };
  for await (const { place, chunk } of chunksFrom(store, migration, begin)) {
    unreadable[place.step]?.add(chunk.unreadable);
  }
  const planned = steps.map(async (step, at) => {
    const { named = [], count = 0 } = unreadable[at] ?? {};
    const records = await step.count(store);
    const bytes = step.frees ? 0 : records * step.bytesEach;
    return { from, to, name: step.name, records, bytes, unreadable: named, unreadableCount: count };
  });
  return Promise.all(planned.slice(done));
}
