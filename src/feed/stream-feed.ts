import { parseStreamMember, streamMember } from '../core/feed/page-name.ts';
import { PLAN_MEMBER } from '../core/feed/page-name.ts';
import {
  allowedStreams,
  capacityAfter,
  isLastingFor,
  isLikely,
  NEW_CAPACITY,
  type StreamCapacity,
  type StreamOutcome,
} from '../core/feed/stream-capacity.ts';
import {
  HintAllowance,
  judgedLate,
  transitionKind,
  type HintStep,
  type TransitionKind,
} from '../core/feed/stream-hint.ts';
import {
  doubtedKinds,
  isEarned,
  isHopeful,
  isSample,
  mayStream,
  NO_TRUST,
  streamRank,
  type RememberedKind,
  type StreamTrust,
} from '../core/feed/stream-trust.ts';
import type { EndpointFilter } from '../core/delivery/delivery.ts';
import type { Random } from '../core/backoff.ts';
import type { RunNodes } from '../core/run/nodes.ts';
import type { RunSnapshot } from '../core/run/snapshot.ts';
import { grantedPauseMs, pauseMessage } from '../core/source/throttle.ts';
import type { Watch, WatchKey } from '../core/watch/watch.ts';
import type { RequestClaim } from '../poll/schedule.ts';
import type { Permit } from '../poll/source-limiter.ts';
import { FollowedRun } from './followed-run.ts';
import type { EventStreams, PagePermit, StreamEnd, StreamSchedule, StreamStore } from './ports.ts';

/** How long a first read waits for the stream of its run, ms. */
const BEGIN_MS = 1_000;

/** While more of the rate limit than this is used, first reads do not wait for streams. */
const AMPLE = 0.5;

/** Trust, and the watches of streamed runs, are read anew at every so many calls of `tend`. */
const TRUST_EVERY = 5;

/** No stream is asked for after one had the source paused, beyond that pause, at the least, ms. */
const PAUSED_REST_MS = 60_000;

/** So many hints at once are more than confirming reads can follow: lists may show them sooner. */
const BACKLOG_MS = 1_000;

/** A run whose stream has ended with a hint is kept in mind until that is read, for so long, ms. */
const JUDGED_MS = 30_000;

/** A stream that becomes live is counted once in this time, ms. */
const LEARN_EVERY_MS = 1_000;

export interface StreamFeedDependencies {
  source: string;
  /** Names this process. */
  process: string;
  /** Most streams of the source, over all processes; 0 for none. */
  most: number;
  store: StreamStore;
  streams: EventStreams;
  watches: { getMany(keys: WatchKey[]): Promise<({ watch: Watch } | null)[]> };
  schedule: StreamSchedule;
  claimPermit: () => Promise<Permit | null>;
  requestsPerMs: number;
  /** Active watches of the source. */
  active: () => number;
  wants: EndpointFilter;
  /** The source asks for a pause; null where it does not say how long. */
  pause: (asked: { retryAfterMs: number | null; message: string }) => Promise<void>;
  /** Streams are not to be had, until a time. */
  onRefused: (untilAt: number) => void;
  onEnd: (watch: WatchKey, end: StreamEnd) => void;
  onWrong: (watch: WatchKey) => void;
  /** A transition became known by a hint of a stream or list, or by a read. */
  onKnown: (kind: TransitionKind, by: string) => void;
  onError: (error: unknown) => void;
  now: () => number;
  random: Random;
}

/** How the streams of a source stand. */
export interface StreamFigures {
  open: number;
  /** Those that are open, and those that this process would open. */
  wanted: number;
  allowed: number;
  /** Until when none is opened, ms since the epoch; null where they may be. */
  refusedUntil: number | null;
  /** Kinds of transitions that streams are not believed to tell; null where nothing was shown yet. */
  doubted: TransitionKind[] | null;
  /** How often a transition became known first by a hint of a stream or list, or by a read. */
  known: { kind: string; by: string; count: number }[];
}

