import type { CliContext } from '../context.ts';
import { paint } from '../render/paint.ts';
import { plain } from '../render/text.ts';
import { writeJson } from '../report.ts';
import { exitCodeOfVerdict, worstVerdict, type RunView, type Verdict } from './verdict.ts';
import { createWaitDisplay } from './display.ts';

/** Something that can tell what becomes of runs. */
export interface RunObserver {
  /**
   * Follows a run until there is a verdict. Throws on errors that concern every run, such as a token
   * that is not known, and when the signal that it was opened with aborts.
   * @param report hears of every look at the run
   */
  settle(runId: string, report: (view: RunView) => void): Promise<Verdict>;
  close(): void;
}

interface WaitOptions {
  context: CliContext;
  /** Everything that the observer does must end with the signal. */
  openObserver: (signal: AbortSignal) => RunObserver;
  json: boolean;
  /** Undefined to wait for as long as it takes. */
  timeoutMs: number | undefined;
}

interface WaitResult {
  runId: string;
  verdict: Verdict;
  view: RunView | null;
}

/**
 * Waits for runs and shows how they come on; the results go to stdout once all are known.
 * @returns the exit code of the worst verdict
 */
export async function waitForRuns(
  runIds: readonly string[],
  { context, openObserver, json, timeoutMs }: WaitOptions,
): Promise<number> {
  const done = new AbortController();
  const deadline = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs);
  const signal = AbortSignal.any([
    context.signal,
    done.signal,
    ...(deadline === undefined ? [] : [deadline]),
  ]);
  const observer = openObserver(signal);
  const display = createWaitDisplay(context.io.stderr, runIds);

  const waitFor = async (runId: string): Promise<WaitResult> => {
    let view: RunView | null = null;
    const verdict = await observer
      .settle(runId, (look) => display.update(runId, (view = look)))
      .catch((error: unknown): Verdict => {
        if (deadline?.aborted === true && !context.signal.aborted) return TIMED_OUT;
        throw error;
      });
    display.settle(runId, verdict);
    return { runId, verdict, view };
  };

  try {
    const results = await Promise.all(runIds.map(waitFor));
    display.stop();
    return tellResults(results, context, json);
  } finally {
    display.stop();
    done.abort();
    observer.close();
  }
}

const TIMED_OUT: Verdict = {
  kind: 'timed_out',
  reason: { code: 'timed_out', message: 'the time for waiting is up' },
};

function tellResults(results: WaitResult[], { io }: CliContext, json: boolean): number {
  const exitCode = exitCodeOfVerdict(worstVerdict(results.map(({ verdict }) => verdict.kind)));
  if (json) {
    writeJson(io.stdout, { exit_code: exitCode, results: results.map(present) });
    return exitCode;
  }
  const { colors } = io.stdout;
  for (const { runId, verdict } of results) {
    const why = verdict.reason === null ? '' : colors.dim(` (${plain(verdict.reason.message)})`);
    io.stdout.write(`${runId} ${paint(verdict.kind, verdict.kind, colors)}${why}\n`);
  }
  return exitCode;
}

function present({ runId, verdict, view }: WaitResult) {
  return {
    run_id: runId,
    result: verdict.kind,
    exit_code: exitCodeOfVerdict(verdict.kind),
    run: view?.run ?? null,
    error: verdict.reason,
  };
}
