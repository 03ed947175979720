import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { sum } from '../core/arrays.ts';
import { createProcessJudge } from '../core/dead-processes.ts';
import { messageOf, RunwatchError } from '../core/errors.ts';
import type { HealthCheck } from '../core/health-check.ts';
import { faultLog } from '../fault-log.ts';
import { startPeriodic } from '../periodic.ts';
import type { RedisConnections } from '../redis/connection.ts';
import type { Keys } from '../redis/keys.ts';
import { newProcessId } from '../redis/leases.ts';
import {
  chunksFrom,
  lostPlaceText,
  migrationName,
  UnreadableRecords,
} from '../redis/migration-walk.ts';
import type { MigratedStore, Migration } from '../redis/migrations.ts';
import {
  FormStore,
  type FoundForm,
  type MigratingProcess,
  type MigrationState,
} from '../redis/stores/form-store.ts';
import { ProcessStore } from '../redis/stores/process-store.ts';
import type { Logger } from '../telemetry/logger.ts';

/** Pause before the store is asked again, ms: the judge of processes reads their counters once a second. */
const PAUSE_MS = 1_000;

/** How often the log says how far a migration is, ms. */
const SAY_EVERY_MS = 5_000;

/** Whether the store has the newest form, may be asked again at once, or has to be waited for. */
type Progress = 'done' | 'again' | 'wait';

/** What keeps a migration from going on, or works on it. */
type Standing = 'reading' | 'old processes' | 'other' | 'own' | 'full' | 'away';

/** A speed is known once it was watched for so long, ms. */
const RATE_MS = 2_000;

interface PlacedMigration {
  migration: Migration;
  state: MigrationState;
}

/**
 * Brings the records of a store to the form of this version, before anything else of the daemon works on them. One
 * process at a time does it, by a lease, chunk by chunk; another one goes on from the last chunk when that process
 * ends. It begins once no process of another version is alive, since that would misread what is written.
 */
export class Migrator {
  private readonly forms: FormStore;
  private readonly processes: ProcessStore;
  private readonly store: MigratedStore;
  private readonly judge = createProcessJudge('', () => performance.now());
  private readonly self: MigratingProcess;
  private standing: Standing = 'reading';
  private text = 'the form of the records is not known yet';
  private saidAt = -Infinity;
  /** Where a migration was when this process saw it first: how fast it goes follows from that. */
  private first: { to: string; handled: number; at: number } | null = null;
  /** Where this process was when it worked on a migration last. */
  private place: PlacedMigration | null = null;
  private readonly unreadable = new UnreadableRecords();

  constructor(
    private readonly connections: Pick<RedisConnections, 'commands' | 'state' | 'tryWrite'>,
    keys: Keys,
    private readonly log: Logger,
    version: string,
    migrations: readonly Migration[] | undefined,
  ) {
    const redis = connections.commands;
    this.forms = new FormStore(redis, keys, migrations);
    this.processes = new ProcessStore(redis, keys);
    this.store = { redis, keys };
    this.self = { token: newProcessId(), name: `${hostname()}:${process.pid}`, version };
  }

  /**
   * Whether records have the form of this version, which is noted in a store that has none.
   * Throws RunwatchError `schema_unknown` where no migration leads from theirs to that.
   */
  async isDone(): Promise<boolean> {
    await this.forms.claim(this.self.version);
    return (await this.next(await this.forms.read())) === null;
  }

  /**
   * Migrates, or waits until another process has done it. While Redis is away or full it waits, too.
   * Throws RunwatchError `schema_unknown`, `migration_failed`, or `stopping`.
   */
  async run(stopping: AbortSignal): Promise<void> {
    try {
      for (;;) {
        if (stopping.aborted) throw stopped();
        const progress = await this.advance(stopping).catch((error: unknown) => this.heed(error));
        if (progress === 'done') return;
        if (progress === 'wait')
          await delay(PAUSE_MS, null, { signal: stopping }).catch(() => null);
      }
    } finally {
      await this.forms.leave(this.self).catch(() => undefined);
    }
  }

  /** Why this process is not ready yet. */
  async checks(): Promise<HealthCheck[]> {
    return [{ name: 'store', status: 'failed', detail: this.text }];
  }

  private async advance(stopping: AbortSignal): Promise<Progress> {
    const found = await this.forms.read();
    const migration = await this.next(found);
    if (migration === null) return 'done';
    if (found.migration === null) return this.begin(migration);
    if (!(await this.forms.take(this.self))) {
      const { migration: state } = found;
      const place = { migration, state };
      this.say('other', `${state.by} (version ${state.version}) ${this.progressOf(place)}`);
      return 'wait';
    }
    // A chunk may take longer to read than the lease lasts.
    const renewal = startPeriodic(async () => void (await this.forms.take(this.self)), {
      everyMs: PAUSE_MS,
      onError: faultLog(this.log, 'migration_lease'),
    });
    try {
      await this.work(migration, stopping);
    } finally {
      await renewal.stop();
    }
    return 'again';
  }

  /** The next migration; null where the store has the newest form. Throws RunwatchError `schema_unknown`. */
  private async next(found: FoundForm): Promise<Migration | null> {
    const ahead = this.forms.ahead(found);
    if (ahead !== null) return ahead[0] ?? null;
    const foreign = await this.forms.foreign();
    if (foreign === null) return null;
    throw new RunwatchError(foreign, { code: 'schema_unknown' });
  }