/** What a poll's result is written with: whether a stream follows the run on, and where it stands. */
export interface Standing {
  isStreamed: boolean;
  nodes: RunNodes | null;
  /** Whether a hint of the stream led to the poll. */
  isHinted: boolean;
}

const UNSTREAMED: Standing = { isStreamed: false, nodes: null, isHinted: false };

/**
 * Event streams of the runs of one source. What an event says is a hint: it expedites a read, and
 * a stream that has earned it stands in for the reads of the cadence. The store keeps which process
 * streams which run, how many streams there may be, and how far they are believed.
 */
export class StreamFeed {
  private readonly open = new Map<string, FollowedRun>();
  /** Runs that a stream may be opened for. */
  private readonly offered = new Map<string, Watch>();
  /** Runs with hints that no read may confirm yet. */
  private readonly waiting = new Set<FollowedRun>();
  private readonly following = new Set<Promise<void>>();
  private readonly allowance: HintAllowance;
  private capacity: StreamCapacity = NEW_CAPACITY;
  private trust: StreamTrust = NO_TRUST;
  /** Streams of all processes, at the last count. */
  private held = 0;
  private tended = 0;
  private learnedAt = -Infinity;
  private restsUntil = 0;
  private isStopped = false;
  private pumping: Promise<void> | null = null;

  constructor(private readonly deps: StreamFeedDependencies) {
    this.allowance = new HintAllowance(() => deps.requestsPerMs, deps.now());
  }

  /** Streams that are opened from now on send another API key. */
  useApiKey(apiKey: string): void {
    this.deps.streams.useApiKey(apiKey);
  }

  /** Opens a stream before a run's first read, which then closes the gap, where one is likely. */
  async beforeFirst(
    watch: Watch,
    { count, limit }: { count: number; limit: number },
  ): Promise<void> {
    const isAmple = count <= limit * AMPLE && isLikely(this.capacity, this.deps.now());
    if (!isAmple || watch.run !== null || !this.isWanted(watch)) return;
    const permit = await this.deps.claimPermit();
    if (permit === null) return;
    const run = await this.start(watch, permit);
    if (run === null) return permit.settle();
    await Promise.race([run.begun, timeout(BEGIN_MS)]);
  }

  /** A claimed stream: it is opened by this process, which keeps it. */
  async openClaimed(claim: RequestClaim, permit: PagePermit): Promise<void> {
    const runId = parseStreamMember(claim.member);
    const [stored] = await this.deps.watches.getMany([{ source: this.deps.source, runId }]);
    const watch = stored?.watch;
    const run = watch && this.isWanted(watch) ? await this.start(watch, permit) : null;
    if (run === null) permit.giveBack();
    await this.deps.schedule.release(claim, 'never');
  }

  /** What a poll's result is written with. @param askedAt when the poll began */
  async standing(runId: string, run: RunSnapshot, askedAt: number): Promise<Standing> {
    const own = this.open.get(runId);
    if (own !== undefined) {
      own.closeGap(askedAt);
      const isStreamed = own.isComplete() && isEarned(this.trust, { run, runId });
      return { isStreamed, nodes: own.nodes, isHinted: own.hints.pending !== null };
    }
    if (this.held <= this.open.size) return UNSTREAMED;
    const held = await this.deps.store.held(this.deps.source, runId);
    if (held === null) return UNSTREAMED;
    return { isStreamed: held.isRelied, nodes: held.nodes, isHinted: false };
  }

  /** Counts by what a transition became known first. */
  async countKnown(before: string, after: string, by: string): Promise<void> {
    const kind = transitionKind(before, after);
    if (kind === null) return;
    this.deps.onKnown(kind, by);
    await this.deps.store.countKnown(this.deps.source, kind, by);
  }

  /** A poll has read a run: its stream is judged, or one is asked for. */
  noticed(watch: Watch): void {
    const run = this.open.get(watch.runId);
    if (run !== undefined) this.read(run, watch);
    else this.offer(watch);
  }

