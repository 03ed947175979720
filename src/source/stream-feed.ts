import { jitterAround } from '../core/backoff.ts';
import { latestReadAt } from '../core/feed/member.ts';
import { PLAN_MEMBER, parseStreamMember } from '../core/feed/page-name.ts';
import { backstopMs } from '../core/feed/plan.ts';
import {
  UNSTREAMED,
  type StreamEnd,
  type StreamListener,
  type StreamState,
  type StreamFigures,
} from '../core/feed/run-stream.ts';
import type { ReadMove, StreamStore } from '../redis/stores/stream-store.ts';
import {
  HintAllowance,
  judgedLate,
  transitionKind,
  wantsStart,
  type HintStep,
  type TransitionKind,
} from '../core/feed/stream-hint.ts';
import {
  doubtedKinds,
  hasReports,
  hasShown,
  isEarned,
  isHopeful,
  NO_TRUST,
  streamRank,
  type RememberedKind,
  type StreamTrust,
} from '../core/feed/stream-trust.ts';
import type { RunNodes } from '../core/run/nodes.ts';
import type { RunSnapshot } from '../core/run/snapshot.ts';
import type { Permit } from '../core/source/rate-limit.ts';
import type { AskedRequest } from '../core/source/throttle.ts';
import type { PollReport } from '../core/watch/poll-report.ts';
import type { WorkflowKey } from '../core/cadence/phase.ts';
import type { Watch } from '../core/watch/watch.ts';
import { faultLog } from '../fault-log.ts';
import type { WatchStore } from '../redis/stores/watch-store.ts';
import { FollowedRun, type Follower, type StreamRound } from './followed-run.ts';
import type { ClaimedPermit } from './limiter.ts';
import type { RequestClaim } from './schedule.ts';
import type { Source } from './source.ts';
import { StreamOpenings, type StreamOffer } from './stream-openings.ts';

/** How long a first read waits for the stream of its run, ms. */
const BEGIN_MS = 1_000;

/** Trust, and the watches of streamed runs, are read anew at every so many calls of `tend`. */
const TRUST_EVERY = 5;

/** So many hints at once are more than confirming reads can follow: lists may show them sooner. */
const BACKLOG_MS = 1_000;

/** How long a run is kept whose stream has ended with a hint that is not read yet, ms. */
const JUDGED_MS = 30_000;

/** How long one survey of all streams holds, ms. */
const SURVEY_MS = 2_000;

/** Spread of reads that are moved, as a share. */
const SPREAD = 0.1;

/** Which runs have streams, of all processes. */
export interface StreamSurvey {
  isStreamed(runId: string): boolean;
  /** Whether the reads of a run are left to its stream. */
  isRelied(runId: string): boolean;
}

const NO_STREAMS: StreamSurvey = { isStreamed: () => false, isRelied: () => false };

/**
 * Event streams of the runs of one source. What an event says is a hint: it expedites a read, and
 * a stream that has earned it stands in for the reads of the cadence. The store keeps which process
 * streams which run, how many streams there may be, and how far they are believed.
 */
export class StreamFeed implements Follower {
  /** Runs that this process streams. */
  readonly open = new Map<string, FollowedRun>();
  readonly openings: StreamOpenings;
  readonly hintReads: HintReads;
  readonly backstops: Backstops;
  readonly holders: StreamHolders;
  trust: StreamTrust = NO_TRUST;
  readonly onError: (error: unknown) => void;
  private readonly following = new Set<Promise<void>>();
  private tended = 0;
  private isStopped = false;

  constructor(readonly source: Source) {
    this.onError = faultLog(source.process.log, 'streams', { source: source.name });
    this.openings = new StreamOpenings(this);
    this.hintReads = new HintReads(this);
    this.backstops = new Backstops(this);
    this.holders = new StreamHolders(this);
  }

