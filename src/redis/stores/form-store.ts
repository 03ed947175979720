import type { Redis } from 'ioredis';
import type { Keys } from '../keys.ts';
import { Lease } from '../leases.ts';
import { STORE_NOW } from '../lua/clock.ts';
import { EVEN_IF_FULL } from '../lua/full.ts';
import { LEASE } from '../lua/leases.ts';
import { placeAfter, type MigrationPlace } from '../migration-walk.ts';
import { MIGRATIONS, SCHEMA, type MigratedChunk, type Migration } from '../migrations.ts';
import { script } from '../script.ts';

/** The right to migrate lasts for so long, ms. */
const MIGRATION_LEASE_MS = 5_000;

/** Takes or renews the right to migrate, also in a Redis that is full. */
const TAKE_MIGRATION = script(
  'rwTakeMigration',
  {
    keys: ['clock', 'migrationLease'],
    args: ['token', 'ms'],
    reply: (taken: number) => taken === 1,
  },
  `
${EVEN_IF_FULL}
${STORE_NOW}
${LEASE}
evenIfFull(keys.migrationLease)
return takeLease(keys.migrationLease, args.token, storeNow(keys.clock), tonumber(args.ms)) and 0 or 1
`,
);

/**
 * Begins a migration, unless a process is there that is not known to be dead, of the ids behind the arguments: in one
 * step, so that a process of an older version either is seen here or finds the other form at its first heartbeat.
 * Returns the ids of those that are there; nil where the lease or the form is another one.
 */
const BEGIN_MIGRATION = script(
  'rwBeginMigration',
  {
    keys: ['schema', 'form', 'migrationLease', 'processes'],
    args: ['from', 'under', 'token', 'notes'],
    reply: (alive: string[] | null) => alive,
  },
  `
${EVEN_IF_FULL}
${LEASE}
if redis.call('GET', keys.schema) ~= args.from or readLease(keys.migrationLease) ~= args.token then return false end
local dead, alive = {}, {}
for at = rest, #ARGV do dead[ARGV[at]] = true end
for _, id in ipairs(redis.call('HKEYS', keys.processes)) do
  if not dead[id] then alive[#alive + 1] = id end
end
if #alive > 0 then return alive end
evenIfFull(keys.form)
for name, value in pairs(cjson.decode(args.notes)) do redis.call('HSET', keys.form, name, value) end
redis.call('SET', keys.schema, args.under)
return alive
`,
);

/**
 * Writes a chunk: the commands behind the arguments, each with the number of its words before it, and how far the
 * migration has come. Nothing of it is written where another process holds the lease or has written the chunk.
 * Returns whether it was written.
 */
const WRITE_CHUNK = script(
  'rwWriteChunk',
  {
    keys: ['schema', 'form', 'migrationLease'],
    args: ['under', 'token', 'step', 'cursor', 'notes', 'frees?'],
    reply: (written: number) => written === 1,
  },
  `
${EVEN_IF_FULL}
${LEASE}
if redis.call('GET', keys.schema) ~= args.under or readLease(keys.migrationLease) ~= args.token then return 0 end
local place = redis.call('HMGET', keys.form, 'step', 'cursor')
if place[1] ~= args.step or place[2] ~= args.cursor then return 0 end
if args.frees then evenIfFull(keys.form) end
local at = rest
while at <= #ARGV do
  local words = tonumber(ARGV[at])
  redis.call(unpack(ARGV, at + 1, at + words))
  at = at + words + 1
end
for name, value in pairs(cjson.decode(args.notes)) do redis.call('HSET', keys.form, name, value) end
return 1
`,
);

/** Ends a migration whose steps are all done. Returns whether it did. */
const END_MIGRATION = script(
  'rwEndMigration',
  {
    keys: ['schema', 'form', 'migrationLease'],
    args: ['under', 'token', 'to', 'notes'],
    reply: (ended: number) => ended === 1,
  },
  `
${EVEN_IF_FULL}
${LEASE}
if redis.call('GET', keys.schema) ~= args.under or readLease(keys.migrationLease) ~= args.token then return 0 end
evenIfFull(keys.form)
redis.call('DEL', keys.form)
for name, value in pairs(cjson.decode(args.notes)) do redis.call('HSET', keys.form, name, value) end
redis.call('SET', keys.schema, args.to)
redis.call('DEL', keys.migrationLease)
return 1
`,
);

