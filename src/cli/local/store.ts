import { loadConfig } from '../../config/load.ts';
import type { Config } from '../../config/schema.ts';
import { RunwatchError } from '../../core/errors.ts';
import {
  backUp,
  restore,
  verifyBackup,
  type BackupFile,
  type RestoreResult,
} from '../../daemon/backup.ts';
import {
  openKeptStore,
  planMigration,
  summarize,
  verify,
  type KeptStore,
  type MigrationPlan,
  type StoreProgress,
  type StoreReport,
  type StoreSummary,
  type StoreWatcher,
} from '../../daemon/kept-store.ts';
import { createLifecycle, type Lifecycle } from '../../lifecycle.ts';
import { createLogger, type Logger } from '../../telemetry/logger.ts';
import { renderInvalid } from './config.ts';
import type { CommandLine } from '../command-line.ts';
import { EXIT, usageError } from '../exit.ts';
import type { Output } from '../output.ts';
import { ProgressLine } from '../progress-line.ts';
import { renderFields, renderTable, type Column } from '../render/table.ts';
import { count, exactly, number, plain } from '../render/text.ts';
import { note, writeJson } from '../report.ts';

/** Time to let go of Redis in, ms. */
const CLOSE_MS = 5_000;

/** Which store, and how it is shown. */
export interface StoreFlags {
  configPath?: string;
  dataDir?: string;
  json: boolean;
  /** See {@link openKeptStore}. */
  migrations?: BackupFile['migrations'];
}

export interface ShowStoreFlags extends StoreFlags {
  /** Shows what a migration would do, in place of what there is. */
  dryRun: boolean;
}

/**
 * Shows what the store holds.
 * Throws RunwatchError of {@link openKeptStore}.
 */
export async function showStore(cli: CommandLine, flags: ShowStoreFlags): Promise<number> {
  return withStore(cli, flags, async (store) => {
    const { stdout } = cli.io;
    if (flags.dryRun) return showPlan(store, stdout, flags.json);
    const summary = await summarize(store);
    if (flags.json) writeJson(stdout, summary);
    else stdout.write(renderSummary(summary, stdout, cli.now()));
    return EXIT.ok;
  });
}

/**
 * Reads every record of the store, or of a backup, and says what is wrong.
 * Throws RunwatchError of {@link openKeptStore}, {@link verify} and {@link verifyBackup}.
 */
export async function verifyStore(
  cli: CommandLine,
  file: string | null,
  flags: StoreFlags,
): Promise<number> {
  if (file !== null) {
    return withConfig(cli, flags, async ({ config, log }) => {
      const { migrations } = flags;
      const backup = { file, prefix: config.redis.prefix, log, migrations };
      const report = await withProgress(cli, (watcher) => verifyBackup({ ...backup, ...watcher }));
      return showReport(cli, report, flags.json);
    });
  }
  return withStore(cli, flags, async (store) => {
    const report = await withProgress(cli, (watcher) => verify(store, watcher));
    return showReport(cli, report, flags.json);
  });
}

/** Does long work that Ctrl-C ends, and shows on a terminal how far it is. */
async function withProgress<Result>(
  { io: { stderr }, signal }: CommandLine,
  work: (watcher: StoreWatcher) => Promise<Result>,
): Promise<Result> {
  const line = new ProgressLine(stderr);
  try {
    return await work({ signal, onProgress: (progress) => line.show(progressText(progress)) });
  } finally {
    line.clear();
  }
}

function progressText(progress: StoreProgress): string {
  switch (progress.step) {
    case 'load':
      return 'loading the backup into a Redis of its own …';
    case 'write':
      return `${bytesText(progress.bytes)} written …`;
    case 'records':
      return `reading records: ${keysRead(progress)}`;
    case 'entries':
      return `reading what points to them: ${keysRead(progress)}`;
    case 'differences':
      return `comparing what differs: ${keysRead(progress)}`;
  }
}

function keysRead({ keys, of }: { keys: number; of: number }): string {
  return `${number(keys)} of about ${count(of, 'key')} …`;
}

export interface BackupFlags extends StoreFlags {
  force: boolean;
}

/**
 * Writes a backup of the store.
 * Throws RunwatchError of {@link openKeptStore} and {@link backUp}.
 */
