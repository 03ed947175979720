import type { Redis } from 'ioredis';
import type { AlertEntry } from '../../core/alert/entry.ts';
import { sum } from '../../core/arrays.ts';
import { MEMBER_STATUSES } from '../../core/batch.ts';
import type { CountedPage, Total } from '../../core/page.ts';
import { STATUS_LABELS } from '../../core/run/snapshot.ts';
import { backlogMoves, withNotices, type BacklogMove } from '../../core/watch/backlog.ts';
import { nextGoneCheck } from '../../core/watch/gone.ts';
import {
  countedTokens,
  parseWatchId,
  WATCH_STATES,
  watchId,
  type Watch,
  type WatchKey,
  type WatchState,
  type WebhookFilter,
} from '../../core/watch/watch.ts';
import type { StoredWatch, WatchChange, WatchQuota } from '../watch-change.ts';
import {
  batchIndex,
  eventIndexes,
  runsIndex,
  watchIndexes,
  webhooksIndex,
  type WatchNeed,
} from '../indexes.ts';
import { PlanKeys, type Keys } from '../keys.ts';
import { COUNT, NUMBERS } from '../lua/numbers.ts';
import {
  countNumbers,
  findNumbers,
  readNumbers,
  walkNumbers,
  type NumberedRow,
} from '../numbers.ts';
import { replies } from '../connection.ts';
import { RUN_IDS, runIdPlan } from '../run-ids.ts';
import { script } from '../script.ts';
import { auditPlan } from '../lua/audit.ts';
import { batchPlan } from './batch-store.ts';
import {
  backlogPlan,
  BacklogStore,
  type BacklogNotices,
  type JudgedBacklogs,
} from './backlog-store.ts';
import { deliveryPlan, inboxPlan } from './event-plan.ts';
import { readBare, readStored } from './history-plan.ts';
import type { HistoryStore } from './history-store.ts';
import { figuresPlan } from './run-figures-store.ts';
import { learningPlan } from './statistics-store.ts';
import { WatchListing, type StoredFilter, type WatchPageQuery } from './watch-listing.ts';
import { COMMIT_WATCH, NOT_WRITTEN } from './commit-watch.ts';
import { slotInPlace, writeDoc, writeHead, writeIdentity, writePolls } from './watch-record.ts';

/** What became of a write of a poll: what was due by it, or why it was not written. */
type Committed = string[] | 'changed' | 'lost';

/** A watch by its number in the order of registration. */
export interface NumberedWatch {
  key: WatchKey;
  number: number;
}

/** What rules have to judge of a change. */
type EntriesOf = (change: WatchChange) => AlertEntry[];

/** Takes the number of a watch without a record out of log and indexes. */
const DROP_NUMBER = script(
  'rwDropNumber',
  {
    keys: ['watch', 'watchSources', 'watchesChanged'],
    args: ['log', 'number', 'source', 'indexes', 'runIds'],
  },
  `
${NUMBERS}
${COUNT}
${RUN_IDS}
local number = tonumber(args.number)
if not readLog(args.log, number) then return end
for _, index in ipairs(cjson.decode(args.indexes)) do leaveIndex(index, number) end
-- A watch that was registered again has its record under another number.
if redis.call('EXISTS', keys.watch) == 0 then leaveRun(cjson.decode(args.runIds)) end
redis.call('ZREM', keys.watchesChanged, number)
count(keys.watchSources, args.source, -1)
leaveLog(args.log, number)
`,
);

/** Watches in Redis. Errors of the connection pass through. */
export class WatchStore {
  private readonly listing: WatchListing;
  private readonly backlogs: BacklogStore;

