import type { Redis } from 'ioredis';
import { NEW_CAPACITY, type StreamCapacity } from '../../core/feed/stream-capacity.ts';
import type { TransitionKind } from '../../core/feed/stream-hint.ts';
import {
  REMEMBERED,
  REMEMBERED_KINDS,
  type RememberedKind,
  type ReportHistory,
  type StreamTrust,
} from '../../core/feed/stream-trust.ts';
import type { RunNodes } from '../../core/run/nodes.ts';
import type { WatchIdentity } from '../commit.ts';
import { jsonOrNull } from '../connection.ts';
import type { Keys } from '../keys.ts';
import { writeIdentity } from './watch-record.ts';

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
    return (await this.redis.rwTakeStream(this.keys.streams(source), runId, process, most)) === 1;
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
    const isHeld = await this.redis.rwNoteStream(
      keys.streams(source),
      keys.watch({ source, runId }),
      ...keys.schedule(source),
      runId,
      held.process,
      `${held.process}${held.isRelied ? '+' : ''}${nodes}`,
      move?.to ?? '',
      Math.max(0, Math.round(move?.inMs ?? 0)),
      move?.to === 'later' ? writeIdentity(move.watch) : '',
    );
    return isHeld === 1;
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
    let count = 0;
    for (let at = 0; at < runIds.length; at += CHUNK) {
      count += await this.redis.rwReleaseStreams(
        this.keys.streams(source),
        ...this.keys.schedule(source),
        process,
        reads === 'all' ? 1 : 0,
        everyMs,
        count,
        ...runIds.slice(at, at + CHUNK),
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
    return (jsonOrNull(text) as StreamCapacity | null) ?? NEW_CAPACITY;
  }

  /** Changes the capacity. @param change returns the same object where nothing is to change */
  async changeCapacity(
    source: string,
    change: (capacity: StreamCapacity) => StreamCapacity,
  ): Promise<StreamCapacity> {
    const key = this.keys.streamState(source);
    for (;;) {
      const text = await this.redis.hget(key, CAPACITY);
      const before = (jsonOrNull(text) as StreamCapacity | null) ?? NEW_CAPACITY;
      const after = change(before);
      if (after === before) return before;
      const json = JSON.stringify(after);
      if ((await this.redis.rwReplaceField(key, CAPACITY, text ?? '', json)) === 1) return after;
    }
  }

  /** Notes whether a stream reported a transition, or whether its hint was confirmed. */
  async addReport(
    source: string,
    {
      workflowId,
      kind,
      isReported,
    }: { workflowId: string; kind: RememberedKind; isReported: boolean },
  ): Promise<void> {
    const key = this.keys.streamTrust(source);
    const fields = [`/${kind}`, `${workflowId}/${kind}`];
    const bounds = [REMEMBERED, MOST_HISTORIES, KEPT_MS];
    await this.redis.rwAddReport(key, isReported ? 1 : 0, ...bounds, ...fields);
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

function parsedHeld(entry: string | null): HeldStream | null {
  const [, process, plus, nodes] = /^([^ +]+)(\+?)(?: (.*))?$/.exec(entry ?? '') ?? [];
  if (process === undefined) return null;
  return {
    process,
    isRelied: plus === '+',
    nodes: nodes === undefined ? null : (JSON.parse(nodes) as RunNodes),
  };
}