export async function backUpStore(
  cli: CommandLine,
  path: string,
  flags: BackupFlags,
): Promise<number> {
  return withStore(cli, flags, async (store) => {
    const { stdout, stderr } = cli.io;
    const { file, bytes, at, form } = await withProgress(cli, (watcher) =>
      backUp(store, path, { ...flags, ...watcher }),
    );
    const moment = new Date(at).toISOString();
    if (flags.json) writeJson(stdout, { file, bytes, at: moment, form });
    else
      stdout.write(
        `${plain(file)}: ${bytesText(bytes)}, form ${form ?? 'none'}, as of ${moment}\n`,
      );
    note(stderr, keysText(store.config));
    return EXIT.ok;
  });
}

/** The keys that are not configured, but kept in the data directory. */
function filesOfKeys({ encryption, delivery }: Config): string[] {
  return [
    ...(encryption.keys.length > 0 ? [] : ['encryption-key']),
    ...(delivery.signing_secret === undefined ? ['signing-secret'] : []),
  ];
}

/** Where the secrets are without which a backup is of less use. */
function keysText(config: Config): string {
  const kept = filesOfKeys(config);
  const dir = config.data_dir;
  if (kept.length === 0)
    return 'The keys of its secrets are not in it: keep those that are configured.';
  return `The keys of its secrets are not in it: keep ${kept.join(' and ')} of ${plain(dir)} with it.`;
}

/**
 * Makes a data directory of a backup.
 * Throws RunwatchError `usage` without a directory, and those of {@link restore}.
 */
export async function restoreStore(
  cli: CommandLine,
  file: string,
  flags: StoreFlags,
): Promise<number> {
  const { dataDir } = flags;
  // The usual one may be that of a store in use: the one that is meant is to be named.
  if (dataDir === undefined) {
    throw usageError('name the directory to restore into: --data-dir <path>, an empty one');
  }
  return withConfig(cli, flags, async ({ config, log }) => {
    const { stdout, stderr } = cli.io;
    const { migrations } = flags;
    const backup = { file, prefix: config.redis.prefix, log, migrations };
    const { report, ...restored } = await withProgress(cli, (watcher) =>
      restore({ ...backup, ...watcher }, config.data_dir),
    );
    if (flags.json) writeJson(stdout, { ...restored, ...(report ?? NOT_READ) });
    else {
      const read = report === null ? '' : renderReport(report);
      stdout.write(`${read}${restoredText(restored)}\n`);
    }
    const wanted = filesOfKeys(config);
    if (wanted.length > 0) {
      const files = wanted.join(' and ');
      note(
        stderr,
        `Put ${files} of its store into ${plain(restored.dir)}, unless they are configured.`,
      );
    }
    return report === null || report.problems.length === 0 ? EXIT.ok : EXIT.failure;
  });
}

/** In place of a report on records that are migrated first. */
const NOT_READ = { read: null, problems: null };

function restoredText({
  dir,
  form,
  epoch,
  migrates_to: migratesTo,
}: Omit<RestoreResult, 'report'>): string {
  const migration =
    migratesTo === null
      ? ''
      : `its records were not read: serve migrates them to form ${migratesTo} when it starts, and then ` +
        `runwatch store verify --data-dir ${plain(dir)} reads them\n`;
  return (
    `restored into ${plain(dir)}: form ${form ?? 'none'}, epoch ${epoch}\n` +
    migration +
    `look at it with: runwatch serve --no-deliver --data-dir ${plain(dir)}\n` +
    `start it with: runwatch serve --data-dir ${plain(dir)}`
  );
}

function showReport({ io: { stdout } }: CommandLine, report: StoreReport, json: boolean): number {
  if (json) writeJson(stdout, report);
  else stdout.write(renderReport(report));
  return report.problems.length === 0 ? EXIT.ok : EXIT.failure;
}

/** What problems mean, with how many there are. */
const PROBLEMS: Readonly<Record<StoreReport['problems'][number]['problem'], string>> = {
  unreadable: 'cannot be read',
  missing: 'not where it belongs',
  misplaced: 'not at the time or place that its record says',
  stray: 'stands for no record',
  miscounted: 'does not add up',
};

