import type { Random } from '../core/backoff.ts';
import {
  UNSTREAMED,
  type EventStreams,
  type StreamEnd,
  type StreamState,
} from '../core/feed/run-stream.ts';
import { PLAN_MEMBER, parseStreamMember } from '../core/feed/page-name.ts';
import { judgedLate, transitionKind, type TransitionKind } from '../core/feed/stream-hint.ts';
import {
  doubtedKinds,
  isEarned,
  isHopeful,
  NO_TRUST,
  streamRank,
  type RememberedKind,
  type StreamTrust,
} from '../core/feed/stream-trust.ts';
import type { EndpointFilter } from '../core/delivery/delivery.ts';
import type { RunNodes } from '../core/run/nodes.ts';
import type { RunSnapshot } from '../core/run/snapshot.ts';
import type { AskedRequest } from '../core/source/throttle.ts';
import type { StoredWatch, Watch, WatchKey } from '../core/watch/watch.ts';
import type { SeenWatch } from '../core/cadence/cadence.ts';
import type { RequestClaim } from '../poll/schedule.ts';
import type { ClaimedPermit, Permit } from '../poll/source-limiter.ts';
import { FollowedRun } from './followed-run.ts';
import type { StreamFigures, StreamSchedule, StreamStore, StreamSurvey } from './ports.ts';
import { StreamHolders, SURVEY_MS } from './stream-holders.ts';
import { StreamOpenings, type StreamOffer } from './stream-openings.ts';
import { Backstops, HintReads } from './stream-reads.ts';

/** How long a first read waits for the stream of its run, ms. */
const BEGIN_MS = 1_000;

/** Trust, and the watches of streamed runs, are read anew at every so many calls of `tend`. */
const TRUST_EVERY = 5;

/** So many hints at once are more than confirming reads can follow: lists may show them sooner. */
const BACKLOG_MS = 1_000;

/** A run whose stream has ended with a hint is kept in mind until that is read, for so long, ms. */
const JUDGED_MS = 30_000;

export interface StreamFeedDependencies {
  source: string;
  /** Names this process. */
  process: string;
  /** Most streams of the source, over all processes; 0 for none. */
  most: number;
  store: StreamStore;
  streams: Pick<EventStreams, 'follow' | 'useApiKey'>;
  nodeNames: { named(nodes: RunNodes, workflowId: string | null): RunNodes; tend(): Promise<void> };
  watches: { getMany(keys: WatchKey[]): Promise<(StoredWatch | null)[]> };
  schedule: StreamSchedule;
  claimPermit: () => Promise<Permit | null>;
  requestsPerMs: () => number;
  /** The longest time between two reads of a run that is left to its stream, ms. */
  backstopMs: () => number;
  /** When a run must be read at the latest although nothing seems to change, ms since the epoch. */
  latestReadAt: (watch: SeenWatch) => number;
  /** Active watches of the source. */
  active: () => number;
  wants: EndpointFilter;
  /** A request that is sent now. */
  asks: () => AskedRequest;
  /** The source asks for a pause by `Retry-After`, in answer to a request. */
  pause: (wish: PauseWish, asked: AskedRequest) => Promise<void>;
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

interface PauseWish {
  retryAfterMs: number;
  message: string;
}

const NO_STREAMS: StreamSurvey = { isStreamed: () => false, isRelied: () => false };

/**
 * Event streams of the runs of one source. What an event says is a hint: it expedites a read, and
 * a stream that has earned it stands in for the reads of the cadence. The store keeps which process
 * streams which run, how many streams there may be, and how far they are believed.
 */
export class StreamFeed {
  private readonly open = new Map<string, FollowedRun>();
  private readonly following = new Set<Promise<void>>();
  private readonly openings: StreamOpenings;
  private readonly hintReads: HintReads;
  private readonly backstops: Backstops;
  private readonly holders: StreamHolders;
  private trust: StreamTrust = NO_TRUST;
  private tended = 0;
  private isStopped = false;

  constructor(private readonly deps: StreamFeedDependencies) {
    this.openings = new StreamOpenings({
      ...deps,
      trust: () => this.trust,
      isOpen: (runId) => this.open.has(runId),
      hintsWaitMs: () => this.hintReads.waitMs(),
    });
    this.hintReads = new HintReads({
      ...deps,
      open: this.open,
      expedite: (run) => this.expedite(run),
      remember: (run, kind, isReported) => this.remember(run, kind, isReported),
      onWrong: (run) => this.wrong(run),
    });
    this.backstops = new Backstops({
      ...deps,
      isOpen: (run) => this.open.get(run.runId) === run,
    });
    this.holders = new StreamHolders({ ...deps, open: this.open });
  }

