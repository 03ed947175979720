import type { Redis } from 'ioredis';
import { mapInChunks } from '../../core/arrays.ts';
import { messageOf } from '../../core/errors.ts';
import type { Delivery } from '../../core/delivery/delivery.ts';
import { isOutstanding } from '../../core/delivery/state.ts';
import { poolOf } from '../../core/delivery/receiver.ts';
import { parseWatchId, watchId } from '../../core/watch/watch.ts';
import { replies } from '../connection.ts';
import { isOutage } from '../failures.ts';
import { CHUNK, chunkOf, firstOf } from '../index-columns.ts';
import { kindOfKey } from '../key-sizes.ts';
import type { Keys } from '../keys.ts';
import { runIdOf } from '../run-ids.ts';
import {
  entriesOf,
  missingEntries,
  missingRunIds,
  type RepairPlan,
} from '../stores/repair-plan.ts';
import { Counters } from './counters.ts';
import { pagesOfList, readDocument, references, scanned } from './documents.ts';
import { Held, isInPlan } from './held.ts';
import { Problems, type StoreProblem } from './problems.ts';
import { nameOf, Records, type ReadRecord, type Subject } from './records.ts';

/** Keys that one command of Redis scans. */
const SCANNED = 500;

/** Records that are read at a time. */
const AT_ONCE = 20;

/**
 * How often a problem must be seen: a record and what points to it are read one after the other, and a daemon
 * may write both in between.
 */
const SEEN = 3;

/** What was found of a store. */
export interface VerifyReport {
  /** How many keys were read, by the first word of their names. */
  read: Record<string, number>;
  problems: StoreProblem[];
}

/** A key that holds numbers or ids of records. */
type Structure = 'index' | 'log' | 'sorted';

/** The sorted sets that records say themselves that they belong in. */
const SORTED: ReadonlySet<string> = new Set([
  'watches-changed',
  'watches-ended',
  'pack-due',
  'deliveries-settled',
  'own-events',
  'live-events',
  'live-deliveries',
  'event-deliveries',
]);

/** Where outstanding deliveries stand: each member is the id of one. */
const STANDS: ReadonlySet<string> = new Set(['due', 'taken', 'parked', 'lane', 'delivery-claims']);

/**
 * Reads every record of a store by its codec, and compares each with what points to it, both ways, and counters
 * with what they count. Writes nothing; each command is short. Errors of the connection pass through.
 */
export class Verifier {
  private readonly problems = new Problems();
  private readonly held = new Held();
  private readonly records: Records;
  private readonly counters: Counters;
  private readonly read = new Map<string, number>();