function renderReport({ read, problems }: StoreReport): string {
  const keys = Object.values(read).reduce((sum, amount) => sum + amount, 0);
  const { watch = 0, event = 0, delivery = 0 } = read;
  const records = [
    count(watch, 'watch', 'watches'),
    count(event, 'live event'),
    count(delivery, 'live delivery', 'live deliveries'),
  ];
  const first = `${count(keys, 'key')} read: ${records.join(', ')}, and what points to them`;
  if (problems.length === 0) return `${first}\nno problem was found\n`;
  const lines = problems.flatMap(({ problem, kind, count: amount, examples }) => [
    `${problem} ${kind}: ${number(amount)} ${PROBLEMS[problem]}`,
    ...examples.map((example) => `  ${plain(example)}`),
  ]);
  return `${first}\n${lines.join('\n')}\n`;
}

/** Shows what a migration to the form of this version would do. */
async function showPlan(store: KeptStore, stdout: Output, json: boolean): Promise<number> {
  const { found, newest, refusal, steps } = await planMigration(store);
  if (refusal !== null) throw new RunwatchError(refusal, { code: 'schema_unknown' });
  const from = found.form ?? newest;
  if (json) writeJson(stdout, { from, to: newest, steps: steps.map(stepView) });
  else if (steps.length > 0) stdout.write(`${steps.flatMap(stepLines).join('\n')}\n`);
  else stdout.write(`form ${from} is the newest that this version knows: nothing to do\n`);
  return EXIT.ok;
}

type PlannedStep = MigrationPlan['steps'][number];

function stepView({ unreadableCount, ...step }: PlannedStep) {
  return { ...step, unreadable_count: unreadableCount };
}

function stepLines(step: PlannedStep, at: number): string[] {
  const { from, to, name, records, bytes, unreadable, unreadableCount } = step;
  const more = bytes === 0 ? '' : `, about ${bytesText(bytes)} more`;
  const unread =
    unreadableCount === 0
      ? []
      : [`  ${count(unreadableCount, 'record')} cannot be read, and will be left as it is:`];
  return [
    `step ${at + 1}, form ${from} to ${to}: ${plain(name)}: ${count(records, 'record')}${more}`,
    ...unread,
    ...unreadable.map(({ key, why }) => `  ${plain(key)}: ${plain(why)}`),
  ];
}

/** What a verb about the store works with. */
interface StoreWork {
  config: Config;
  log: Logger;
  lifecycle: Lifecycle;
}

/** Does work on the store of the configuration. @returns the exit code; 2 where the configuration is wrong */
async function withStore(
  cli: CommandLine,
  flags: StoreFlags,
  work: (store: KeptStore, opened: StoreWork) => Promise<number>,
): Promise<number> {
  const { migrations } = flags;
  return withConfig(cli, flags, async (opened) =>
    work(await openKeptStore({ ...opened, migrations }), opened),
  );
}

async function withConfig(
  { io }: CommandLine,
  { configPath, dataDir }: StoreFlags,
  work: (opened: StoreWork) => Promise<number>,
): Promise<number> {
  const loaded = loadConfig({ purpose: 'command', configPath, flags: { dataDir } });
  if (loaded.kind === 'invalid') {
    io.stderr.write(renderInvalid(loaded));
    return EXIT.usage;
  }
  // What goes wrong with Redis is worth a line; what goes well is not.
  const { stream, isTty, colors } = io.stderr;
  const terminal = isTty ? { colors: colors.isColorSupported } : null;
  const log = createLogger({ level: 'warn', terminal, destination: stream });
  const lifecycle = createLifecycle(log);
  try {
    return await work({ config: loaded.config, log, lifecycle });
  } finally {
    await lifecycle.stop(CLOSE_MS);
  }
}

function renderSummary(summary: StoreSummary, output: Output, now: number): string {
  const { sizes } = summary;
  const fields = renderFields(summaryFields(summary, now), output);
  return sizes.length === 0 ? fields : `${fields}\n${renderSizes(sizes, output)}`;
}

function summaryFields(summary: StoreSummary, now: number): (readonly [string, string])[] {
  const { form, epoch, redis, processes, kept } = summary;
  const daemons = processes.map(({ name, version, started_at: at }) => {
    return `${plain(name)}, version ${plain(version)}, since ${exactly(at, now)}`;
  });
  return [
    ['form', formText(form)],
    ['epoch', epoch === null ? 'none' : epochText(epoch)],
    ['Redis', redisText(redis)],
    ['memory', memoryText(redis)],
    ['daemons', daemons.length === 0 ? 'none' : daemons.join('\n')],
    ...(kept === null ? [] : keptFields(kept, now)),
  ];
}

