import { cannotTell, judge, type RunView, type Verdict } from './wait-verdict.ts';

/** What one read of a run shows. */
export interface RunReading {
  view: RunView;
  /** It is too old to say that the run waits for a human. */
  isStale: boolean;
  /** Trouble that is not worth to be waited out. */
  isHopeless: boolean;
}

/**
 * An account of one run: by the daemon's watch (`daemon-account.ts`), or by Noxus itself (`direct-account.ts`). Its
 * methods throw on errors that concern every run, such as a token that is not known, and when the wait is aborted.
 */
export interface RunAccount {
  /** Reads the run; a verdict where no later read could change it. */
  read(): Promise<RunReading | Verdict>;
  /** Resolves when the next read is due. */
  untilDue(): Promise<void>;
  close(): void;
}

/** Opens accounts of runs; all that they do ends with the signal that they were made with. */
export interface RunAccounts {
  open(runId: string): RunAccount;
  close(): void;
}

/** Follows runs to their verdicts. */
export class WaitObserver {
  constructor(
    private readonly accounts: RunAccounts,
    private readonly throughFeedback: boolean,
  ) {}

  /**
   * Follows a run until there is a verdict.
   * @param report called after every read of the run
   */
  async settle(runId: string, report: (view: RunView) => void): Promise<Verdict> {
    const account = this.accounts.open(runId);
    try {
      for (;;) {
        const reading = await account.read();
        if ('kind' in reading) return reading;
        const { view, isStale, isHopeless } = reading;
        report(view);
        const verdict = judge(view, { throughFeedback: this.throughFeedback || isStale });
        if (verdict !== null) return verdict;
        if (isHopeless && view.trouble !== null) return cannotTell(view.trouble);
        await account.untilDue();
      }
    } finally {
      account.close();
    }
  }

  close(): void {
    this.accounts.close();
  }
}
