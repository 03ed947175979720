import type { Redis } from 'ioredis';
import {
  capacityOf,
  type KeptCapacity,
  type StreamCapacity,
} from '../../core/feed/stream-capacity.ts';
import type { TransitionKind } from '../../core/feed/stream-hint.ts';
import {
  REMEMBERED,
  REMEMBERED_KINDS,
  type RememberedKind,
  type ReportHistory,
  type StreamTrust,
} from '../../core/feed/stream-trust.ts';
import type { RunNodes } from '../../core/run/nodes.ts';
import type { WatchIdentity } from '../watch-change.ts';
import { jsonOrNull } from '../connection.ts';
import type { Keys } from '../keys.ts';
import { EVEN_IF_FULL } from '../lua/full.ts';
import { replaceField } from '../lua/replace-field.ts';
import { SCHEDULE } from '../lua/schedule.ts';
import { script } from '../script.ts';
import { writeIdentity } from './watch-record.ts';
import { IDENTITY } from './commit-watch.ts';

/** A stream as other processes see it. */
export interface HeldStream {
  process: string;
  /** Whether it stands in for the reads of its run. */
  isRelied: boolean;
  nodes: RunNodes | null;
}

/** Moves the next read of a run: later only while its watch is as it was read. */
export type ReadMove = { inMs: number } & (
  | { to: 'earlier' }
  | { to: 'later'; watch: WatchIdentity }
);

/** Histories of kinds of transitions that are kept for a source. */
const MOST_HISTORIES = 2_000;

/** Runs given back at a time. */
const CHUNK = 500;

/** Histories that are not added to are forgotten, ms: 30 days. */
const KEPT_MS = 2_592_000_000;

const CAPACITY = 'capacity';

/**
 * Which runs of a source are streamed: a hash from a run's id to the process, and what is known of the
 * run's nodes as JSON. A + after the process says that the stream stands in for reads.
 */
const HELD = `
local function isHeldBy(id, process)
  local entry = redis.call('HGET', keys.holders, id) or ''
  return string.match(entry, '^[^ +]+') == process
end
`;

/** Takes a run for a process, unless it is streamed already, or there are as many as may be. */
const TAKE_STREAM = script(
  'rwTakeStream',
  { keys: ['holders'], args: ['run', 'process', 'most'], reply: (taken: number) => taken === 1 },
  `
if redis.call('HLEN', keys.holders) >= tonumber(args.most) then return 0 end
return redis.call('HSETNX', keys.holders, args.run, args.process)
`,
);

/**
 * Notes of a stream whether it stands in for reads, and where its run stands, and moves the next read
 * of the run, `later` or `earlier`. It moves later only where the watch is as it was read, and the read neither
 * under way nor due. It moves earlier in any case, even where another process streams the run by now; of a read
 * under way, a mark does that. Its further keys are the due sets. Says whether the process holds the run.
 */
const NOTE_STREAM = script(
  'rwNoteStream',
  {
    keys: ['holders', 'watch', 'clock', 'claims'],
    args: ['run', 'process', 'entry', 'move?', 'ms?', 'identity?'],
    reply: (isHeld: number) => isHeld === 1,
  },
  `
${HELD}
${SCHEDULE}
${IDENTITY}
local run, move = args.run, args.move
local isHeld = isHeldBy(run, args.process)
if isHeld then redis.call('HSET', keys.holders, run, args.entry) end
local due = schedule(keys.claims, further)
local now = storeNow(keys.clock)
local at = move and now + args.ms
if move == 'earlier' then due.expedite(run, at, now) end
if move == 'later' and isHeld and identityOf(keys.watch) == args.identity then
  local kind, dueAt = due.kindOf(run)
  if kind and dueAt > now and dueAt < at then due.put(run, kind, at) end
end
return isHeld and 1 or 0
`,
);

/**
 * Gives runs back. Those with reads left to their streams are read in their order, or all, also those
 * that the process does not hold any more. Its further keys are the due sets, and runs its further arguments.
 * Returns how many were made due.
 */