function formText({ found, written_by: by, known, problem }: StoreSummary['form']): string {
  if (found === null) return `none yet; a daemon of this version writes form ${known}`;
  if (problem !== null) return plain(problem);
  const first = by === null ? '' : `, first written by version ${plain(by)}`;
  return `${found}, which this version reads and writes${first}`;
}

function epochText({ name, before }: NonNullable<StoreSummary['epoch']>): string {
  return before === 0
    ? `${plain(name)}, the first`
    : `${plain(name)}, after ${count(before, 'other')}`;
}

function redisText({ is, place, version, persistence }: StoreSummary['redis']): string {
  const kept = {
    append_only_file: 'append-only file',
    snapshots: 'snapshots',
    none: 'keeps nothing',
  };
  const traits = [
    ...(version === null ? [] : [version]),
    ...(persistence === null ? [] : [kept[persistence]]),
  ];
  const whose = is === 'own' ? "runwatch's own" : 'as configured';
  return `${[whose, ...traits].join(', ')}, ${plain(place)}`;
}

function memoryText({ memory_bytes: used, max_memory_bytes: max }: StoreSummary['redis']): string {
  if (used === null) return 'unknown: Redis does not say';
  return max === null
    ? `${bytesText(used)}, without a limit`
    : `${bytesText(used)} of ${bytesText(max)}`;
}

function keptFields(
  { watches, deliveries, retention, oldest_goes_at: goesAt }: NonNullable<StoreSummary['kept']>,
  now: number,
): (readonly [string, string])[] {
  const { active, ended, packed } = watches;
  const states = Object.entries(deliveries).filter(([, amount]) => amount > 0);
  const byState = states.map(([state, amount]) => `${number(amount)} ${state}`);
  const next = goesAt === null ? 'no watch has ended' : `the oldest goes ${exactly(goesAt, now)}`;
  return [
    [
      'watches',
      `${number(active)} active, ${number(ended)} ended, ${number(packed)} of them packed`,
    ],
    ['deliveries', byState.length === 0 ? 'none' : byState.join(', ')],
    ['retention', `watches ${retention.watches}, deliveries ${retention.deliveries}; ${next}`],
  ];
}

type Size = StoreSummary['sizes'][number];

/** Kinds with less than this share of all bytes are one row. */
const LEAST_SHARE = 0.005;

function renderSizes(sizes: readonly Size[], output: Output): string {
  const all = sizes.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0);
  const large = sizes.filter(({ bytes }) => bytes === null || bytes >= LEAST_SHARE * all);
  const small = sizes.filter((one) => !large.includes(one));
  const rows = small.length < 2 ? [...sizes] : [...large, sumOf(small, `${small.length} others`)];
  const total = sumOf(sizes, 'all');
  const says = total.bytes !== null;
  const table = renderTable([...rows, total], SIZE_COLUMNS, output);
  const remark = says
    ? 'Bytes are an estimate: of many keys of a kind, some are measured.'
    : 'Redis does not say how large keys are: its user may not MEMORY USAGE.';
  return `${table}${output.colors.dim(remark)}\n`;
}

function sumOf(sizes: readonly Size[], kind: string): Size {
  const says = sizes.every(({ bytes }) => bytes !== null);
  const sum = (of: (size: Size) => number) => sizes.reduce((total, size) => total + of(size), 0);
  return {
    kind,
    keys: sum(({ keys }) => keys),
    bytes: says ? sum(({ bytes }) => bytes ?? 0) : null,
  };
}

const SIZE_COLUMNS: readonly Column<Size>[] = [
  { head: 'KIND', value: ({ kind }) => kind },
  { head: 'KEYS', value: ({ keys }) => number(keys), align: 'right' },
  {
    head: 'SIZE',
    value: ({ bytes }) => (bytes === null ? '-' : bytesText(bytes)),
    align: 'right',
  },
];

const UNITS = ['KiB', 'MiB', 'GiB', 'TiB'];

/** Bytes in three digits or so: `812 B`, `1.4 KiB`, `23 MiB`. */
function bytesText(bytes: number): string {
  let [value, unit] = [bytes, 'B'];
  for (const next of UNITS) {
    if (value < 1_024) break;
    [value, unit] = [value / 1_024, next];
  }
  return `${unit === 'B' || value >= 10 ? Math.round(value) : value.toFixed(1)} ${unit}`;
}
