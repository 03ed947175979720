import {
  batchNameKey,
  MOST_BATCHES_OF_WATCH,
  MOST_MEMBERS,
  newBatch,
  type Batch,
  type BatchName,
} from '../core/batch.ts';
import type { BatchRefusal, Registration } from '../core/watch/register.ts';
import { withChanges, type Watch } from '../core/watch/watch.ts';
import type { Process } from '../process.ts';
import type { BatchJoin } from '../redis/watch-change.ts';

/** A request of a registration, with its index among all. */
interface Asked {
  request: Registration;
  at: number;
}

/** The batches that registrations join, as they are read before each attempt at writing them. */
export class Joining {
  private readonly names: readonly BatchName[];
  /** The names of those that are closed, as keys. */
  private readonly closed: readonly string[];
  /** What a name stands for, or the batch that begins in its place. */
  private readonly found = new Map<string, BatchJoin>();
  /** Batches that this registration begins, by their names: each attempt begins the same. */
  private readonly begun = new Map<string, Batch>();
  private hasRoom = true;
  private rounds = 0;
  /** Batches that a change of the first round begins. */
  private readonly beginning = new Set<string>();

  constructor(
    private readonly process: Process,
    requests: readonly Registration[],
  ) {
    const named = requests.flatMap(({ batch }) => batch ?? []);
    this.names = [...new Map(named.map((name) => [batchNameKey(name), name])).values()];
    const closing = requests.flatMap(({ batch, closesBatch }) => (closesBatch && batch) || []);
    this.closed = [...new Set(closing.map(batchNameKey))];
  }

  async read(): Promise<void> {
    if (this.names.length === 0) return;
    this.rounds += 1;
    const { batches } = this.process.stores;
    const [stored, hasRoom] = await Promise.all([batches.named(this.names), batches.hasRoom()]);
    for (const [at, name] of this.names.entries()) {
      const present = stored[at]?.batch ?? null;
      this.found.set(batchNameKey(name), this.joinOf(name, present));
    }
    this.hasRoom = hasRoom;
  }

  private joinOf(name: BatchName, present: Batch | null): BatchJoin {
    if (present !== null && present.state !== 'completed') return { batch: present };
    const key = batchNameKey(name);
    const was = present?.id ?? '';
    const begun = this.begun.get(key);
    // One that it began may have completed meanwhile: a run that is not in it begins another.
    const batch =
      begun === undefined || begun.id === was
        ? newBatch(this.process.newMark(), name, this.process.now())
        : begun;
    this.begun.set(key, batch);
    return { batch, was };
  }

  /**
   * A batch that has completed keeps its name where all that come are in it, as where a list is registered again. With
   * one other run the next begins, and all join that.
   * @param groups the requests for each watch, and the watch as it was read
   */
  keepCompleted(groups: readonly { requests: readonly Asked[]; watch: Watch | null }[]): void {
    const next = new Set<string>();
    for (const { requests, watch } of groups) {
      for (const { request } of requests) {
        if (request.batch === undefined) continue;
        const name = batchNameKey(request.batch);
        const was = this.found.get(name)?.was;
        if (was !== undefined && watch?.batches.includes(was) !== true) next.add(name);
      }
    }
    for (const [name, { was }] of this.found) {
      if (was !== undefined && !next.has(name)) this.found.delete(name);
    }
  }

  /** The ids of the batches that are closed once all have joined. */
  closing(): Set<string> {
    return new Set(this.closed.map((key) => this.found.get(key)?.batch.id ?? ''));
  }

  /** Which of the requests for a watch may join their batches. A member of a batch need not join it. */
  admit(requests: readonly Asked[], watch: Watch | null) {
    const admitted: Asked[] = [];
    const refused: { at: number; why: BatchRefusal }[] = [];
    const joined = new Set(watch?.batches);
    for (const asked of requests) {
      const join = this.missing(asked.request, watch);
      const why = join === null || joined.has(join.batch.id) ? null : this.refusal(join, joined);
      if (why !== null) {
        refused.push({ at: asked.at, why });
        continue;
      }
      if (join !== null) joined.add(join.batch.id);
      admitted.push(asked);
    }
    return { admitted, refused };
  }

  /** What a watch joins by some requests. */
  joinsOf(requests: readonly Asked[], watch: Watch): BatchJoin[] {
    const joins = requests.flatMap(({ request }) => this.missing(request, watch) ?? []);
    return [...new Set(joins)].map((join) => this.told(join));
  }

  /**
   * All changes of the first round but one find the batch begun, and need not say what it is. Where that one is
   * not written, they come again, and each says it.
   */
  private told(join: BatchJoin): BatchJoin {
    const { batch, was } = join;
    if (was === undefined || this.rounds > 1) return join;
    if (this.beginning.has(batch.id)) return { batch };
    this.beginning.add(batch.id);
    return join;
  }

  /** The batch that a request makes a watch join; null where there is none, or the watch is in it. */
  private missing({ batch }: Registration, watch: Watch | null): BatchJoin | null {
    const join = batch && this.found.get(batchNameKey(batch));
    if (join === undefined) return null;
    return watch?.batches.includes(join.batch.id) === true ? null : join;
  }

  private refusal({ batch, was }: BatchJoin, joined: ReadonlySet<string>): BatchRefusal | null {
    if (joined.size >= MOST_BATCHES_OF_WATCH) return 'too_many_batches';
    if (was !== undefined) return this.hasRoom ? null : 'too_many_batches';
    if (batch.state !== 'open') return 'batch_closed';
    return batch.joined >= MOST_MEMBERS ? 'batch_full' : null;
  }
}

/** The watch as a member of the batches that it joins. */
export function withJoined(watch: Watch, joins: readonly BatchJoin[]): Watch {
  if (joins.length === 0) return watch;
  return withChanges(watch, { batches: [...watch.batches, ...joins.map(({ batch }) => batch.id)] });
}