const RELEASE_STREAMS = script(
  'rwReleaseStreams',
  {
    keys: ['holders', 'clock', 'claims'],
    args: ['process', 'readsAll?', 'everyMs', 'readsBefore'],
    reply: (made: number) => made,
  },
  `
${EVEN_IF_FULL}
${HELD}
${SCHEDULE}
evenIfFull(keys.clock)
local due = schedule(keys.claims, further)
local now, count = storeNow(keys.clock), 0
for place = rest, #ARGV do
  local run, isRead = ARGV[place], args.readsAll
  if isHeldBy(run, args.process) then
    isRead = isRead or string.match(redis.call('HGET', keys.holders, run), '^[^ +]+%+')
    redis.call('HDEL', keys.holders, run)
  end
  local at = now + math.floor((args.readsBefore + count) * args.everyMs)
  if isRead and due.expedite(run, at, now) then count = count + 1 end
end
return count
`,
);

/**
 * Adds to the histories of a source and of a workflow, its further arguments, whether a stream reported a
 * transition; with an empty report, that there was one. A history is a text of 0 and 1 by workflow/kind; the source's
 * have no workflow. Where there are too many, any one of a workflow is forgotten.
 */
const ADD_REPORT = script(
  'rwAddReport',
  { keys: ['histories'], args: ['report', 'length', 'most', 'keptMs'] },
  `
for place = rest, #ARGV do
  local reports = (redis.call('HGET', keys.histories, ARGV[place]) or '') .. args.report
  redis.call('HSET', keys.histories, ARGV[place], string.sub(reports, -args.length))
end
while redis.call('HLEN', keys.histories) > tonumber(args.most) do
  local field = redis.call('HRANDFIELD', keys.histories)
  -- A workflow's id may itself begin with a slash.
  if not string.find(field, '^/[^/]*$') then redis.call('HDEL', keys.histories, field) end
end
redis.call('PEXPIRE', keys.histories, args.keptMs)
`,
);

/** Which of the runs that are given back are read, and the time from one read to the next, ms. */
interface ReadsAfter {
  reads: 'all' | 'relied';
  everyMs: number;
}

