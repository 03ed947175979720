import type { Redis } from 'ioredis';
import type { Keys } from './keys.ts';
import {
  MIGRATIONS,
  type MigratedStore,
  type Migration,
  type MigrationStep,
  type Unreadable,
} from './migrations.ts';
import { FormStore, type FoundForm } from './stores/form-store.ts';

/** Records that cannot be read are named up to this many, and all of them counted. */
const MOST_NAMED = 20;

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
  unreadable: Unreadable[];
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
  const store = { redis, keys };
  const forms = new FormStore(redis, keys, migrations);
  const found = await forms.read();
  const { newest } = forms;
  const ahead = forms.ahead(found);
  if (ahead === null) return { found, newest, refusal: await forms.foreign(), steps: [] };
  const done = found.migration?.step ?? 0;
  const toDo = ahead.flatMap(({ from, to, steps }, at) =>
    steps.slice(at === 0 ? done : 0).map((step) => ({ from, to, step })),
  );
  const steps: PlannedStep[] = [];
  for (const { from, to, step } of toDo) {
    const records = await step.count(store);
    const { unreadable, count } = await readAll(store, step);
    const bytes = step.frees ? 0 : records * step.bytesEach;
    steps.push({ from, to, name: step.name, records, bytes, unreadable, unreadableCount: count });
  }
  return { found, newest, refusal: null, steps };
}

async function readAll(store: MigratedStore, step: MigrationStep) {
  const unreadable: Unreadable[] = [];
  let count = 0;
  for (let cursor: string | null = ''; cursor !== null;) {
    const chunk = await step.next(store, cursor);
    unreadable.push(...chunk.unreadable.slice(0, MOST_NAMED - unreadable.length));
    count += chunk.unreadable.length;
    cursor = chunk.cursor;
  }
  return { unreadable, count };
}