  private notices: BacklogNotices | null = null;
  private memberEnded: () => void = () => undefined;

  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
    private readonly history: HistoryStore,
    private readonly entriesOf: EntriesOf = () => [],
  ) {
    this.listing = new WatchListing(redis, keys);
    this.backlogs = new BacklogStore(redis, keys);
  }

  /** From now on the backlog of a workflow has one notice, in the write that it follows from. */
  noticeBacklogs(notices: BacklogNotices): void {
    this.notices = notices;
  }

  /** Calls back when a member of a batch has ended, or changed since. */
  heedMembers(memberEnded: () => void): void {
    this.memberEnded = memberEnded;
  }

  async get(key: WatchKey): Promise<StoredWatch | null> {
    return readStored(key, await this.redis.getBuffer(this.keys.watch(key)));
  }

  getMany(wanted: WatchKey[]): Promise<(StoredWatch | null)[]> {
    return this.readMany(wanted, readStored);
  }

  /** {@link getMany} with no metadata of live watches, for those that read very many and need none. */
  getManyBare(wanted: WatchKey[]): Promise<(StoredWatch | null)[]> {
    return this.readMany(wanted, readBare);
  }

  private async readMany(wanted: WatchKey[], read: typeof readStored) {
    if (wanted.length === 0) return [];
    const records = await this.redis.mgetBuffer(wanted.map((key) => this.keys.watch(key)));
    return wanted.map((key, at) => read(key, records[at] ?? null));
  }

  /**
   * Writes changes, each atomically and only if its watch is as it was when read.
   * @returns for each change, the pools at which deliveries are due now; null on a conflict
   */
  commitMany(changes: readonly WatchChange[]): Promise<(string[] | null)[]> {
    return Promise.all(changes.map((change) => this.commit(change)));
  }

  /**
   * {@link commitMany} for changes by a token that may have registered so many active watches.
   * @returns also `beyond_quota`, for a change that would make them more
   */
  async commitWithin(
    changes: readonly WatchChange[],
    quota: WatchQuota,
  ): Promise<(string[] | null | 'beyond_quota')[]> {
    for (const { before, after } of changes) {
      if (before?.isPacked === true) await this.history.unpack(after);
    }
    const found = await Promise.all(changes.map((change) => this.commitOne(change, { quota })));
    return found.map((reply) => {
      if (reply === NOT_WRITTEN.beyondQuota) return 'beyond_quota';
      return typeof reply === 'number' ? null : reply;
    });
  }

  /** {@link commitMany} for one change. */
  async commit(change: WatchChange): Promise<string[] | null> {
    const { before, after } = change;
    if (before?.isPacked === true) {
      if (this.isOfWatchAlone(change)) {
        return (await this.history.rewrite(before, after, change.audit)) ? [] : null;
      }
      await this.history.unpack(after);
    }
    const reply = await this.write(change);
    return typeof reply === 'number' ? null : reply;
  }

  /**
   * Writes what a claimed poll has seen, and ends the claim. `changed`: the watch is not as it was
   * read, and the claim stands. `lost`: another process has the claim by now.
   */
  async commitPoll(change: WatchChange): Promise<Committed> {
    const reply = await this.write(change);
    if (typeof reply !== 'number') return reply;
    return reply === NOT_WRITTEN.changed ? 'changed' : 'lost';
  }

  private movesOf(change: WatchChange): BacklogMove[] {
    return this.notices === null ? [] : backlogMoves(change);
  }

  /** Writes a change. One of a backlog is judged by what it finds there, again where that has moved. */
  private async write(change: WatchChange): Promise<string[] | number> {
    const { notices } = this;
    const moves = this.movesOf(change);
    if (notices === null || moves.length === 0) {
      return this.commitOne(change);
    }
    for (;;) {
      const steps = await this.backlogs.judge(moves, change);
      const noticed = withNotices(change, steps, notices.reach);
      const raised = steps.flatMap(({ notice }) => notice ?? []);
      const planned = raised.map((notice) => notices.plan(notice));
      const reply = await this.commitOne(noticed, { backlogs: { steps, planned } });
      if (reply === NOT_WRITTEN.backlogMoved) continue;
      if (typeof reply !== 'number') for (const notice of raised) notices.raised(notice);
      return reply;
    }
  }

  /** Newest first. Throws RunwatchError `invalid_cursor`, `stale_cursor`. */
  async list(filter: StoredFilter, query: WatchPageQuery): Promise<CountedPage<Watch>> {
    const { numbers, ...page } = await this.listing.find(filter, query);
    return { items: await this.read(numbers), ...page };
  }

  /** Watches that need a person for the same reason, the one that changed longest ago first. */
  async needing(
    need: WatchNeed,
    filter: Pick<StoredFilter, 'sources' | 'since'>,
    limit: number,
  ): Promise<{ items: Watch[] } & Total> {
    const { numbers, ...total } = await this.listing.oldest({ ...filter, need }, limit);
    return { items: await this.read(numbers), ...total };
  }

  private async read(numbers: readonly number[]): Promise<Watch[]> {
    const rows = await readNumbers(this.redis, this.keys, 'watch', numbers);
    return rows.flatMap(({ watch, record }) => {
      const stored = readStored(parseWatchId(watch), record);
      return stored === null ? [] : [stored.watch];
    });
  }

  /** Whether any watch has a run of this status. */
  async hasStatus(status: string): Promise<boolean> {
    return (await this.redis.exists(this.keys.watches('status', status))) === 1;
  }

  /** The sources that have watches, configured or not. */
  sources(): Promise<string[]> {
    return this.redis.hkeys(this.keys.watchSources);
  }

  /** Whether any watch has a run of this workflow. */
  async hasWorkflow(workflowId: string): Promise<boolean> {
    return (await this.redis.exists(this.keys.watches('workflow', workflowId))) === 1;
  }

  /** Active watches by their registration, a chunk at a time. */
  async *active(chunk: number, order: 'newest' | 'oldest' = 'oldest'): AsyncIterable<WatchKey[]> {
    let from: string | undefined;
    do {
      const { rows, next } = await walkNumbers(this.redis, this.keys, {
        kind: 'name',
        fields: [[this.keys.watches('state', 'active')]],
        order,
        limit: chunk,
        from,
      });
      yield rows.map(({ watch }) => parseWatchId(watch));
      from = next ?? undefined;
    } while (from !== undefined);
  }

  /** Active watches with a webhook, the newest first, a chunk at a time. */
  async *withWebhooks(
    { token, sources, ...rest }: WebhookFilter,
    chunk: number,
  ): AsyncIterable<Watch[]> {
    rest satisfies Record<string, never>;
    const ofSources = sources?.map((source) => this.keys.watches('source', source));
    let from: string | undefined;
    do {
      const { numbers, next } = await findNumbers(
        this.redis,
        this.keys,
        {
          kind: 'watch',
          fields: [[webhooksIndex(this.keys, token)], ...(ofSources ? [ofSources] : [])],
          order: 'newest',
          from,
        },
        chunk,
      );
      yield this.read(numbers);
      from = next ?? undefined;
    } while (from !== undefined);
  }

  /** The members of a batch by their registration, a chunk at a time. */
  async *ofBatch(batch: string, chunk: number): AsyncIterable<Watch[]> {
    const { redis, keys } = this;
    const fields = [MEMBER_STATUSES.map((status) => batchIndex(keys, batch, status))];
    let from: string | undefined;
    do {
      const query = { kind: 'watch' as const, fields, order: 'oldest' as const, from };
      const { numbers, next } = await findNumbers(redis, keys, query, chunk);
      if (numbers.length > 0) yield this.read(numbers);
      from = next ?? undefined;
    } while (from !== undefined);
  }

  /** Which of some watches have no record. */
  async absent(wanted: readonly WatchKey[]): Promise<WatchKey[]> {
    const records = wanted.map((key) => this.keys.watch(key));
    if (records.length === 0 || (await this.redis.exists(records)) === records.length) return [];
    const pipeline = this.redis.pipeline();
    for (const record of records) pipeline.exists(record);
    const found = await replies<number>(pipeline);
    return wanted.filter((_, at) => found[at] === 0);
  }

  /** Active watches by the indexes and the log that have no record, or one with another number. */
  async lost(chunk: number): Promise<NumberedWatch[]> {
    const { redis, keys } = this;
    const lost: NumberedWatch[] = [];
    let from: string | undefined;
    do {
      const fields = [[keys.watches('state', 'active')]];
      const query = { kind: 'watch' as const, fields, order: 'oldest' as const, from };
      const { numbers, next } = await findNumbers(redis, keys, query, chunk);
      const there = new Set((await readNumbers(redis, keys, 'watch', numbers)).map(numberOf));
      const missing = numbers.filter((number) => !there.has(number));
      // One that was forgotten meanwhile has left the log in the same step.
      const named = await readNumbers(redis, keys, 'name', missing);
      lost.push(...named.map((row) => ({ key: parseWatchId(row.watch), number: numberOf(row) })));
      from = next ?? undefined;
    } while (from !== undefined);
    return lost;
  }

  /** Takes numbers of active watches without a record out of the log and the indexes. */
  async dropLost(lost: readonly NumberedWatch[]): Promise<void> {
    const { keys } = this;
    for (const { key, number } of lost) {
      const indexes = [
        keys.watches('state', 'active'),
        keys.watches('source', key.source),
        ...STATUS_LABELS.flatMap((status) => [
          keys.watches('status', status),
          runsIndex(keys, key.source, status),
        ]),
      ];
      const planKeys = new PlanKeys(keys);
      planKeys.declareAll(indexes);
      const { runIds } = runIdPlan(planKeys, key);
      await DROP_NUMBER.run(
        this.redis,
        {
          watch: keys.watch(key),
          watchSources: keys.watchSources,
          watchesChanged: keys.watchesChanged,
        },
        {
          log: keys.watchNames,
          number,
          source: key.source,
          indexes: JSON.stringify(indexes),
          runIds: JSON.stringify(runIds),
        },
        { further: planKeys.declared },
      );
    }
  }

  async countActive(): Promise<number> {
    return countNumbers(this.redis, this.keys.watches('state', 'active'));
  }

  /**
   * How many watches there are in each state. Those of the largest state are what the others leave of all,
   * since Redis reads the whole of an index that it counts.
   */
  async counts(): Promise<Record<WatchState, number>> {
    const { redis, keys } = this;
    const pipeline = redis.pipeline().zcard(keys.watchesChanged);
    for (const state of WATCH_STATES) pipeline.hlen(keys.watches('state', state));
    const [all = 0, ...chunks] = await replies<number>(pipeline);
    const largest = WATCH_STATES[chunks.indexOf(Math.max(...chunks))];
    const others = await Promise.all(
      WATCH_STATES.filter((state) => state !== largest).map(async (state) => {
        return [state, await countNumbers(redis, keys.watches('state', state))] as const;
      }),
    );
    const left = all - sum(others.map(([, count]) => count));
    return Object.fromEntries([...others, [largest, Math.max(0, left)]]) as Record<
      WatchState,
      number
    >;
  }

  private async commitOne(
    change: WatchChange,
    context: Omit<CommitContext, 'entries'> = {},
  ): Promise<string[] | number> {
    const entries = this.entriesOf(change);
    const reply = await commitWatch(this.redis, this.keys, change, { entries, ...context });
    const { batches, state } = change.after;
    if (batches.length > 0 && state !== 'active' && typeof reply !== 'number') this.memberEnded();
    return reply;
  }

  /** A change of what only the record of an ended watch says, such as its metadata. The audit log has its own place. */
  private isOfWatchAlone(change: WatchChange): boolean {
    const entries = this.entriesOf(change);
    const effects = effectsOf(new PlanKeys(this.keys), { ...change, audit: null }, { entries });
    return change.schedule === undefined && effects === null;
  }

  /** How many active watches of sources there are by the status of their runs. */
  async activeByStatus(
    sources: readonly string[],
  ): Promise<{ source: string; status: string; count: number }[]> {
    const pairs = sources.flatMap((source) => STATUS_LABELS.map((status) => ({ source, status })));
    return Promise.all(
      pairs.map(async ({ source, status }) => {
        const count = await countNumbers(this.redis, runsIndex(this.keys, source, status));
        return { source, status, count };
      }),
    );
  }
}