  /** The most streams of the source, over all processes; 0 for none. */
  get most(): number {
    const { traits, process } = this.source;
    const { hints, hint_streams: most } = process.config.polling;
    return hints === 'off' || !traits.streams ? 0 : most;
  }

  /** Opens a stream before a run's first read, which then closes the gap, where one is likely. */
  async beforeFirst(watch: Watch, used: { count: number; limit: number }): Promise<void> {
    if (!this.openings.isWorthFirst(watch, used)) return;
    const permit = await this.source.limiter.claim();
    if (permit === null) return;
    const run = await this.start(watch, permit);
    if (run === null) return permit.settle();
    await Promise.race([run.begun, timeout(BEGIN_MS)]);
  }

  /** A claimed stream: it is opened by this process, which keeps it. */
  async openClaimed(claim: RequestClaim, permit: ClaimedPermit): Promise<void> {
    const runId = parseStreamMember(claim.member);
    const [stored] = await this.watches.getMany([{ source: this.source.name, runId }]);
    const watch = stored?.watch;
    const isDue = watch !== undefined && this.openings.isDue(watch);
    const run = isDue ? await this.start(watch, permit) : null;
    if (run === null) permit.giveBack();
    await this.source.schedule.release(claim, 'never');
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
        nodes: await this.named(own.nodes, run),
        isHinted: own.hints.pending !== null,
      };
    }
    if (this.openings.held <= this.open.size) return UNSTREAMED;
    const held = await this.store.held(this.source.name, runId);
    if (held === null) return UNSTREAMED;
    return { ...UNSTREAMED, isStreamed: held.isRelied, nodes: await this.named(held.nodes, run) };
  }

  /** Counts by what a transition became known first, and remembers that there was one. */
  private async countKnown(before: string, run: RunSnapshot, by: string): Promise<void> {
    const kind = transitionKind(before, run.status);
    if (kind === null) return;
    const { process, name } = this.source;
    process.metrics.known({ source: name, kind, by });
    await this.store.countKnown(name, kind, by);
    await this.show(run.workflow_id, kind);
  }

  /** Remembers that runs of a workflow do this: while no stream is believed to tell it, none stands in for reads. */
  private async show(workflowId: string | null, kind: TransitionKind): Promise<void> {
    if (this.most === 0 || workflowId === null || hasShown(this.trust, workflowId, kind)) return;
    await this.store.addReport(this.source.name, { workflowId, kind, isReported: null });
  }

  /** A poll has read a run: its stream is judged, or one is asked for. */
  private noticed(watch: Watch): void {
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
    return this.most === 0 ? Promise.resolve(NO_STREAMS) : this.holders.surveyed();
  }

  /** Keeps up with other processes and the store, and opens what may be opened. */
  async tend(): Promise<void> {
    const { name, limiter } = this.source;
    if (this.most === 0 || (limiter.active() === 0 && this.open.size === 0)) return;
    await this.openings.refresh();
    const isFull = this.tended % TRUST_EVERY === 0;
    this.tended += 1;
    if (isFull) this.trust = await this.store.trust(name);
    await this.readWatches(isFull);
    if (isFull) for (const run of this.open.values()) this.evaluate(run);
    this.hintReads.goOn();
    if (isFull && this.openings.held + this.open.size > 0) await this.holders.compare();
    await this.keepUp();
  }

  /** Gives back what a process streamed that is dead, and reads it. */
  async takeOver(dead: string): Promise<void> {
    if (await this.holders.takeOver(dead)) await this.source.schedule.expedite([PLAN_MEMBER]);
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
    const { schedule } = this.source;
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
    const { store } = this;
    const { name: source } = this.source;
    const [open, limits, trust, known] = await Promise.all([
      store.count(source),
      this.openings.limits(),
      store.trust(source),
      store.counts(source),
    ]);
    return {
      open,
      wanted: open + this.openings.wanted,
      ...limits,
      doubted: hasReports(trust.source) ? doubtedKinds(trust, null) : null,
      known,
    };
  }

  /** Hints that wait call for lists; streams that go on while more are wanted, for more of them. */
  private async keepUp(): Promise<void> {
    const { schedule } = this.source;
    await this.hintReads.count();
    if (this.hintReads.waitMs() > BACKLOG_MS) return schedule.expedite([PLAN_MEMBER]);
    this.openings.goOn([...this.open.values()].some(({ liveAt }) => liveAt !== null));
    await this.openings.pump();
  }

  private async start(watch: Watch, permit: Permit): Promise<FollowedRun | null> {
    const { openings } = this;
    const { runId } = watch;
    const isTaken = await openings.take(runId);
    if (!isTaken) return null;
    if (this.isStopped || this.open.has(runId)) {
      openings.held -= 1;
      await this.holders.giveBack([runId], { reads: 'relied' });
      return null;
    }
    const run = new FollowedRun(this, watch);
    this.open.set(runId, run);
    const following = this.follow(run, permit).catch(this.onError);
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
      this.onError(error);
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

  /** Where a run stands, with the names of its nodes: what any process has read is known from the first event on. */
  private async named(nodes: RunNodes | null, run: RunSnapshot): Promise<RunNodes | null> {
    const workflow = this.workflowOf(run);
    if (nodes === null || workflow === null) return nodes;
    const { nodeNames } = this.source.process;
    if (nodeNames.lacks(nodes, workflow)) await nodeNames.load(workflow);
    nodeNames.want(nodes, workflow);
    return nodeNames.named(nodes, workflow);
  }

  /** The workflow of a run; null where its source names no nodes. */
  private workflowOf(run: RunSnapshot | null): WorkflowKey | null {
    const { name: source, traits } = this.source;
    const workflowId = run?.workflow_id ?? null;
    return workflowId === null || !traits.names ? null : { source, workflowId };
  }

  /** Other processes read runs, too, and watches can be cancelled. */
  private async readWatches(isFull: boolean): Promise<void> {
    const { now } = this.source.process;
    const runs = [...this.open.values()].filter(({ hints }) => isFull || hints.pending !== null);
    const stored = await this.watches.getMany(runs.map(({ watch }) => watch));
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

  /** A read has contradicted a hint of its stream. */
  wrong(run: FollowedRun): void {
    const { process, name } = this.source;
    process.log.debug({ source: name, run_id: run.runId }, 'stream.contradicted');
    process.metrics.wrongHint(name);
    run.contradicted();
  }

  /** Remembers whether a stream reported a transition, or whether its hint was confirmed. */
  async remember({ watch }: FollowedRun, kind: RememberedKind, isReported: boolean): Promise<void> {
    const workflowId = watch.run?.workflow_id;
    if (!workflowId) return;
    await this.store.addReport(this.source.name, { workflowId, kind, isReported });
  }

  /** Makes the read of a run due now. */
  async expedite(run: FollowedRun): Promise<void> {
    if (run.nodes !== null) await this.backstops.note(run);
    await this.source.schedule.expedite([run.runId]);
  }

  /** Leaves reads to a stream, or takes them back, by what is known of it; closes one of no use. */
  evaluate(run: FollowedRun): void {
    const { watch, runId } = run;
    // So that names are known by the time that the run ends.
    const workflow = this.workflowOf(watch.run);
    if (run.nodes !== null && workflow !== null) {
      this.source.process.nodeNames.want(run.nodes, workflow);
    }
    if (!isHopeful(this.trust, watch)) return run.close();
    const isRelied = run.isComplete() && isEarned(this.trust, { run: watch.run, runId });
    this.backstops.leave(run, isRelied);
  }

  now(): number {
    return this.source.process.now();
  }

  random(): number {
    return this.source.process.random();
  }

  asks(): AskedRequest {
    return this.source.throttle.asks();
  }

  openStream(runId: string, listener: StreamListener): Promise<StreamEnd> {
    return this.source.reader.follow(runId, listener);
  }

  claimPermit(): Promise<Permit | null> {
    return this.source.limiter.claim();
  }

  isStartWanted({ watch }: FollowedRun): boolean {
    return wantsStart(watch, this.source.process.endpoints.wants);
  }

  opened(run: FollowedRun): void {
    this.openings.learn({ is: 'live' });
    this.evaluate(run);
  }

  act(run: FollowedRun, step: HintStep): void {
    this.hintReads.act(run, step);
  }

  /** Learns from the end of a stream how many there may be. */
  async ended(run: FollowedRun, { end, isBroken, asked }: StreamRound): Promise<boolean> {
    const { process, name } = this.source;
    const { openings } = this;
    const afterMs = process.now() - asked.at;
    openings.learn({ is: isBroken ? 'broken' : 'lasted', afterMs });
    // One on which nothing more comes is opened again as one that breaks.
    if (!isBroken || end.kind !== 'silent') {
      if (end.kind === 'unsent') process.hostShortages.note(end.error);
      process.log.debug({ source: name, run_id: run.runId, end: end.kind }, 'stream.ended');
      await openings.ended(run.runId, end, asked);
    }
    return openings.isLasting(run.watch);
  }

  /** A poll has read a run: streams follow it, and what its transition became known by is counted. */
  async polled({ watch, outcome, events, knownBy }: PollReport): Promise<void> {
    if (outcome === 'run') this.noticed(watch);
    const before = events.find(({ data }) => data.previous !== null)?.data.previous;
    if (!before || watch.run === null) return;
    await this.countKnown(before.status, watch.run, knownBy);
  }

  private get store(): StreamStore {
    return this.source.process.stores.streams;
  }

  private get watches(): WatchStore {
    return this.source.process.stores.watches;
  }
}

/** The reads that confirm the hints of streams: as many as hints may cause while some are wrong. */
class HintReads {
  private readonly allowance: HintAllowance;
  /** Runs with hints that no read may confirm yet. */
  private readonly waiting = new Set<FollowedRun>();
  /** Reads that something asked for and that were due at the last count. */
  private prompt = 0;
  private isStopped = false;

  constructor(private readonly feed: StreamFeed) {
    const { process, limiter } = feed.source;
    this.allowance = new HintAllowance(() => limiter.requestsPerMs, process.now());
  }

  /** Does what an event or a read calls for. */
  act(run: FollowedRun, { hints, readInMs, report, judged }: HintStep): void {
    run.hints = hints;
    if (report !== null) this.remember(run, report.kind, report.isReported);
    if (judged !== null) this.judged(run, judged === 'confirmed');
    if (hints.pending === null) this.waiting.delete(run);
    if (readInMs === 0) this.obey(run);
    else if (readInMs !== null) setTimeout(() => this.obey(run), readInMs).unref();
  }

  /** Makes the reads due that may be made by now. */
  goOn(): void {
    for (const run of this.waiting) this.obey(run);
  }

  forget(run: FollowedRun): void {
    this.waiting.delete(run);
  }

  /** Counts the reads that are due; without a hint, something else has asked for these. */
  async count(): Promise<void> {
    this.prompt = this.hasHints() ? await this.feed.source.schedule.countDue('prompt') : 0;
  }

  /** How long hints wait to be read, by the last count, ms. */
  waitMs(): number {
    const { limiter } = this.feed.source;
    return this.prompt > 0 && this.hasHints() ? this.prompt / limiter.requestsPerMs : 0;
  }

  stop(): void {
    this.isStopped = true;
  }

  private hasHints(): boolean {
    for (const { hints } of this.feed.open.values()) if (hints.pending !== null) return true;
    return false;
  }

  private judged(run: FollowedRun, isConfirmed: boolean): void {
    if (isConfirmed) this.allowance.giveBack();
    else this.feed.wrong(run);
    this.remember(run, 'hint', isConfirmed);
  }

  private remember(run: FollowedRun, kind: RememberedKind, isReported: boolean): void {
    this.feed.remember(run, kind, isReported).catch(this.feed.onError);
  }

  private obey(run: FollowedRun): void {
    if (run.hints.pending === null || this.isStopped) return;
    if (!this.allowance.take(this.feed.source.process.now())) {
      this.waiting.add(run);
      return;
    }
    this.waiting.delete(run);
    this.feed.expedite(run).catch(this.feed.onError);
  }
}

/** The reads of runs that are left to their streams: backstops alone remain of these. */
class Backstops {
  /** Runs of which something is being written. */
  private readonly busy = new Set<FollowedRun>();

  constructor(private readonly feed: StreamFeed) {}

  /** Leaves the reads of a run to its stream, or takes them back. */
  leave(run: FollowedRun, isRelied: boolean): void {
    run.isRelied = isRelied;
    if (!isSettled(run)) this.settle(run).catch(this.feed.onError);
  }

  /** Notes for other processes where a run stands. One that was taken over meanwhile is let go. */
  async note(run: FollowedRun, move: ReadMove | null = null): Promise<void> {
    const { process, name } = this.feed.source;
    const { runId, isRelied, nodes } = run;
    const held = { process: process.id, isRelied, nodes };
    const isHeld = await process.stores.streams.note(name, runId, { held, move });
    if (!isHeld) run.close();
  }

  /** Writes one at a time, so that the store always ends with the latest. */
  private async settle(run: FollowedRun): Promise<void> {
    if (this.busy.has(run)) return;
    this.busy.add(run);
    try {
      while (!isSettled(run) && this.feed.open.get(run.runId) === run) {
        await (run.isRelied ? this.postpone(run) : this.takeBack(run));
      }
    } finally {
      this.busy.delete(run);
    }
  }

  private async postpone(run: FollowedRun): Promise<void> {
    const { process, limiter, policy } = this.feed.source;
    const { now, random, statistics } = process;
    const [stored] = await process.stores.watches.getMany([run.watch]);
    if (!run.isRelied) return;
    run.isLeft = true;
    const seen = stored?.watch.run ? { ...stored.watch, run: stored.watch.run } : null;
    if (!stored || seen === null || run.hints.pending !== null) {
      await this.note(run);
    } else {
      const { timeoutAt, lastPolledAt, maxDelayMs } = seen;
      const backstop = backstopMs(limiter.active(), limiter.requestsPerMs);
      const until = Math.min(
        now() + jitterAround(backstop, SPREAD, random),
        timeoutAt,
        latestReadAt(seen, { policy, statistics: statistics.lookup }),
        (lastPolledAt ?? now()) + (maxDelayMs ?? Infinity),
      );
      await this.note(run, { to: 'later', inMs: until - now(), watch: stored });
    }
    run.isNoted = true;
  }

  /** A read that is under way, and was begun while the reads were left to the stream, is moved as well. */
  private async takeBack(run: FollowedRun): Promise<void> {
    run.isLeft = false;
    try {
      const inMs = run.watch.cadence.intervalMs * this.feed.source.process.random();
      await this.note(run, { to: 'earlier', inMs });
    } catch (error) {
      run.isLeft = true;
      throw error;
    }
    run.isNoted = false;
    await this.feed.source.schedule.entered(1);
  }
}

function isSettled({ isRelied, isNoted, isLeft }: FollowedRun): boolean {
  return isRelied ? isNoted : !isNoted && !isLeft;
}

/** Which process streams which run, as the store has it. */
class StreamHolders {
  /** Processes that held streams without a heartbeat at the last comparison: new ones have none yet. */
  private unknown = new Set<string>();
  private survey: { at: number; found: Promise<StreamSurvey> } | null = null;

  constructor(private readonly feed: StreamFeed) {}

  /** Which runs have streams, of all processes, as a moment ago. */
  surveyed(): Promise<StreamSurvey> {
    const { now } = this.feed.source.process;
    if (this.survey === null || now() - this.survey.at > SURVEY_MS) {
      const found = this.takeSurvey().catch((error: unknown) => {
        this.survey = null;
        throw error;
      });
      this.survey = { at: now(), found };
    }
    return this.survey.found;
  }

  /** Gives runs back, and reads them in this order: all, or those with reads left to streams. */
  async giveBack(
    runIds: readonly string[],
    { reads, holder = this.feed.source.process.id }: { reads: 'all' | 'relied'; holder?: string },
  ): Promise<void> {
    if (runIds.length === 0) return;
    const { process, name, schedule, limiter } = this.feed.source;
    const after = { reads, everyMs: 1 / limiter.requestsPerMs };
    const count = await process.stores.streams.release(name, { process: holder, runIds }, after);
    this.survey = null;
    await schedule.entered(count);
  }

  /** Gives back all that a dead process holds. @returns whether that was anything */
  async takeOver(dead: string): Promise<boolean> {
    const { process: own, name } = this.feed.source;
    const all = await own.stores.streams.all(name);
    const lost = [...all].filter(([, { process }]) => process === dead).map(([runId]) => runId);
    await this.giveBack(await this.ranked(lost), { reads: 'all', holder: dead });
    return lost.length > 0;
  }

  /**
   * Gives back runs that nothing streams: this process does not, as after a fail-over, or the process
   * that did is neither alive nor taken over. Lets go of those that this process was thought dead for.
   */
  async compare(): Promise<void> {
    const { open, source } = this.feed;
    const { id: process, stores } = source.process;
    const opened = [...open.keys()];
    const [all, alive] = await Promise.all([
      stores.streams.all(source.name),
      stores.streams.processes(),
    ]);
    for (const runId of opened) if (all.get(runId)?.process !== process) open.get(runId)?.close();
    const isStray = (runId: string, holder: string) =>
      holder === process ? !open.has(runId) : alive.size > 0 && !alive.has(holder);
    const strays = [...all].filter(([runId, held]) => isStray(runId, held.process));
    const holders = new Set(strays.map(([, held]) => held.process));
    const before = this.unknown;
    this.unknown = holders;
    for (const holder of holders) {
      if (holder !== process && !before.has(holder)) continue;
      const runIds = strays.filter(([, held]) => held.process === holder).map(([runId]) => runId);
      await this.giveBack(runIds, { reads: 'all', holder });
    }
  }

  private async takeSurvey(): Promise<StreamSurvey> {
    const { open, source } = this.feed;
    const held = await source.process.stores.streams.all(source.name);
    const isHinted = (runId: string) => (open.get(runId)?.hints.pending ?? null) !== null;
    return {
      isStreamed: (runId) => held.has(runId),
      // Where many runs end at once, lists may show it before all hints are read.
      isRelied: (runId) => held.get(runId)?.isRelied === true && !isHinted(runId),
    };
  }

  /** Runs in the order in which they should be read or streamed. */
  private async ranked(runIds: string[]): Promise<string[]> {
    const { process, name: source } = this.feed.source;
    const keys = runIds.map((runId) => ({ source, runId }));
    const stored = await process.stores.watches.getMany(keys);
    const ranks = new Map(runIds.map((id, at) => [id, rankOf(stored[at]?.watch)]));
    return runIds.toSorted((a, b) => (ranks.get(a) ?? 0) - (ranks.get(b) ?? 0));
  }
}

function rankOf(watch: Watch | undefined): number {
  return watch === undefined ? Infinity : streamRank(watch);
}

function byRank(a: FollowedRun, b: FollowedRun): number {
  return streamRank(a.watch) - streamRank(b.watch);
}

async function timeout(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms).unref());
}
