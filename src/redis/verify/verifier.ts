import type { Redis } from 'ioredis';
import { chunksOf, groupBy, mapInChunks } from '../../core/arrays.ts';
import { messageOf } from '../../core/errors.ts';
import { parseWatchId, type Watch } from '../../core/watch/watch.ts';
import { replies } from '../connection.ts';
import { isOutage, unlessOutage } from '../failures.ts';
import { kindOfKey } from '../key-sizes.ts';
import { beginningOfWatches, type Keys } from '../keys.ts';
import { MOST_SOURCE_LISTS } from '../stores/event-plan.ts';
import {
  entriesOf,
  missingEntries,
  missingRunIds,
  type RepairPlan,
} from '../stores/repair-plan.ts';
import { Counters } from './counters.ts';
import { readDocument } from './documents.ts';
import {
  entriesOfPlan,
  isInPlan,
  isNumber,
  isSortedKind,
  timedOfPlan,
  type TimedEntry,
} from './entries.ts';
import { EntrySums } from './entry-sums.ts';
import { Problems, seenAgain, type StoreProblem } from './problems.ts';
import { namedSubject, nameOf, Records, type ReadRecord, type Subject } from './records.ts';
import { checkBatchName, checkReferences, referencesOf } from './references.ts';
import { Scheduled } from './scheduled.ts';
import { Outstanding } from './outstanding.ts';
import { StructureEntries, type FoundEntry } from './structure-entries.ts';
import { scanned, SORTED_SET } from './structures.ts';

/** Keys that one command of Redis scans. */
const SCANNED = 500;

/** Records or keys that are read at a time. */
const AT_ONCE = 20;

/** Watches that one command reads. */
const WATCHES_AT_ONCE = 50;

/** For how long a step that is noted by its time may be deferred, and clocks may differ, ms. */
const DEFERRED_MS = 86_400_000;

/** How far the earliest time that a record says may be from the one that was noted, ms: clocks differ. */
const CLOCKS_MS = 60_000;

/** What was found of a store. */
export interface VerifyReport {
  /** How many keys were read, by the first word of their names. */
  read: Record<string, number>;
  problems: StoreProblem[];
}

/** How far a verification is. */
export interface VerifyProgress {
  step: 'records' | 'entries' | 'differences';
  /** Keys that the step has gone through, of about so many. */
  keys: number;
  of: number;
}

interface VerifierOptions {
  /** Ends the verification, with its reason. */
  signal?: AbortSignal | undefined;
  /** Is called after each few hundred keys. */
  onProgress?: ((progress: VerifyProgress) => void) | undefined;
}

/** A record, as a pass through all of them reads it. */
interface Read {
  key: string;
  subject: Subject;
  record: ReadRecord | Error | null;
}

/**
 * Reads every record of a store by its codec, and compares each with what points to it, both ways, and counters
 * with what they count. Writes nothing; each command is short; its memory does not grow with the store. Errors of the
 * connection pass through.
 */