function numberOf({ number }: NumberedRow): number {
  return Number(number);
}

/** What bears on a change besides itself. */
interface CommitContext {
  entries: readonly AlertEntry[];
  quota?: WatchQuota | undefined;
  backlogs?: JudgedBacklogs;
}

function commitWatch(
  redis: Redis,
  keys: Keys,
  change: WatchChange,
  context: CommitContext,
): Promise<string[] | number> {
  const { before, after } = change;
  const doc = writeDoc(after, before?.doc);
  const inPlace = before?.doc === doc ? slotInPlace(before, after) : null;
  const places = before?.doc === doc ? UNMOVED : placesOf(keys, change);
  const planKeys = new PlanKeys(keys);
  const effects = effectsOf(planKeys, change, context, places);
  return COMMIT_WATCH.run(
    redis,
    {
      watch: keys.watch(after),
      clock: keys.clock,
      claims: keys.requestClaims(after.source),
      permits: keys.budget(after.source),
    },
    {
      identity: before === null ? undefined : writeIdentity(before),
      head: writeHead(after),
      ...(inPlace === null
        ? { record: doc + writePolls(after) }
        : { slotAt: inPlace.at, slot: inPlace.slot }),
      effects: effects === null ? undefined : JSON.stringify(effects),
      ...scheduleOf(change),
    },
    { further: [...keys.requestsDue(after.source), ...planKeys.declared] },
  );
}