  /** Runs whose reads are left to streams, of all processes. */
  async reliedOn(): Promise<ReadonlySet<string>> {
    const relied = new Set<string>();
    if (this.deps.most === 0) return relied;
    for (const [runId, { isRelied }] of await this.deps.store.all(this.deps.source)) {
      if (isRelied) relied.add(runId);
    }
    // Where many runs end at once, lists may show it before all hints are read.
    for (const { runId, hints } of this.open.values()) if (hints.pending) relied.delete(runId);
    return relied;
  }

  /** Keeps up with other processes and the store, and opens what may be opened. */
  async tend(): Promise<void> {
    const { deps } = this;
    if (deps.most === 0 || (deps.active() === 0 && this.open.size === 0)) return;
    [this.held, this.capacity] = await Promise.all([
      deps.store.count(deps.source),
      deps.store.capacity(deps.source),
    ]);
    const isFull = this.tended % TRUST_EVERY === 0;
    this.tended += 1;
    if (isFull) this.trust = await deps.store.trust(deps.source);
    await this.readWatches(isFull);
    if (isFull) for (const run of this.open.values()) this.evaluate(run);
    for (const run of this.waiting) this.obey(run);
    if (isFull && this.held > this.open.size) await this.releaseStrays();
    await this.keepUp();
  }

  /** Hints that wait call for lists; streams that go on while more are wanted, for more of them. */
  private async keepUp(): Promise<void> {
    if (await this.isBehind()) return this.deps.schedule.expedite([PLAN_MEMBER]);
    const isLive = [...this.open.values()].some(({ liveAt }) => liveAt !== null);
    if (this.offered.size > 0 && isLive) this.learn({ is: 'live' });
    await this.pump();
  }

  /** Reads what a process streamed that is dead. */
  async takeOver(dead: string): Promise<void> {
    const { store, source, schedule } = this.deps;
    const all = await store.all(source);
    const lost = [...all].filter(([, { process }]) => process === dead).map(([runId]) => runId);
    await store.release(source, dead, lost);
    await schedule.expedite(lost);
  }

  async stop(): Promise<void> {
    this.isStopped = true;
    for (const run of this.open.values()) run.close();
    await Promise.all(this.following);
  }

  /** How streams stand, over all processes. */
  async figures(): Promise<StreamFigures> {
    const { most, now, store, source } = this.deps;
    const [open, capacity, trust, known] = await Promise.all([
      store.count(source),
      store.capacity(source),
      store.trust(source),
      store.counts(source),
    ]);
    const hasShown = Object.keys(trust.source).length > 0;
    return {
      open,
      wanted: open + this.offered.size,
      allowed: allowedStreams(capacity, { most, now: now() }),
      refusedUntil: capacity.refusedUntil > now() ? capacity.refusedUntil : null,
      doubted: hasShown ? doubtedKinds(trust, null) : null,
      known,
    };
  }

  private offer(watch: Watch): void {
    const { runId } = watch;
    if (!this.isWanted(watch)) return void this.offered.delete(runId);
    this.offered.set(runId, watch);
    this.pumping ??= this.pump()
      .catch(this.deps.onError)
      .finally(() => (this.pumping = null));
  }

  /** Whether a stream of a run is worth its request, and may be had. */
  private isWanted(watch: Watch): boolean {
    const { most, now } = this.deps;
    if (this.isStopped || most === 0 || now() < this.restsUntil) return false;
    if (!mayStream(watch) || this.open.has(watch.runId)) return false;
    return this.isWorth(watch) && allowedStreams(this.capacity, { most, now: now() }) > 0;
  }

  private isWorth(watch: Watch): boolean {
    const isLasting = isLastingFor(watch.cadence.intervalMs, this.capacity);
    return isHopeful(this.trust, watch) && (isLasting || isSample(watch.runId));
  }

  /** Enters streams to open into the schedule: no more than may be open, and than permits allow. */
  private async pump(): Promise<void> {
    const { deps, offered } = this;
    if (offered.size === 0 || this.isStopped || (await this.isBehind())) return;
    const allowed = allowedStreams(this.capacity, { most: deps.most, now: deps.now() });
    const entered = await deps.schedule.countStreams();
    const perSecond = Math.max(1, deps.requestsPerMs * 1_000);
    const room = Math.floor(Math.min(allowed - this.held, perSecond) - entered);
    if (room <= 0) return;
    const best = [...offered.values()].toSorted((a, b) => streamRank(a) - streamRank(b));
    const members = best.slice(0, room).map(({ runId }) => {
      offered.delete(runId);
      return { member: streamMember(runId), withinMs: 0 };
    });
    await deps.schedule.enterFeed('stream', members);
  }