  /** @param signal ends the verification, with its reason */
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
    private readonly signal?: AbortSignal,
  ) {
    this.records = new Records(redis, keys);
    this.counters = new Counters(redis, keys);
  }

  async verify(): Promise<VerifyReport> {
    const { problems, counters, held } = this;
    const packedBefore = await counters.packedCount();
    for await (const found of this.allKeys()) await this.each(found, (key) => this.readKey(key));
    await counters.comparePacked(packedBefore, problems);
    for await (const found of this.allKeys()) await this.each(found, (key) => this.sweepKey(key));
    await this.followReferences();
    await counters.compare(held, problems);
    await this.compareNumbers();
    const read = [...this.read].toSorted(([a], [b]) => (a < b ? -1 : 1));
    return { read: Object.fromEntries(read), problems: problems.all() };
  }

  private allKeys(): AsyncIterable<string[]> {
    const pattern = `${this.keys.queuePrefix}:*`;
    return scanned((cursor) => this.redis.scan(cursor, 'MATCH', pattern, 'COUNT', SCANNED));
  }

  /** A key that cannot be read is a problem; without a connection, nothing can. */
  private async each(
    found: readonly string[],
    step: (key: string) => Promise<void>,
  ): Promise<void> {
    await mapInChunks(found, AT_ONCE, async (key) => {
      this.signal?.throwIfAborted();
      try {
        await step(key);
      } catch (error) {
        if (error instanceof Error && isOutage(error)) throw error;
        const kind = kindOfKey(this.keys, key);
        this.note('unreadable', kind, `${this.shortOf(key)}: ${messageOf(error)}`);
      }
    });
  }

  private note(problem: StoreProblem['problem'], kind: string, example: string): void {
    this.problems.note(problem, kind, example);
  }

  private shortOf(key: string): string {
    return key.slice(this.keys.queuePrefix.length + 1);
  }

  /** First pass: the records. */
  private async readKey(key: string): Promise<void> {
    const kind = kindOfKey(this.keys, key);
    this.read.set(kind, (this.read.get(kind) ?? 0) + 1);
    const name = this.shortOf(key).slice(kind.length + 1);
    if (kind === 'watch') await this.readRecord({ is: 'watch', watch: parseWatchId(name) });
    else if (kind === 'event' || kind === 'delivery') await this.readRecord({ is: kind, id: name });
    else await readDocument(this.redis, kind, key);
  }

  private async readRecord(subject: Subject): Promise<void> {
    const record = await this.records.read(subject);
    if (record === null) return;
    if (record.plan === null) return this.checkOwner(subject);
    this.held.take(record.plan);
    this.counters.take(record);
    await this.checkPlaces(subject, record);
    if (record.outstanding !== undefined) await this.checkStanding(subject);
  }

  /** A live event or delivery of a watch that is not live. */
  private async checkOwner(subject: Subject): Promise<void> {
    const isOrphan = await seenAgain(async () => {
      const record = await this.records.read(subject);
      return record !== null && record.plan === null;
    });
    if (!isOrphan) return;
    this.note('stray', subject.is, `${subject.is} ${nameOf(subject)} belongs to no live watch`);
  }

  /** Whether all entries are there that a record has elsewhere. */
  private async checkPlaces(subject: Subject, { plan }: ReadRecord): Promise<void> {
    if (plan === null) return;
    let missing = await this.missingOf(plan);
    for (let seen = 1; seen < SEEN && missing.length > 0; seen += 1) {
      const again = (await this.records.read(subject))?.plan ?? null;
      const still = new Set(again === null ? [] : await this.missingOf(again));
      missing = missing.filter((key) => still.has(key));
    }
    for (const key of missing) {
      const short = this.shortOf(key);
      const example = `${subject.is} ${nameOf(subject)} is not in ${short}`;
      this.note('missing', kindOfKey(this.keys, key), example);
    }
  }

  /** The keys that lack an entry. */
  private async missingOf(plan: RepairPlan): Promise<string[]> {
    const missing = await missingEntries(this.redis, entriesOf(plan));
    const runIds = await missingRunIds(this.redis, plan);
    const keys = missing.map(({ key }) => key);
    return [...new Set([...keys, ...(runIds.length > 0 ? [plan.runIds?.block ?? ''] : [])])];
  }

  /** An outstanding delivery waits in the order of its run, and the first of it is due, parked or claimed. */
  private async checkStanding(subject: Subject): Promise<void> {
    let lacks: string | null = null;
    const isWrong = await seenAgain(async () => {
      const delivery = (await this.records.read(subject))?.outstanding;
      lacks = delivery === undefined ? null : await this.standingLacks(delivery);
      return lacks !== null;
    });
    if (isWrong) this.note('missing', 'lane', `delivery ${nameOf(subject)} ${lacks}`);
  }

  private async standingLacks(delivery: Delivery): Promise<string | null> {
    const { redis, keys } = this;
    const { id, endpoint } = delivery;
    const lane = keys.ordering(delivery);
    const [place, ...stands] = await replies<number | string | null>(
      redis
        .multi()
        .lpos(lane, id)
        .hget(keys.deliveryClaims, id)
        .zscore(keys.taken(poolOf(endpoint)), id)
        .zscore(keys.parked(endpoint), id)
        .zscore(keys.due(endpoint), id),
    );
    if (place === null) return 'is not in the order of its run, so that it is not sent';
    const waits = Number(place) > 0;
    return waits || stands.some((one) => one !== null)
      ? null
      : 'is the next of its run, and neither due nor claimed nor parked';
  }

  /** Second pass: what points to records. */
  private async sweepKey(key: string): Promise<void> {
    const { keys } = this;
    const kind = kindOfKey(keys, key);
    if (kind === 'watches') return this.sweepIndex(key, keys.watchNames);
    if (kind === 'events') return this.sweepIndex(key, keys.eventLog);
    if (kind === 'deliveries') return this.sweepIndex(key, keys.deliveryLog);
    const log = [keys.watchNames, keys.eventLog, keys.deliveryLog].find((one) =>
      key.startsWith(one),
    );
    if (log !== undefined) return this.sweepLog(log, key.slice(log.length));
    if (SORTED.has(kind)) return this.sweepSorted(key, kind);
    if (STANDS.has(kind)) return this.sweepStands(key, kind);
    if (kind === 'run-ids') return this.sweepRunIds(key);
  }

  private async sweepIndex(index: string, log: string): Promise<void> {
    const pages = scanned((at) => this.redis.hscanBuffer(index, at, 'COUNT', SCANNED));
    for await (const flat of pages) {
      for (let at = 0; at < flat.length; at += 2) {
        const first = firstOf(Number(flat[at]));
        for (const place of flat[at + 1] ?? []) {
          const number = first + place;
          await this.checkEntry('index', index, String(number), () =>
            this.records.ofNumber(log, number),
          );
        }
      }
    }
  }

  private async sweepLog(log: string, chunk: string): Promise<void> {
    if (chunk === 'chunks') return;
    for (const place of await this.redis.hkeys(`${log}${chunk}`)) {
      const number = firstOf(Number(chunk)) + Number(place);
      await this.checkEntry('log', log, String(number), () => this.records.ofNumber(log, number));
    }
  }

  private async sweepSorted(key: string, kind: string): Promise<void> {
    const pages = scanned((at) => this.redis.zscan(key, at, 'COUNT', SCANNED));
    for await (const flat of pages) {
      for (const member of flat.filter((_, at) => at % 2 === 0)) {
        await this.checkEntry('sorted', key, member, () => this.subjectOf(kind, member));
      }
    }
  }

  private async subjectOf(kind: string, member: string): Promise<Subject | null> {
    if (kind === 'pack-due') return { is: 'watch', watch: parseWatchId(member) };
    const isNumber = /^\d+$/.test(member);
    if (isNumber) return this.records.ofNumber(this.keys.watchNames, Number(member));
    const isEvent = kind === 'own-events' || kind === 'live-events';
    return { is: isEvent ? 'event' : 'delivery', id: member };
  }

  /** An entry must stand for a record that belongs there. */
  private async checkEntry(
    structure: Structure,
    key: string,
    name: string,
    subjectOf: () => Promise<Subject | null>,
  ): Promise<void> {
    if (this.held.has(key, name)) return;
    const isStray = await seenAgain(async () => {
      const subject = await subjectOf();
      const plan = subject === null ? null : await this.planOf(subject);
      if (plan !== null && isInPlan(plan, key, name)) return false;
      return this.holds(structure, key, name);
    });
    if (!isStray) return;
    const what = structure === 'sorted' && !/^\d+$/.test(name) ? name : `number ${name}`;
    const example = `${what} in ${this.shortOf(key)} stands for no record that belongs there`;
    this.note('stray', kindOfKey(this.keys, key), example);
  }

  /** Where a record belongs; nowhere, where it cannot be read: the first pass has said so. */
  private async planOf(subject: Subject): Promise<RepairPlan | null> {
    try {
      return (await this.records.read(subject))?.plan ?? null;
    } catch (error) {
      if (error instanceof Error && isOutage(error)) throw error;
      return null;
    }
  }

  private async holds(structure: Structure, key: string, name: string): Promise<boolean> {
    const { redis } = this;
    if (structure === 'sorted') return (await redis.zscore(key, name)) !== null;
    const [chunk, place] = [chunkOf(Number(name)), Number(name) % CHUNK];
    if (structure === 'log') return (await redis.hexists(`${key}${chunk}`, String(place))) === 1;
    return (await redis.hgetBuffer(key, String(chunk)))?.includes(place) === true;
  }

  /** What waits to be sent must be a delivery that has not settled. */
  private async sweepStands(key: string, kind: string): Promise<void> {
    for await (const ids of this.standingIn(key, kind)) {
      for (const id of ids) {
        const isStray = await seenAgain(
          async () => !(await this.isOutstanding(id)) && this.standsIn(key, kind, id),
        );
        if (!isStray) continue;
        this.note('stray', kind, `${id} in ${this.shortOf(key)} is no delivery that waits`);
      }
    }
  }

  private async isOutstanding(id: string): Promise<boolean> {
    const doc = await this.redis.hget(this.keys.delivery(id), 'doc');
    return doc !== null && isOutstanding((JSON.parse(doc) as Delivery).state);
  }

  private async *standingIn(key: string, kind: string): AsyncIterable<string[]> {
    const { redis } = this;
    if (kind === 'lane') return yield* pagesOfList(redis, key);
    const pages = scanned((at) =>
      kind === 'delivery-claims'
        ? redis.hscan(key, at, 'COUNT', SCANNED)
        : redis.zscan(key, at, 'COUNT', SCANNED),
    );
    for await (const flat of pages) yield flat.filter((_, at) => at % 2 === 0);
  }

  private async standsIn(key: string, kind: string, id: string): Promise<boolean> {
    const { redis } = this;
    if (kind === 'lane') return (await redis.lpos(key, id)) !== null;
    if (kind === 'delivery-claims') return (await redis.hexists(key, id)) === 1;
    return (await redis.zscore(key, id)) !== null;
  }

  private async sweepRunIds(block: string): Promise<void> {
    const { redis, keys } = this;
    const beginning = keys.runIds('');
    const [source = ''] = block.slice(beginning.length).split(':', 1);
    for (const member of await redis.zrange(block, 0, '-1')) {
      const watch = { source, runId: runIdOf(member) };
      const isStray = await seenAgain(
        async () =>
          (await redis.exists(keys.watch(watch))) === 0 &&
          (await redis.zscore(block, member)) !== null,
      );
      if (isStray) this.note('stray', 'run-ids', `there is no watch ${watchId(watch)}`);
    }
  }

  /** Names of records in lists of them, and in names that stand for them. */
  private async followReferences(): Promise<void> {
    for (const { in: key, are, to } of references(this.keys)) {
      const read = async () =>
        are === 'zset' ? this.redis.zrange(key, 0, '-1') : this.redis.hvals(key);
      for (const name of await read()) {
        const isStray = await seenAgain(
          async () => (await this.redis.exists(to(name))) === 0 && (await read()).includes(name),
        );
        const kind = kindOfKey(this.keys, key);
        if (isStray)
          this.note(
            'stray',
            kind,
            `${this.shortOf(key)} names ${name}, of which there is no record`,
          );
      }
    }
  }

  /** No number may be given twice. */
  private async compareNumbers(): Promise<void> {
    const { redis, keys, held } = this;
    for (const [counter, log] of [
      [keys.watchNumber, keys.watchNames],
      [keys.eventPlace, keys.eventLog],
      [keys.deliveryNumber, keys.deliveryLog],
    ] as const) {
      const highest = held.highest(log);
      const given = Number((await redis.get(counter)) ?? 0);
      // One that was lost goes on behind the log.
      if (given === 0 || given >= highest) continue;
      const short = this.shortOf(counter);
      this.note(
        'miscounted',
        short,
        `${short} is ${given}, and a record has the number ${highest}`,
      );
    }
  }
}

/** Whether something is seen as often as a problem must be. */
async function seenAgain(see: () => Promise<boolean>): Promise<boolean> {
  for (let seen = 0; seen < SEEN; seen += 1) if (!(await see())) return false;
  return true;
}