/** What a change does to the schedule, times in whole ms from the write on. */
function scheduleOf({ after, schedule }: WatchChange) {
  if (schedule === undefined) return {};
  const { does } = schedule;
  const about = { does, member: after.runId };
  switch (does) {
    case 'settle': {
      const { token, next, permitMs } = schedule;
      return {
        ...about,
        token,
        permitMs: permitMs ?? undefined,
        ...(next !== null && { kind: next.kind, inMs: Math.max(0, Math.round(next.inMs)) }),
        ...(next?.spareMs !== undefined && { spareInMs: Math.round(next.spareMs) }),
      };
    }
    case 'enter':
      return { ...about, kind: schedule.kind, inMs: Math.round(schedule.withinMs) };
    case 'expedite':
      return { ...about, inMs: Math.round(schedule.withinMs) };
    case 'leave':
      return about;
  }
}

/** What the commit script must do besides writing the record; null where there is nothing. */
function effectsOf(
  planKeys: PlanKeys,
  change: WatchChange,
  { entries, quota, backlogs }: CommitContext,
  places = placesOf(planKeys.keys, change),
) {
  const { after, events, deliveries } = change;
  const learned = learningPlan(planKeys, change);
  const counted = figuresPlan(planKeys, change);
  const changed = changeOf(change);
  const tokens = tokenPlan(planKeys, change, quota);
  const audited = auditPlan(planKeys, change.audit);
  const batches = batchPlan(planKeys, change);
  const followed = [
    places.leave,
    places.enter,
    changed,
    events,
    deliveries,
    learned?.samples ?? [],
    counted === null ? [] : [counted],
    tokens?.counts ?? [],
    entries,
    [audited, batches].flatMap((plan) => plan ?? []),
  ];
  if (followed.every((none) => none.length === 0)) return null;
  const { keys, declare, declareAll } = planKeys;
  return {
    begins: places.begins,
    leave: declareAll(places.leave),
    enter: declareAll(places.enter),
    member: watchId(after),
    ...(places.begins && beginningOf(planKeys, change)),
    ...(changed.length > 0 && {
      changed: declare(keys.watchesChanged),
      changedAt: after.changedAt,
    }),
    ...endingOf(planKeys, change),
    ...goneCheckOf(planKeys, change),
    ...eventsOf(planKeys, change),
    ...deliveryPlan(planKeys, deliveries),
    ...present({ learned, counted, tokens, audited, batches }),
    ...(entries.length > 0 && { judged: inboxPlan(planKeys, entries) }),
    // What moves in a backlog moves in its index.
    ...(backlogs && backlogPlan(planKeys, backlogs)),
  };
}

