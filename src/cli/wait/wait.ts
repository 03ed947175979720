import { MultiBar, type SingleBar } from 'cli-progress';
import { percentText } from '../../core/run/snapshot.ts';
import type { CliContext, Output } from '../context.ts';
import { paint, plain } from '../render/text.ts';
import { writeJson } from '../report.ts';
import { exitCodeOfVerdict, worstVerdict, type RunView, type Verdict } from './verdict.ts';

/** Follows runs to their verdicts. */
export interface RunObserver {
  /**
   * Follows a run until there is a verdict. Throws on errors that concern every run, such as a token
   * that is not known, and when the signal that it was opened with aborts.
   * @param report called after every read of the run
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
      .settle(runId, (latest) => display.update(runId, (view = latest)))
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
    return printResults(results, context, json);
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

function printResults(results: WaitResult[], { io }: CliContext, json: boolean): number {
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

/** Shows the progress of runs during a wait. */
interface WaitDisplay {
  update(runId: string, view: RunView): void;
  settle(runId: string, verdict: Verdict): void;
  /** May be called twice. */
  stop(): void;
}

/** More bars than this do not fit a screen; then each change is a line. */
const MOST_BARS = 12;

/** Bars on a terminal, else a line for each change. */
function createWaitDisplay(output: Output, runIds: readonly string[]): WaitDisplay {
  return output.isTty && runIds.length <= MOST_BARS
    ? createBars(output, runIds)
    : createLines(output);
}

function createLines(output: Output): WaitDisplay {
  const last = new Map<string, string>();
  return {
    update(runId, view) {
      const line = `${runId} ${describe(view)}`;
      if (last.get(runId) === line) return;
      last.set(runId, line);
      output.write(`${line}\n`);
    },
    settle: (runId) => void last.delete(runId),
    stop: () => undefined,
  };
}

const ID_WIDTH = 36;
const STATUS_WIDTH = 24;

function createBars(output: Output, runIds: readonly string[]): WaitDisplay {
  const width = Math.min(ID_WIDTH, Math.max(...runIds.map(({ length }) => length)));
  const barsize = Math.min(40, Math.max(8, output.columns - width - STATUS_WIDTH - 10));
  const bars = new MultiBar({
    stream: output.stream,
    format: '{name} {bar} {percentage}% {status}',
    barsize,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    autopadding: true,
    hideCursor: true,
    linewrap: false,
    gracefulExit: false,
  });
  const byRun = new Map<string, SingleBar>();
  for (const runId of runIds) {
    const name = runId.slice(0, width).padEnd(width);
    byRun.set(runId, bars.create(100, 0, { name, status: 'waiting' }));
  }
  return {
    update(runId, view) {
      const status = plain(view.trouble === null ? statusOf(view) : 'no answer from Noxus');
      const text = paint(status, view.run?.status ?? '', output.colors);
      byRun.get(runId)?.update(percentOf(view), { status: text });
    },
    settle(runId, { kind }) {
      const status = { status: paint(kind, kind, output.colors) };
      if (kind === 'completed') byRun.get(runId)?.update(100, status);
      else byRun.get(runId)?.update(status);
    },
    stop() {
      if (bars.isActive) bars.stop();
    },
  };
}

function describe(view: RunView): string {
  const progress = view.run === null ? '' : ` ${percentText(view.run.progress)}`;
  const trouble = view.trouble === null ? '' : ` (${view.trouble.message})`;
  return plain(`${statusOf(view)}${progress}${trouble}`);
}

function statusOf({ run, state }: RunView): string {
  return run?.status ?? (state === 'active' ? 'not seen yet' : state);
}

/** Progress is any integer by Noxus's schema; a bar knows 0 to 100. */
function percentOf({ run }: RunView): number {
  return Math.min(Math.max(run?.progress ?? 0, 0), 100);
}