/** A migration that is under way. */
export interface MigrationState extends MigrationPlace {
  from: string;
  to: string;
  /** How many records each step has to go through, as counted when it began. */
  counts: number[];
  /** Host and process id of the process that works on it, or did last. */
  by: string;
  version: string;
}

/** The form in which records are. */
export interface FoundForm {
  /** Null in a store that has none yet; while a migration is under way, the one that it began with. */
  form: string | null;
  /** The version that first wrote records of this form; null where that is not known. */
  version: string | null;
  migration: MigrationState | null;
}

/** Who migrates. */
export interface MigratingProcess {
  token: string;
  /** Host and process id. */
  name: string;
  version: string;
}

/** The form of records, and how far a migration to the next one has come. Errors of the connection pass through. */
export class FormStore {
  /** The form that this version writes. */
  readonly newest: string;

  /** @param migrations that this version knows */
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
    readonly migrations: readonly Migration[] = MIGRATIONS,
  ) {
    this.newest = migrations.at(-1)?.to ?? SCHEMA;
  }

  async read(): Promise<FoundForm> {
    const { schema, form } = this.keys;
    for (;;) {
      const found = await this.redis.get(schema);
      const notes = await this.redis.hgetall(form);
      // A migration that another process ends in between would seem to have lost its place.
      if ((await this.redis.get(schema)) === found) return readForm(found, notes);
    }
  }

  /** Notes the newest form in a store that has none yet; again that of a migration, where it was lost. */
  async claim(version: string): Promise<void> {
    const { schema, form } = this.keys;
    // A Redis that is full takes no write, and a daemon starts on one that has records.
    if ((await this.redis.exists(schema)) > 0) return;
    const { from, to } = await this.redis.hgetall(form);
    const isUnderWay = from !== undefined && to !== undefined;
    await this.redis.setnx(schema, isUnderWay ? underWay({ from, to }) : this.newest);
    if (!isUnderWay) await this.redis.hset(form, 'version', version);
  }

  /**
   * Says that records have another form than this version writes, and what to do; null where they have not.
   * @param backup the file that the store was loaded from
   */
  async foreign(backup: string | null = null): Promise<string | null> {
    // Read once a second by each process.
    const schema = await this.redis.get(this.keys.schema);
    if (schema === this.newest || schema === null) return null;
    const found = await this.read();
    // Another process has ended the migration just now.
    if (found.migration === null && found.form === this.newest) return null;
    const held = heldText(found, { newest: this.newest, holder: backup ?? 'Redis' });
    if (this.ahead(found) !== null) return `${held}: ${migrateText(backup)}`;
    const other = backup === null ? ', or use another redis.prefix' : '';
    return `${held}: run ${writerOf(found)}${other}`;
  }

  /** The migrations to come, the one that is under way first; null where none leads to the newest form. */
  ahead({ form, migration }: FoundForm): readonly Migration[] | null {
    if (migration === null && (form === this.newest || form === null)) return [];
    const first = this.migrations.findIndex(
      ({ from, to }) => from === form && (migration === null || migration.to === to),
    );
    return first === -1 ? null : this.migrations.slice(first);
  }

  /** Takes the right to migrate, or renews it. @returns false while another token holds it */
  take({ token }: MigratingProcess): Promise<boolean> {
    return TAKE_MIGRATION.run(this.redis, this.keys, { token, ms: MIGRATION_LEASE_MS });
  }

  /**
   * Begins a migration.
   * @param counts how many records each step has to go through
   * @param dead ids of processes that are known to be dead
   * @returns the ids of the processes that keep it from beginning; null where another process was first
   */
  begin(
    { from, to }: Migration,
    counts: readonly number[],
    process: MigratingProcess,
    dead: readonly string[],
  ): Promise<string[] | null> {
    const place = { from, to, step: 0, cursor: '', handled: 0, counts: JSON.stringify(counts) };
    const notes = JSON.stringify({ ...place, ...nameOf(process) });
    const given = { from, under: underWay({ from, to }), token: process.token, notes };
    return BEGIN_MIGRATION.run(this.redis, this.keys, given, { rest: dead });
  }

  /**
   * Writes a chunk, and where the next one begins.
   * @returns that; null where another process has taken the migration over, or the chunk was written before
   */
  async write(
    migration: Migration,
    place: MigrationPlace,
    chunk: MigratedChunk,
    process: MigratingProcess,
  ): Promise<MigrationPlace | null> {
    const { step, cursor } = place;
    const { frees = false } = migration.steps[step] ?? {};
    const next = placeAfter(place, chunk);
    const given = {
      under: underWay(migration),
      token: process.token,
      step,
      cursor,
      notes: JSON.stringify({ ...next, ...nameOf(process) }),
      frees: frees ? 1 : undefined,
    };
    const { writes } = chunk;
    const further = [...new Set(writes.map(([, key]) => key))];
    const rest = writes.flatMap((words) => [[words.length], words]).flat();
    const isWritten = await WRITE_CHUNK.run(this.redis, this.keys, given, { further, rest });
    return isWritten ? next : null;
  }

  /** Ends a migration. @returns false where another process has taken it over */
  end(migration: Migration, { token, version }: MigratingProcess): Promise<boolean> {
    const given = { under: underWay(migration), token, to: migration.to };
    return END_MIGRATION.run(this.redis, this.keys, {
      ...given,
      notes: JSON.stringify({ version }),
    });
  }

  /** Gives up the right to migrate, so that another process need not wait. */
  async leave({ token }: MigratingProcess): Promise<void> {
    await new Lease(this.redis, this.keys, this.keys.migrationLease).end(token);
  }
}