  /** While hints wait to be read, every request is worth more than another stream. */
  private async isBehind(): Promise<boolean> {
    return (await this.deps.schedule.countPrompt()) > this.deps.requestsPerMs * BACKLOG_MS;
  }

  private async start(watch: Watch, permit: Permit): Promise<FollowedRun | null> {
    const { deps } = this;
    const { source, store, process } = deps;
    const { runId } = watch;
    const allowed = allowedStreams(this.capacity, { most: deps.most, now: deps.now() });
    this.offered.delete(runId);
    const isTaken = await store.take(source, runId, process, allowed);
    if (!isTaken || this.isStopped || this.open.has(runId)) {
      if (isTaken) await store.release(source, process, [runId]);
      return null;
    }
    this.held += 1;
    const run = new FollowedRun(
      {
        ...deps,
        act: (of, step) => this.act(of, step),
        changed: (of) => this.evaluate(of),
        learn: (outcome) => this.learn(outcome),
        ended: (of, end) => this.ended(of, end),
        isWorth: ({ cadence }) =>
          !this.isStopped && isLastingFor(cadence.intervalMs, this.capacity),
      },
      watch,
    );
    this.open.set(runId, run);
    const following = this.follow(run, permit).catch(deps.onError);
    this.following.add(following);
    void following.finally(() => this.following.delete(following));
    return run;
  }

  /** Whatever becomes of its streams, the run is given back, and read if it was left to them. */
  private async follow(run: FollowedRun, permit: Permit): Promise<void> {
    const { store, source, process, schedule, onError } = this.deps;
    try {
      await run.follow(permit);
      await run.judgedIn(JUDGED_MS);
    } catch (error) {
      onError(error);
    }
    this.open.delete(run.runId);
    this.waiting.delete(run);
    this.held -= 1;
    if (run.hints.unclear !== null) this.act(run, judgedLate(run.hints, Infinity));
    await store.release(source, process, [run.runId]);
    if (run.isRelied && !run.isOver()) await schedule.expedite([run.runId]);
  }

  private read(run: FollowedRun, watch: Watch): void {
    if (watch.run === null) run.watch = watch;
    else run.read(watch, watch.run, watch.runAskedAt ?? 0);
    this.evaluate(run);
    this.closeIfOver(run);
  }

  private closeIfOver(run: FollowedRun): void {
    if (run.isOver() && run.hints.unclear === null) run.close();
  }

  /** Other processes read runs, too, and watches can be cancelled. */
  private async readWatches(isFull: boolean): Promise<void> {
    const { now, watches } = this.deps;
    const runs = [...this.open.values()].filter(({ hints }) => isFull || hints.pending !== null);
    const stored = await watches.getMany(runs.map(({ watch }) => watch));
    for (const [at, run] of runs.entries()) {
      const watch = stored[at]?.watch;
      if (watch === undefined) run.close();
      else if ((watch.runAskedAt ?? 0) > (run.watch.runAskedAt ?? 0)) this.read(run, watch);
      else if (watch.state !== 'active') run.close();
    }
    for (const run of this.open.values()) {
      this.act(run, judgedLate(run.hints, now()));
      this.closeIfOver(run);
    }
  }

  /** Runs that this process is said to stream, as before a fail-over, and does not. */
  private async releaseStrays(): Promise<void> {
    const { store, source, process, schedule } = this.deps;
    const all = await store.all(source);
    const strays = [...all].filter(([id, held]) => held.process === process && !this.open.has(id));
    const runIds = strays.map(([runId]) => runId);
    await store.release(source, process, runIds);
    await schedule.expedite(runIds);
  }