/** The parts of a plan that are there: the script asks for each. */
function present<Parts extends Record<string, unknown>>(parts: Parts): Partial<Parts> {
  const there = Object.entries(parts).filter(([, part]) => (part ?? null) !== null);
  return Object.fromEntries(there) as Partial<Parts>;
}

/** The tokens that have one active watch more or less; null for none. */
function tokenPlan(
  { keys, declare }: PlanKeys,
  { before, after }: WatchChange,
  quota: WatchQuota | undefined,
) {
  const was = before === null ? [] : countedTokens(before.watch);
  const is = countedTokens(after);
  const counts = [
    ...was.filter((name) => !is.includes(name)).map((name) => ({ name, by: -1 })),
    ...is.filter((name) => !was.includes(name)).map((name) => ({ name, by: 1 })),
  ];
  if (counts.length === 0) return null;
  const isLimited = counts.some(({ name, by }) => name === quota?.token && by === 1);
  return {
    key: declare(keys.watchesOfTokens),
    counts,
    ...(quota !== undefined && isLimited && { limited: quota.token, most: quota.most }),
  };
}

/** What a watch that begins needs; one that begins anew takes what is in logs along. */
function beginningOf(planKeys: PlanKeys, { before, after }: WatchChange) {
  const { keys, declare } = planKeys;
  const isAnew = before !== null;
  return {
    source: after.source,
    sources: declare(keys.watchSources),
    names: keys.watchNames,
    watchNumber: declare(keys.watchNumber),
    ...runIdPlan(planKeys, after),
    ...(isAnew && {
      ended: declare(keys.watchesEnded),
      eventLog: keys.eventLog,
      liveEvents: declare(keys.liveEvents(watchId(after))),
      deliveryLog: keys.deliveryLog,
      liveDeliveries: declare(keys.liveDeliveries(watchId(after))),
    }),
  };
}

