import { HintAllowance, type HintStep } from '../core/feed/stream-hint.ts';
import type { RememberedKind } from '../core/feed/stream-trust.ts';
import type { FollowedRun } from './followed-run.ts';

interface HintReadsDependencies {
  requestsPerMs: () => number;
  /** Makes the read of a run due now. */
  expedite: (run: FollowedRun) => Promise<void>;
  /** Remembers whether a stream reported a transition, or whether its hint was confirmed. */
  remember: (run: FollowedRun, kind: RememberedKind, isReported: boolean) => Promise<void>;
  onWrong: (run: FollowedRun) => void;
  onError: (error: unknown) => void;
  now: () => number;
}

/** The reads that confirm the hints of streams: as many as hints may cause while some are wrong. */
export class HintReads {
  private readonly allowance: HintAllowance;
  /** Runs with hints that no read may confirm yet. */
  private readonly waiting = new Set<FollowedRun>();
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

  stop(): void {
    this.isStopped = true;
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
