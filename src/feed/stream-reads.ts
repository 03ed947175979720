import { jitterAround } from '../core/backoff.ts';
import type { ReadMove } from '../core/feed/run-stream.ts';
import { HintAllowance, type HintStep } from '../core/feed/stream-hint.ts';
import type { RememberedKind } from '../core/feed/stream-trust.ts';
import type { FollowedRun } from './followed-run.ts';
import type { StreamFeedDependencies } from './stream-feed.ts';

interface HintReadsDependencies extends Pick<
  StreamFeedDependencies,
  'schedule' | 'requestsPerMs' | 'onError' | 'now'
> {
  /** Runs that this process streams. */
  open: ReadonlyMap<string, FollowedRun>;
  /** Makes the read of a run due now. */
  expedite: (run: FollowedRun) => Promise<void>;
  /** Remembers whether a stream reported a transition, or whether its hint was confirmed. */
  remember: (run: FollowedRun, kind: RememberedKind, isReported: boolean) => Promise<void>;
  onWrong: (run: FollowedRun) => void;
}

/** The reads that confirm the hints of streams: as many as hints may cause while some are wrong. */
export class HintReads {
  private readonly allowance: HintAllowance;
  /** Runs with hints that no read may confirm yet. */
  private readonly waiting = new Set<FollowedRun>();
  /** Reads that something asked for and that were due at the last count. */
  private prompt = 0;
  private isStopped = false;

  constructor(private readonly deps: HintReadsDependencies) {
    this.allowance = new HintAllowance(deps.requestsPerMs, deps.now());
  }

  /** Does what an event or a read calls for. */
  act(run: FollowedRun, { hints, readInMs, report, judged }: HintStep): void {
    const { remember, onError } = this.deps;
    run.hints = hints;
    if (report !== null) remember(run, report.kind, report.isReported).catch(onError);
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
    this.prompt = this.hasHints() ? await this.deps.schedule.countPrompt() : 0;
  }

  /** How long hints wait to be read, by the last count, ms. */
  waitMs(): number {
    return this.prompt > 0 && this.hasHints() ? this.prompt / this.deps.requestsPerMs() : 0;
  }

  stop(): void {
    this.isStopped = true;
  }

  private hasHints(): boolean {
    for (const { hints } of this.deps.open.values()) if (hints.pending !== null) return true;
    return false;
  }

  private judged(run: FollowedRun, isConfirmed: boolean): void {
    if (isConfirmed) this.allowance.giveBack();
    else this.deps.onWrong(run);
    this.deps.remember(run, 'hint', isConfirmed).catch(this.deps.onError);
  }

  private obey(run: FollowedRun): void {
    if (run.hints.pending === null || this.isStopped) return;
    if (!this.allowance.take(this.deps.now())) {
      this.waiting.add(run);
      return;
    }
    this.waiting.delete(run);
    this.deps.expedite(run).catch(this.deps.onError);
  }
}

/** Spread of reads that are moved, as a share. */
const SPREAD = 0.1;

interface BackstopsDependencies extends Pick<
  StreamFeedDependencies,
  | 'source'
  | 'process'
  | 'store'
  | 'watches'
  | 'schedule'
  | 'backstopMs'
  | 'latestReadAt'
  | 'onError'
  | 'now'
  | 'random'
> {
  /** Whether this process still streams the run. */
  isOpen: (run: FollowedRun) => boolean;
}

/** The reads of runs that are left to their streams: backstops alone remain of these. */
export class Backstops {
  /** Runs of which something is being written. */
  private readonly busy = new Set<FollowedRun>();

  constructor(private readonly deps: BackstopsDependencies) {}

  /** Leaves the reads of a run to its stream, or takes them back. */
  leave(run: FollowedRun, isRelied: boolean): void {
    run.isRelied = isRelied;
    if (!isSettled(run)) this.settle(run).catch(this.deps.onError);
  }

  /** Notes for other processes where a run stands. One that was taken over meanwhile is let go. */
  async note(run: FollowedRun, move: ReadMove | null = null): Promise<void> {
    const { store, source, process } = this.deps;
    const { runId, isRelied, nodes } = run;
    const isHeld = await store.note(source, runId, { held: { process, isRelied, nodes }, move });
    if (!isHeld) run.close();
  }

  /** Writes one at a time, so that the store always ends with the latest. */
  private async settle(run: FollowedRun): Promise<void> {
    if (this.busy.has(run)) return;
    this.busy.add(run);
    try {
      while (!isSettled(run) && this.deps.isOpen(run)) {
        await (run.isRelied ? this.postpone(run) : this.takeBack(run));
      }
    } finally {
      this.busy.delete(run);
    }
  }

  private async postpone(run: FollowedRun): Promise<void> {
    const { watches, now, backstopMs, latestReadAt, random } = this.deps;
    const [stored] = await watches.getMany([run.watch]);
    if (!run.isRelied) return;
    run.isLeft = true;
    const seen = stored?.watch.run ? { ...stored.watch, run: stored.watch.run } : null;
    if (!stored || seen === null || run.hints.pending !== null) {
      await this.note(run);
    } else {
      const { timeoutAt, lastPolledAt, maxDelayMs } = seen;
      const until = Math.min(
        now() + jitterAround(backstopMs(), SPREAD, random),
        timeoutAt,
        latestReadAt(seen),
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
      const inMs = run.watch.cadence.intervalMs * this.deps.random();
      await this.note(run, { to: 'earlier', inMs });
    } catch (error) {
      run.isLeft = true;
      throw error;
    }
    run.isNoted = false;
    await this.deps.schedule.entered(1);
  }
}

function isSettled({ isRelied, isNoted, isLeft }: FollowedRun): boolean {
  return isRelied ? isNoted : !isNoted && !isLeft;
}