/** The event streams of all processes, and how far they are believed. */
export class StreamStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** @returns false where the run is streamed already, or as many are as may be */
  async take(source: string, runId: string, process: string, most: number): Promise<boolean> {
    const holders = this.keys.streams(source);
    return TAKE_STREAM.run(this.redis, { holders }, { run: runId, process, most });
  }

  /**
   * Notes what a stream is to other processes, and moves the next read of its run in the same step.
   * @returns false where the process holds the run no more
   */
  async note(
    source: string,
    runId: string,
    { held, move }: { held: HeldStream; move: ReadMove | null },
  ): Promise<boolean> {
    const { keys } = this;
    const nodes = held.nodes === null ? '' : ` ${JSON.stringify(held.nodes)}`;
    return NOTE_STREAM.run(
      this.redis,
      {
        holders: keys.streams(source),
        watch: keys.watch({ source, runId }),
        ...keys.schedule(source),
      },
      {
        run: runId,
        process: held.process,
        entry: `${held.process}${held.isRelied ? '+' : ''}${nodes}`,
        ...(move !== null && { move: move.to, ms: Math.max(0, Math.round(move.inMs)) }),
        ...(move?.to === 'later' && { identity: writeIdentity(move.watch) }),
      },
      { further: keys.requestsDue(source) },
    );
  }

  /**
   * Gives runs back, and makes their reads due in this order in the same step.
   * @returns how many reads that were
   */
  async release(
    source: string,
    { process, runIds }: { process: string; runIds: readonly string[] },
    { reads, everyMs }: ReadsAfter,
  ): Promise<number> {
    const { keys } = this;
    let count = 0;
    for (let at = 0; at < runIds.length; at += CHUNK) {
      count += await RELEASE_STREAMS.run(
        this.redis,
        { holders: keys.streams(source), ...keys.schedule(source) },
        {
          process,
          readsAll: reads === 'all' ? 1 : undefined,
          everyMs,
          readsBefore: count,
        },
        { further: keys.requestsDue(source), rest: runIds.slice(at, at + CHUNK) },
      );
    }
    return count;
  }

  /** The processes that are alive, by their heartbeats; some may be dead and not be judged yet. */
  async processes(): Promise<ReadonlySet<string>> {
    return new Set(await this.redis.hkeys(this.keys.processes));
  }

  count(source: string): Promise<number> {
    return this.redis.hlen(this.keys.streams(source));
  }

  /** The stream of a run; null where it has none. */
  async held(source: string, runId: string): Promise<HeldStream | null> {
    return parsedHeld(await this.redis.hget(this.keys.streams(source), runId));
  }

  /** The streams of all runs. */
  async all(source: string): Promise<Map<string, HeldStream>> {
    const entries = await this.redis.hgetall(this.keys.streams(source));
    return new Map(
      Object.entries(entries).flatMap(([runId, entry]) => {
        const held = parsedHeld(entry);
        return held === null ? [] : [[runId, held] as const];
      }),
    );
  }

  async capacity(source: string): Promise<StreamCapacity> {
    const text = await this.redis.hget(this.keys.streamState(source), CAPACITY);
    return capacityIn(text);
  }

  /** Changes the capacity. @param change returns the same object where nothing is to change */
  async changeCapacity(
    source: string,
    change: (capacity: StreamCapacity) => StreamCapacity,
  ): Promise<StreamCapacity> {
    const key = this.keys.streamState(source);
    for (;;) {
      const text = await this.redis.hget(key, CAPACITY);
      const before = capacityIn(text);
      const after = change(before);
      if (after === before) return before;
      const texts = { was: text ?? '', is: JSON.stringify(after) };
      if (await replaceField(this.redis, { key, field: CAPACITY }, texts)) return after;
    }
  }

  /**
   * Notes whether a stream reported a transition, or whether its hint was confirmed.
   * @param report.isReported null for a transition of a run that may have had no stream
   */
  async addReport(
    source: string,
    {
      workflowId,
      kind,
      isReported,
    }: { workflowId: string; kind: RememberedKind; isReported: boolean | null },
  ): Promise<void> {
    await ADD_REPORT.run(
      this.redis,
      { histories: this.keys.streamTrust(source) },
      {
        report: isReported === null ? '' : Number(isReported),
        length: REMEMBERED,
        most: MOST_HISTORIES,
        keptMs: KEPT_MS,
      },
      { rest: [`/${kind}`, `${workflowId}/${kind}`] },
    );
  }

  async trust(source: string): Promise<StreamTrust> {
    const fields = await this.redis.hgetall(this.keys.streamTrust(source));
    const workflows = new Map<string, ReportHistory>();
    for (const [field, reports] of Object.entries(fields)) {
      const slash = field.lastIndexOf('/');
      const [workflowId, name] = [field.slice(0, slash), field.slice(slash + 1)];
      const kind = REMEMBERED_KINDS.find((one) => one === name);
      if (kind === undefined) continue;
      const history = workflows.get(workflowId) ?? {};
      workflows.set(workflowId, history);
      history[kind] = reports;
    }
    const whole = workflows.get('') ?? {};
    workflows.delete('');
    return { source: whole, workflows };
  }

  /** Counts by what a transition became known first. */
  async countKnown(source: string, kind: TransitionKind, by: string): Promise<void> {
    await this.redis.hincrby(this.keys.streamState(source), `${kind}/${by}`, 1);
  }

  async counts(source: string): Promise<{ kind: string; by: string; count: number }[]> {
    const fields = await this.redis.hgetall(this.keys.streamState(source));
    return Object.entries(fields).flatMap(([field, count]) => {
      const [kind = '', by] = field.split('/');
      return by === undefined ? [] : [{ kind, by, count: Number(count) }];
    });
  }
}

function capacityIn(text: string | null): StreamCapacity {
  return capacityOf(jsonOrNull(text) as KeptCapacity | null);
}

function parsedHeld(entry: string | null): HeldStream | null {
  const [, process, plus, nodes] = /^([^ +]+)(\+?)(?: (.*))?$/.exec(entry ?? '') ?? [];
  if (process === undefined) return null;
  return {
    process,
    isRelied: plus === '+',
    nodes: nodes === undefined ? null : (JSON.parse(nodes) as RunNodes),
  };
}