  private async begin(migration: Migration): Promise<Progress> {
    const counters = await this.processes.counters();
    let dead: string[] = [];
    if (counters.size > 0) {
      // A Redis that takes no writes keeps the counters of living processes from rising.
      const state = await this.connections.tryWrite();
      if (state.kind !== 'ok') {
        const why = state.kind === 'away' ? 'does not answer' : `refuses: ${state.reason}`;
        this.say(
          'away',
          `${migrationName(migration)} begins once Redis takes writes; now it ${why}`,
        );
        return 'wait';
      }
      dead = this.judge(counters);
    }
    const alive = [...counters.keys()].filter((id) => !dead.includes(id));
    if (alive.length > 0) return this.waitFor(migration, alive);
    const counts: number[] = [];
    for (const step of migration.steps) counts.push(await step.count(this.store));
    if (!(await this.forms.take(this.self))) {
      this.say('other', `${migrationName(migration)} is about to begin in another process`);
      return 'wait';
    }
    const others = await this.forms.begin(migration, counts, this.self, dead);
    if (others === null) return 'again';
    if (others.length > 0) return this.waitFor(migration, others);
    const { from, to } = migration;
    this.log.warn({ from, to, records: counts }, 'store.migration_begun');
    return 'again';
  }

  private async waitFor(migration: Migration, ids: readonly string[]): Promise<Progress> {
    const described = await this.processes.described();
    const names = ids.map((id) => {
      const info = described.get(id);
      if (info === undefined) return `one that has not said its name (${id})`;
      return `${info.host}:${info.pid} (version ${info.version})`;
    });
    const text = `${migrationName(migration)} begins once no process works on the records as they are`;
    this.say('old processes', `${text}: stop ${names.join(', ')}`);
    return 'wait';
  }

  private async work(migration: Migration, stopping: AbortSignal): Promise<void> {
    const { migration: state } = await this.forms.read();
    if (state === null || state.to !== migration.to) return;
    if (state.step < 0) {
      throw new RunwatchError(lostPlaceText(migration), { code: 'migration_failed' });
    }
    this.sayOwn({ migration, state });
    for await (const { step, place, chunk } of chunksFrom(this.store, migration, state)) {
      if (stopping.aborted) throw stopped();
      const next = await this.forms.write(migration, place, chunk, this.self);
      if (next === null) return;
      for (const { key, why } of this.unreadable.add(chunk.unreadable)) {
        this.log.warn({ key, why, step: step.name }, 'store.record_unreadable');
      }
      this.sayOwn({ migration, state: { ...state, ...next } });
    }
    if (!(await this.forms.end(migration, this.self))) return;
    const { from, to } = migration;
    this.log.info({ from, to, unreadable: this.unreadable.count }, 'store.migrated');
  }

  private sayOwn(place: PlacedMigration): void {
    this.place = place;
    this.say('own', `this process ${this.progressOf(place)}`);
  }

  /** Waits after an error that passes; throws others. */
  private heed(error: unknown): Progress {
    if (!(error instanceof RunwatchError)) {
      const message = `the migration of records has failed, and goes on at its last chunk with the next start: ${messageOf(error)}`;
      throw new RunwatchError(message, { code: 'migration_failed', cause: error });
    }
    if (!error.retriable) throw error;
    const { place } = this;
    const state = this.connections.state();
    const isFull = state.kind === 'refuses' && state.code === 'OOM';
    if (isFull && place !== null) this.say('full', fullText(place));
    else this.say('away', `the migration of records waits: ${error.message}`);
    return 'wait';
  }

  private progressOf({ migration, state }: PlacedMigration): string {
    const { counts } = state;
    const at = performance.now();
    const handled = state.handled + sum(counts.slice(0, state.step));
    if (this.first?.to !== migration.to) this.first = { to: migration.to, handled, at };
    const { first } = this;
    const watchedMs = at - first.at;
    const perMs = (handled - first.handled) / watchedMs;
    const leftS = Math.ceil((sum(counts) - handled) / perMs / 1_000);
    const left = watchedMs >= RATE_MS && perMs > 0 ? `, about ${leftS} s left` : '';
    return `migrates records from form ${migration.from} to form ${migration.to}: ${placeText(migration, state)}${left}`;
  }

  private say(standing: Standing, text: string): void {
    const now = performance.now();
    const isNew = standing !== this.standing;
    this.standing = standing;
    this.text = text;
    if (!isNew && now - this.saidAt < SAY_EVERY_MS) return;
    this.saidAt = now;
    const level = standing === 'own' || standing === 'other' ? 'info' : 'warn';
    this.log[level]({ state: text }, 'store.migration');
  }
}

function placeText({ steps }: Migration, { step, handled, counts }: MigrationState): string {
  const { name } = steps[step] ?? {};
  if (name === undefined) return 'all steps are done';
  const of = Math.max(counts[step] ?? 0, handled);
  return `step ${step + 1} of ${steps.length} (${name}), ${grouped(handled)} of ${grouped(of)} records`;
}

function fullText({ migration, state }: PlacedMigration): string {
  const { step: number, counts, handled } = state;
  const left = sum(counts.slice(number)) - handled;
  const bytes = migration.steps.slice(number).reduce((most, step, at) => {
    const records = (counts[number + at] ?? 0) - (at === 0 ? handled : 0);
    return most + (step.frees ? 0 : records * step.bytesEach);
  }, 0);
  return (
    `${migrationName(migration)} waits, since the memory of Redis is full (maxmemory): ` +
    `${placeText(migration, state)}; the ${grouped(left)} records to come take about ${megabytes(bytes)} MB more: ` +
    'raise maxmemory (redis.maxmemory of the own Redis), and it goes on by itself'
  );
}

function stopped(): RunwatchError {
  return new RunwatchError('stopped while the records were migrated', { code: 'stopping' });
}

function grouped(count: number): string {
  return count.toLocaleString('en');
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toLocaleString('en', { maximumFractionDigits: 1 });
}