/** What stands for the form while a migration is under way: no version takes it for one that it knows. */
function underWay({ from, to }: Pick<Migration, 'from' | 'to'>): string {
  return `${from}>${to}`;
}

function nameOf({ name, version }: MigratingProcess): { by: string; byVersion: string } {
  return { by: name, byVersion: version };
}

/** What a migration notes; there is none of it where Redis has lost the key. */
const NO_NOTES = { step: '-1', cursor: '', handled: '0', counts: '[]', by: '', byVersion: '' };

function readForm(text: string | null, notes: Record<string, string>): FoundForm {
  const [form = null, to] = text?.split('>') ?? [];
  const version = notes['version'] ?? null;
  if (form === null || to === undefined) return { form, version, migration: null };
  const { step, cursor, handled, counts, by, byVersion } = { ...NO_NOTES, ...notes };
  const place = { step: Number(step), cursor, handled: Number(handled) };
  const from = { from: form, to, by, version: byVersion };
  const migration = { ...from, ...place, counts: JSON.parse(counts) as number[] };
  return { form, version, migration };
}

function heldText(
  { form, migration }: FoundForm,
  { newest, holder }: { newest: string; holder: string },
): string {
  const known = `this version of runwatch knows form ${newest}`;
  if (migration === null) return `${holder} holds records of form ${form}, and ${known}`;
  const { from, to, by, version } = migration;
  const way = `on their way from form ${from} to form ${to}, by ${by} (version ${version})`;
  return `${holder} holds records that are ${way}, and ${known}`;
}

function migrateText(backup: string | null): string {
  return backup === null
    ? 'start the daemon of this version, which migrates them'
    : 'restore it, and start the daemon of this version, which migrates them; then runwatch store verify reads them';
}

/** Which version to run instead; those before form 12 did not say which they were. */
function writerOf({ version, migration }: FoundForm): string {
  if (migration !== null) return `version ${migration.version}, which goes on with that`;
  return version === null ? 'the version that wrote them' : `version ${version}, which wrote them`;
}