export class Verifier {
  private readonly problems = new Problems();
  private readonly sums = new EntrySums();
  private readonly records: Records;
  private readonly entries: StructureEntries;
  private readonly counters: Counters;
  private readonly outstanding: Outstanding;
  private readonly scheduled: Scheduled;
  private readonly read = new Map<string, number>();
  /** When lists of sources were written last, as far as events say. */
  private readonly sources = new Map<string, number>();
  /** The highest number that a record has in each log. */
  private readonly highest = new Map<string, number>();

  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
    private readonly options: VerifierOptions = {},
  ) {
    this.records = new Records(redis, keys);
    this.entries = new StructureEntries(redis, keys);
    this.counters = new Counters(redis, keys);
    this.outstanding = new Outstanding(redis, keys, this.records, this.problems);
    this.scheduled = new Scheduled(redis, keys, this.records, this.problems);
  }

  async verify(): Promise<VerifyReport> {
    const { redis, keys, problems, counters } = this;
    const packedBefore = await counters.packedCount();
    await this.readRecords();
    await counters.comparePacked(packedBefore, problems);
    await this.takeEntries();
    if (this.sums.anyDiffers) await this.findDifferences();
    await this.each(referencesOf(keys), (one) => checkReferences(redis, keys, one, problems));
    await this.each(counters.all, (one) => counters.compare(one, problems));
    await this.checkSources().catch(unlessOutage);
    await counters.compareSum(problems).catch(unlessOutage);
    await this.compareNumbers();
    const read = [...this.read].toSorted(([a], [b]) => (a < b ? -1 : 1));
    return { read: Object.fromEntries(read), problems: problems.all() };
  }

  /** All keys, a page at a time. */
  private async *allKeys(step: VerifyProgress['step']): AsyncIterable<string[]> {
    const { redis, options } = this;
    const of = await redis.dbsize();
    const pattern = `${this.keys.queuePrefix}:*`;
    let keys = 0;
    for await (const page of scanned((at) => redis.scan(at, 'MATCH', pattern, 'COUNT', SCANNED))) {
      options.signal?.throwIfAborted();
      yield page;
      keys += page.length;
      options.onProgress?.({ step, keys, of: Math.max(keys, of) });
    }
  }

  /** A key that cannot be read is a problem; without a connection, nothing can. */
  private async each<Item extends string | { key: string }>(
    found: readonly Item[],
    step: (item: Item) => Promise<void>,
  ): Promise<void> {
    await mapInChunks(found, AT_ONCE, async (item) => {
      this.options.signal?.throwIfAborted();
      const key = typeof item === 'string' ? item : item.key;
      await step(item).catch((error: unknown) => this.unreadable(key, error));
    });
  }

  private unreadable(key: string, error: unknown): void {
    if (!(error instanceof Error) || isOutage(error)) throw error;
    const example = `${this.shortOf(key)}: ${messageOf(error)}`;
    this.problems.note('unreadable', kindOfKey(this.keys, key), example);
  }

  private shortOf(key: string): string {
    return key.slice(this.keys.queuePrefix.length + 1);
  }

  /** First pass: what is kept by itself, and where it belongs. */
  private async readRecords(): Promise<void> {
    const { redis, keys, read } = this;
    for await (const found of this.allKeys('records')) {
      for (const key of found) {
        const kind = kindOfKey(keys, key);
        read.set(kind, (read.get(kind) ?? 0) + 1);
      }
      for await (const some of this.recordsOf(found)) await this.takeRecords(some);
      await this.each(found, (key) => readDocument(redis, kindOfKey(keys, key), key));
    }
  }

  /** The records among some keys that have places elsewhere, some at a time. */
  private async *recordsOf(found: readonly string[]): AsyncIterable<Read[]> {
    const { keys, records } = this;
    const beginning = beginningOfWatches(keys);
    const watches = found.filter((key) => key.startsWith(beginning));
    for (const some of chunksOf(watches, WATCHES_AT_ONCE)) {
      this.options.signal?.throwIfAborted();
      const names = some.map((key) => parseWatchId(key.slice(beginning.length)));
      const read = await records.readWatches(names);
      yield names.map((watch, at) => {
        return { key: some[at] ?? '', subject: { is: 'watch', watch }, record: read[at] ?? null };
      });
    }
    const others = found.flatMap((key): Omit<Read, 'record'>[] => {
      const kind = kindOfKey(keys, key);
      const subject = namedSubject(kind, this.shortOf(key).slice(kind.length + 1));
      return subject === null ? [] : [{ key, subject }];
    });
    for (const some of chunksOf(others, AT_ONCE)) {
      this.options.signal?.throwIfAborted();
      yield await Promise.all(
        some.map(async ({ key, subject }) => {
          return { key, subject, record: await records.read(subject).catch(unlessOutage) };
        }),
      );
    }
  }

  private async takeRecords(read: readonly Read[]): Promise<void> {
    const { keys } = this;
    const timed: Timed[] = [];
    for (const { key, subject, record } of read) {
      if (record instanceof Error) this.unreadable(key, record);
      else if (record?.plan === null) await this.checkOwner(subject);
      else if (record !== null) {
        this.takePlan(record.plan);
        this.counters.take(record);
        for (const entry of timedOfPlan(keys, record.plan)) timed.push({ subject, entry });
        await this.checkRecord(record);
      }
    }
    await this.checkTimes(timed);
    await this.scheduled.check(read.flatMap(watchIn));
  }

  private takePlan(plan: RepairPlan): void {
    for (const entry of entriesOfPlan(this.keys, plan)) this.sums.add(entry);
    for (const { log, number } of plan.logs) {
      this.highest.set(log, Math.max(number, this.highest.get(log) ?? 0));
    }
    this.noteSources(plan);
  }

  private async checkRecord({ outstanding, batch }: ReadRecord): Promise<void> {
    if (outstanding !== undefined) await this.outstanding.checkDelivery(outstanding.id);
    if (batch?.state === 'open') {
      await checkBatchName(this.redis, this.keys, batch, this.problems);
    }
  }

  /** Events about several sources share a member: the newest says when it was written. */
  private noteSources({ sorted }: RepairPlan): void {
    for (const { key, member, score } of sorted) {
      if (key !== this.keys.batchSources) continue;
      this.sources.set(member, Math.max(score, this.sources.get(member) ?? 0));
    }
  }

  private async checkSources(): Promise<void> {
    const { redis, keys, problems } = this;
    for (const [member, from] of this.sources) {
      const found = await redis.zscore(keys.batchSources, member);
      if (found === null && (await redis.zcard(keys.batchSources)) < MOST_SOURCE_LISTS) {
        problems.note('missing', 'batch-sources', `${member} is not in batch-sources`);
      } else if (isOff(found, from)) {
        const example = `${member} is at ${found} in batch-sources, and an event says ${from} or later`;
        problems.note('misplaced', 'batch-sources', example);
      }
    }
  }

  /** A live event or delivery of a watch that is not live. */
  private async checkOwner(subject: Subject): Promise<void> {
    const isOrphan = await seenAgain(async () => {
      const record = await this.records.read(subject);
      return record !== null && record.plan === null;
    });
    if (!isOrphan) return;
    const example = `${subject.is} ${nameOf(subject)} belongs to no live watch`;
    this.problems.note('stray', subject.is, example);
  }

  /** What stands in a sorted set from a time on must not stand there earlier, or long after now. */
  private async checkTimes(timed: readonly Timed[]): Promise<void> {
    const { redis } = this;
    const byKey = [...groupBy(timed, ({ entry }) => entry.key)];
    if (byKey.length === 0) return;
    const pipeline = redis.pipeline();
    for (const [key, own] of byKey) {
      pipeline.zmscore(key, ...own.map(({ entry }) => entry.member));
    }
    const scores = await replies<(string | null)[]>(pipeline);
    for (const [at, [, own]] of byKey.entries()) {
      for (const [place, one] of own.entries()) {
        if (isOff(scores[at]?.[place] ?? null, one.entry.from)) await this.checkTime(one);
      }
    }
  }

  private async checkTime({ subject, entry: { key, member, from } }: Timed): Promise<void> {
    const { redis, keys } = this;
    let found: string | null = null;
    const isStill = await seenAgain(async () => {
      const plan = await this.planOf(subject);
      found = await redis.zscore(key, member);
      return (
        plan !== null &&
        timedOfPlan(keys, plan).some(
          (now) => now.key === key && now.member === member && isOff(found, now.from),
        )
      );
    });
    if (isStill) this.misplaced(subject, key, found, `${from} or later`);
  }

  private misplaced(subject: Subject, key: string, found: string | null, wants: string): void {
    const short = this.shortOf(key);
    const example = `${subject.is} ${nameOf(subject)} is at ${found} in ${short}, and its record says ${wants}`;
    this.problems.note('misplaced', kindOfKey(this.keys, key), example);
  }

  /** Second pass: what points to records. */
  private async takeEntries(): Promise<void> {
    const { keys, entries, sums, outstanding } = this;
    for await (const found of this.allKeys('entries')) {
      await this.each(found, async (key) => {
        for await (const page of entries.of(key)) for (const entry of page) sums.take(entry);
        await this.checkChunks(key);
        await this.checkOrder(key);
        await outstanding.checkKey(kindOfKey(keys, key), key);
      });
    }
  }

  /** Each chunk of a log is in its list of chunks; the last one is kept without numbers, as more may come. */
  private async checkChunks(key: string): Promise<void> {
    const { redis, problems } = this;
    const part = this.entries.chunkOf(key);
    if (part !== null) {
      const { log, chunk } = part;
      const list = `${log}chunks`;
      const isMissing = await seenAgain(
        async () =>
          (await redis.zscore(list, String(chunk))) !== String(chunk) &&
          (await redis.exists(key)) === 1,
      );
      const example = `${this.shortOf(key)} is not in ${this.shortOf(list)}`;
      if (isMissing) problems.note('missing', kindOfKey(this.keys, key), example);
    }
    const log = this.entries.logOfChunks(key);
    if (log === null) return;
    for await (const page of SORTED_SET.pages(redis, key)) {
      for (const { name: chunk } of page) {
        const isStray = await seenAgain(async () => {
          if ((await redis.exists(`${log}${chunk}`)) === 1) return false;
          const [last] = await redis.zrevrange(key, 0, '0');
          return last !== chunk && (await redis.zscore(key, chunk)) !== null;
        });
        const example = `there is no chunk ${chunk} of ${this.shortOf(log)}`;
        if (isStray) problems.note('stray', kindOfKey(this.keys, key), example);
      }
    }
  }

  /** Ids are found in the order of their letters, which holds for members with one score. */
  private async checkOrder(key: string): Promise<void> {
    if (!(await seenAgain(() => this.entries.isOutOfOrder(key)))) return;
    const example = `${this.shortOf(key)} has members with another score than 0`;
    this.problems.note('misplaced', kindOfKey(this.keys, key), example);
  }

  /** Goes through all again, and reads what differs: daemons may have written it meanwhile. */
  private async findDifferences(): Promise<void> {
    const { keys, entries, sums } = this;
    for await (const found of this.allKeys('differences')) {
      await this.each(found, async (key) => {
        for await (const page of entries.of(key)) {
          for (const entry of page) if (sums.differs(entry)) await this.checkEntry(entry);
        }
      });
      for await (const some of this.recordsOf(found)) {
        await mapInChunks(some, AT_ONCE, async ({ subject, record }) => {
          if (record === null || record instanceof Error || record.plan === null) return;
          const isSuspect = entriesOfPlan(keys, record.plan).some((one) => sums.differs(one));
          // Of a key that cannot be read, the second pass has said so.
          if (isSuspect) await this.checkPlaces(subject, record.plan).catch(unlessOutage);
        });
      }
    }
  }

  /** An entry must stand for a record that belongs there. */
  private async checkEntry({ at, structure, ...entry }: FoundEntry): Promise<void> {
    const { redis, keys } = this;
    const isStray = await seenAgain(async () => {
      const subject = await this.records.ofEntry(entry);
      const plan = subject === null ? null : await this.planOf(subject);
      if (plan !== null && isInPlan(keys, plan, entry)) return false;
      return (await structure.read(redis, at, entry.name)) !== null;
    });
    if (!isStray) return;
    const what = isNumber(entry.name) ? `number ${entry.name}` : entry.name;
    const example = `${what} in ${this.shortOf(at)} stands for no record that belongs there`;
    this.problems.note('stray', kindOfKey(keys, at), example);
  }

  /** Where a record belongs; nowhere, where it cannot be read: the first pass has said so. */
  private async planOf(subject: Subject): Promise<RepairPlan | null> {
    const record = await this.records.read(subject).catch(unlessOutage);
    return record instanceof Error ? null : (record?.plan ?? null);
  }

  /** Whether all entries are there that a record has elsewhere, and at the places that it says. */
  private async checkPlaces(subject: Subject, plan: RepairPlan): Promise<void> {
    let lacking = await this.lackingOf(plan);
    await seenAgain(async () => {
      const again = await this.planOf(subject);
      const still = again === null ? new Map<string, Lacking>() : await this.lackingOf(again);
      lacking = new Map([...still].filter(([key]) => lacking.has(key)));
      return lacking.size > 0;
    });
    for (const [key, lack] of lacking) {
      if (lack.is === 'misplaced') this.misplaced(subject, key, lack.found, lack.wants);
      else {
        const example = `${subject.is} ${nameOf(subject)} is not in ${this.shortOf(key)}`;
        this.problems.note('missing', kindOfKey(this.keys, key), example);
      }
    }
  }

  /** What is wrong with the entries of a record, by their keys. */
  private async lackingOf(plan: RepairPlan): Promise<Map<string, Lacking>> {
    const { redis, keys } = this;
    const lacking = new Map<string, Lacking>();
    for (const { key, name, value } of entriesOfPlan(keys, plan)) {
      if (value === '' || !isSortedKind(kindOfKey(keys, key))) continue;
      const found = await redis.zscore(key, name);
      if (found !== null && Number(found) !== Number(value)) {
        lacking.set(key, { is: 'misplaced', found, wants: value });
      }
    }
    for (const { key } of await missingEntries(redis, entriesOf(plan))) {
      lacking.set(key, { is: 'missing' });
    }
    if ((await missingRunIds(redis, plan)).length > 0) {
      lacking.set(plan.runIds?.block ?? '', { is: 'missing' });
    }
    return lacking;
  }

  /** No number may be given twice. */
  private async compareNumbers(): Promise<void> {
    const { redis, keys } = this;
    for (const [counter, log] of [
      [keys.watchNumber, keys.watchNames],
      [keys.eventPlace, keys.eventLog],
      [keys.deliveryNumber, keys.deliveryLog],
    ] as const) {
      const highest = this.highest.get(log) ?? 0;
      const given = Number((await redis.get(counter)) ?? 0);
      // One that was lost goes on behind the log.
      if (given === 0 || given >= highest) continue;
      const short = this.shortOf(counter);
      const example = `${short} is ${given}, and a record has the number ${highest}`;
      this.problems.note('miscounted', short, example);
    }
  }
}

/** What is wrong with the entry of a record. */
type Lacking = { is: 'missing' } | { is: 'misplaced'; found: string; wants: string };

interface Timed {
  subject: Subject;
  entry: TimedEntry;
}

function watchIn({ record }: Read): Watch[] {
  return record === null || record instanceof Error || record.watch === undefined
    ? []
    : [record.watch];
}

/** Whether a score is before the earliest time, or long after now. */
function isOff(score: string | null, from: number): boolean {
  if (score === null) return false;
  const latest = Math.max(from, Date.now()) + DEFERRED_MS;
  return Number(score) < from - CLOCKS_MS || Number(score) > latest;
}