  /** Streams that are opened from now on send another API key. */
  useApiKey(apiKey: string): void {
    this.deps.streams.useApiKey(apiKey);
  }

  /** Opens a stream before a run's first read, which then closes the gap, where one is likely. */
  async beforeFirst(watch: Watch, used: { count: number; limit: number }): Promise<void> {
    if (!this.openings.isWorthFirst(watch, used)) return;
    const permit = await this.deps.claimPermit();
    if (permit === null) return;
    const run = await this.start(watch, permit);
    if (run === null) return permit.settle();
    await Promise.race([run.begun, timeout(BEGIN_MS)]);
  }

  /** A claimed stream: it is opened by this process, which keeps it. */
  async openClaimed(claim: RequestClaim, permit: ClaimedPermit): Promise<void> {
    const runId = parseStreamMember(claim.member);
    const [stored] = await this.deps.watches.getMany([{ source: this.deps.source, runId }]);
    const watch = stored?.watch;
    const isDue = watch !== undefined && this.openings.isDue(watch);
    const run = isDue ? await this.start(watch, permit) : null;
    if (run === null) permit.giveBack();
    await this.deps.schedule.release(claim, 'never');
  }

  /** What a poll's result is written with. @param askedAt when the poll began */
  async stateOf(runId: string, run: RunSnapshot, askedAt: number): Promise<StreamState> {
    const own = this.open.get(runId);
    if (own !== undefined) {
      own.closeGap(askedAt);
      const isStreamed = own.isComplete() && isEarned(this.trust, { run, runId });
      // If the stream breaks before the result is written, the next read is moved back.
      if (isStreamed) own.isLeft = true;
      return {
        isStreamed,
        nodes: this.named(own.nodes, run),
        isHinted: own.hints.pending !== null,
      };
    }
    if (this.openings.held <= this.open.size) return UNSTREAMED;
    const held = await this.deps.store.held(this.deps.source, runId);
    if (held === null) return UNSTREAMED;
    return { ...UNSTREAMED, isStreamed: held.isRelied, nodes: this.named(held.nodes, run) };
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
    else this.openings.offer(watch);
  }

  /** What a stream of the run is to {@link offerAll}; null where none is wanted. */
  offerOf(watch: Watch): StreamOffer | null {
    return this.openings.offerOf(watch);
  }

  /** Runs without a stream, of which the list feed has just made a plan. */
  offerAll(offers: readonly StreamOffer[]): void {
    this.openings.offerAll(offers);
  }

  /** Which runs have streams, of all processes, as a moment ago. */
  surveyed(): Promise<StreamSurvey> {
    return this.deps.most === 0 ? Promise.resolve(NO_STREAMS) : this.holders.surveyed();
  }

  /** Keeps up with other processes and the store, and opens what may be opened. */
  async tend(): Promise<void> {
    const { deps } = this;
    if (deps.most === 0 || (deps.active() === 0 && this.open.size === 0)) return;
    await this.openings.refresh();
    const isFull = this.tended % TRUST_EVERY === 0;
    this.tended += 1;
    if (isFull) this.trust = await deps.store.trust(deps.source);
    await this.readWatches(isFull);
    if (isFull) for (const run of this.open.values()) this.evaluate(run);
    await deps.nodeNames.tend();
    this.hintReads.goOn();
    if (isFull && this.openings.held + this.open.size > 0) await this.holders.compare();
    await this.keepUp();
  }

  /** Gives back what a process streamed that is dead, and reads it. */
  async takeOver(dead: string): Promise<void> {
    if (await this.holders.takeOver(dead)) await this.deps.schedule.expedite([PLAN_MEMBER]);
  }

  async stop(): Promise<void> {
    this.isStopped = true;
    this.openings.stop();
    this.hintReads.stop();
    const runs = [...this.open.values()].toSorted(byRank);
    try {
      await this.giveUp(runs);
    } finally {
      // Also where Redis is away: a stream that outlived its connection would find it closed.
      for (const run of runs) run.close();
      await Promise.all(this.following);
    }
  }