  private act(run: FollowedRun, { hints, readInMs, told, judged }: HintStep): void {
    run.hints = hints;
    if (told !== null) this.count(run, told).catch(this.deps.onError);
    if (judged !== null) this.judged(run, judged === 'confirmed');
    if (hints.pending === null) this.waiting.delete(run);
    if (readInMs === 0) this.obey(run);
    else if (readInMs !== null) setTimeout(() => this.obey(run), readInMs).unref();
  }

  private judged(run: FollowedRun, isTold: boolean): void {
    if (isTold) this.allowance.giveBack();
    else this.deps.onWrong(run.watch);
    this.count(run, { kind: 'hint', isTold }).catch(this.deps.onError);
  }

  private async count(
    { watch }: FollowedRun,
    { kind, isTold }: { kind: RememberedKind; isTold: boolean },
  ): Promise<void> {
    const workflowId = watch.run?.workflow_id;
    if (!workflowId) return;
    await this.deps.store.addTold(this.deps.source, { workflowId, kind, isTold });
  }

  /** Expedites the read that confirms a hint, as far as hints may. */
  private obey(run: FollowedRun): void {
    if (run.hints.pending === null || this.isStopped) return;
    const { deps, waiting } = this;
    if (!this.allowance.take(deps.now())) {
      waiting.add(run);
      return;
    }
    waiting.delete(run);
    this.expedite(run).catch(deps.onError);
  }

  private async expedite(run: FollowedRun): Promise<void> {
    if (this.held > 0 && run.nodes !== null) await this.note(run);
    await this.deps.schedule.expedite([run.runId]);
  }

  private note({ runId, isRelied, nodes }: FollowedRun): Promise<void> {
    const { store, source, process } = this.deps;
    return store.note(source, runId, { process, isRelied, nodes });
  }

  /** Leaves reads to a stream, or takes them back, by what is known of it. */
  private evaluate(run: FollowedRun): void {
    const isRelied = run.isComplete() && isEarned(this.trust, run.watch);
    if (isRelied === run.isRelied) return;
    run.isRelied = isRelied;
    this.moveRead(run).catch(this.deps.onError);
  }

  private async moveRead(run: FollowedRun): Promise<void> {
    await this.note(run);
    if (run.isOver() || run.hints.pending !== null) return;
    await this.deps.schedule.moveRead(run.watch, run.isRelied);
  }

  private learn(outcome: StreamOutcome): void {
    const { now, onError } = this.deps;
    if (outcome.is === 'live') {
      if (now() - this.learnedAt < LEARN_EVERY_MS && this.capacity.refused.length === 0) return;
      this.learnedAt = now();
    }
    this.changeCapacity(outcome).catch(onError);
  }

  private async changeCapacity(outcome: StreamOutcome): Promise<void> {
    const { store, source, now, onRefused } = this.deps;
    const at = now();
    let wasRefused = false;
    this.capacity = await store.changeCapacity(source, (one) => {
      wasRefused = one.refusedUntil > 0;
      return capacityAfter(one, outcome, at);
    });
    const { refusedUntil } = this.capacity;
    if (refusedUntil > 0 && !wasRefused) onRefused(refusedUntil);
  }

  private async ended({ watch }: FollowedRun, end: StreamEnd): Promise<void> {
    const { now, pause, onEnd } = this.deps;
    onEnd(watch, end);
    const { runId } = watch;
    if (end.kind === 'refused') await this.changeCapacity({ is: 'refused', runId });
    if (end.kind === 'failed' || end.kind === 'silent') {
      await this.changeCapacity({ is: 'failed', runId });
    }
    if (end.kind !== 'throttled') return;
    await this.changeCapacity({ is: 'throttled' });
    const { retryAfterMs, status } = end;
    const pausedMs = grantedPauseMs(retryAfterMs);
    // Else streams that are not needed would keep the source paused for polls.
    this.restsUntil = now() + pausedMs + Math.max(PAUSED_REST_MS, pausedMs);
    await pause({ retryAfterMs, message: pauseMessage(status, retryAfterMs) });
  }
}

async function timeout(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms).unref());
}