/** A watch that has ended is packed later, unless it begins anew. */
function endingOf({ keys, declare }: PlanKeys, { before, after }: WatchChange) {
  const wasEnded = (before?.watch.endedAt ?? null) !== null;
  if (after.endedAt === null && !wasEnded) return {};
  return {
    ended: declare(keys.watchesEnded),
    packDue: declare(keys.packDue),
    wasEnded,
    ...(after.endedAt !== null && { endedAt: after.endedAt }),
  };
}

function eventsOf({ keys, declare, declareAll }: PlanKeys, { after, events }: WatchChange) {
  if (events.length === 0) return { events };
  return {
    eventLog: keys.eventLog,
    liveEvents: declare(keys.liveEvents(watchId(after))),
    eventPlace: declare(keys.eventPlace),
    eventBell: declare(keys.eventBell),
    epochs: declare(keys.epochs),
    events: events.map((event) => ({
      id: event.id,
      key: declare(keys.event(event.id)),
      indexes: declareAll(eventIndexes(keys, event)),
      body: JSON.stringify(event),
    })),
  };
}

/** When the watch changed, where that is new. */
function changeOf({ before, after }: WatchChange): number[] {
  const isSame =
    before?.watch.registeredAt === after.registeredAt && before.watch.changedAt === after.changedAt;
  return isSame ? [] : [after.changedAt];
}

/** The watch of a gone run enters the slow checks with its end, and leaves them when it begins anew. */
function goneCheckOf({ keys, declare }: PlanKeys, { before, after }: WatchChange) {
  const goneCheckAt = nextGoneCheck(after, after.endedAt ?? 0);
  const wasGone = before?.watch.state === 'gone';
  if (goneCheckAt === null && !wasGone) return {};
  return {
    goneChecks: declare(keys.goneChecks),
    wasGone,
    ...(goneCheckAt !== null && { goneCheckAt }),
  };
}

/** Whatever an index goes by stands in the document: a poll that leaves it as it was moves nothing. */
const UNMOVED: ReturnType<typeof placesOf> = { begins: false, leave: [], enter: [] };

/** The indexes that a watch leaves and enters; one that begins gets a new number in all of them. */
function placesOf(keys: Keys, { before, after }: WatchChange) {
  const old = before === null ? [] : watchIndexes(keys, before.watch);
  const now = watchIndexes(keys, after);
  const begins = before === null || before.watch.registeredAt !== after.registeredAt;
  return {
    begins,
    leave: begins ? old : old.filter((index) => !now.includes(index)),
    enter: begins ? now : now.filter((index) => !old.includes(index)),
  };
}