  /** Has others read these runs, in this order, for their streams are about to end. */
  private async giveUp(runs: readonly FollowedRun[]): Promise<void> {
    const { schedule } = this.deps;
    const hinted = runs.filter(({ hints }) => hints.pending !== null);
    await schedule.expedite(hinted.map(({ runId }) => runId));
    const left = runs.filter(({ isLeft }) => isLeft);
    await this.holders.giveBack(
      left.map(({ runId }) => runId),
      { reads: 'all' },
    );
    // Lists show their changes before all are read; until then surveys of other processes have them.
    const plan = { member: PLAN_MEMBER, withinMs: SURVEY_MS };
    if (left.length > 0) await schedule.enterFeed('plan', [plan]);
  }

  /** How streams stand, over all processes. */
  async figures(): Promise<StreamFigures> {
    const { store, source } = this.deps;
    const [open, limits, trust, known] = await Promise.all([
      store.count(source),
      this.openings.limits(),
      store.trust(source),
      store.counts(source),
    ]);
    const hasShown = Object.keys(trust.source).length > 0;
    return {
      open,
      wanted: open + this.openings.wanted,
      ...limits,
      doubted: hasShown ? doubtedKinds(trust, null) : null,
      known,
    };
  }

  /** Hints that wait call for lists; streams that go on while more are wanted, for more of them. */
  private async keepUp(): Promise<void> {
    const { schedule } = this.deps;
    await this.hintReads.count();
    if (this.hintReads.waitMs() > BACKLOG_MS) return schedule.expedite([PLAN_MEMBER]);
    this.openings.goOn([...this.open.values()].some(({ liveAt }) => liveAt !== null));
    await this.openings.pump();
  }

  private async start(watch: Watch, permit: Permit): Promise<FollowedRun | null> {
    const { deps, openings } = this;
    const { runId } = watch;
    const isTaken = await openings.take(runId);
    if (!isTaken) return null;
    if (this.isStopped || this.open.has(runId)) {
      openings.held -= 1;
      await this.holders.giveBack([runId], { reads: 'relied' });
      return null;
    }
    const run = new FollowedRun(
      {
        ...deps,
        act: (of, step) => this.hintReads.act(of, step),
        changed: (of) => this.evaluate(of),
        learn: (outcome) => openings.learn(outcome),
        ended: (of, end, asked) => this.ended(of, end, asked),
        isWorth: (of) => openings.isLasting(of),
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
    try {
      await run.follow(permit);
      await run.judgedIn(JUDGED_MS);
    } catch (error) {
      this.deps.onError(error);
    }
    this.open.delete(run.runId);
    this.hintReads.forget(run);
    this.openings.held -= 1;
    if (run.isSpent) this.openings.spend(run.runId);
    if (run.hints.unclear !== null) this.hintReads.act(run, judgedLate(run.hints, Infinity));
    await this.holders.giveBack([run.runId], { reads: run.isLeft ? 'all' : 'relied' });
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

  private named(nodes: RunNodes | null, run: RunSnapshot | null): RunNodes | null {
    return nodes === null ? null : this.deps.nodeNames.named(nodes, run?.workflow_id ?? null);
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
      else run.watch = watch;
    }
    for (const run of this.open.values()) {
      this.hintReads.act(run, judgedLate(run.hints, now()));
      this.closeIfOver(run);
    }
  }

  private wrong(run: FollowedRun): void {
    this.deps.onWrong(run.watch);
    run.contradicted();
  }

  private async remember(
    { watch }: FollowedRun,
    kind: RememberedKind,
    isReported: boolean,
  ): Promise<void> {
    const workflowId = watch.run?.workflow_id;
    if (!workflowId) return;
    await this.deps.store.addReport(this.deps.source, { workflowId, kind, isReported });
  }

  private async expedite(run: FollowedRun): Promise<void> {
    if (run.nodes !== null) await this.backstops.note(run);
    await this.deps.schedule.expedite([run.runId]);
  }

  /** Leaves reads to a stream, or takes them back, by what is known of it; closes one of no use. */
  private evaluate(run: FollowedRun): void {
    const { watch, runId } = run;
    // So that names are known by the time that the run ends.
    this.named(run.nodes, watch.run);
    if (!isHopeful(this.trust, watch)) return run.close();
    const isRelied = run.isComplete() && isEarned(this.trust, { run: watch.run, runId });
    this.backstops.leave(run, isRelied);
  }

  private async ended({ watch }: FollowedRun, end: StreamEnd, asked: AskedRequest): Promise<void> {
    this.deps.onEnd(watch, end);
    await this.openings.ended(watch.runId, end, asked);
  }
}

function byRank(a: FollowedRun, b: FollowedRun): number {
  return streamRank(a.watch) - streamRank(b.watch);
}

async function timeout(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms).unref());
}
