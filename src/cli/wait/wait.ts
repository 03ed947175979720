import type { MultiBar, SingleBar } from 'cli-progress';
import { shortIds } from '../../core/run/short-id.ts';
import { percentText } from '../../core/run/snapshot.ts';
import type { WaitObserver } from '../../client/wait-observer.ts';
import { settleRuns, type SettledRun } from '../../client/wait-settle.ts';
import {
  worstVerdict,
  type RunView,
  type Verdict,
  type VerdictKind,
} from '../../client/wait-verdict.ts';
import type { CommandLine } from '../command-line.ts';
import type { Output } from '../output.ts';
import { number, paint, plain } from '../render/text.ts';
import { writeJson } from '../report.ts';
import { exitCodeOfVerdict } from './verdict.ts';

interface WaitOptions {
  cli: CommandLine;
  /** Everything that the observer does must end with the signal. */
  openObserver: (signal: AbortSignal) => Promise<WaitObserver>;
  json: boolean;
  /** Ends with the first run that there is a verdict on. */
  any?: boolean | undefined;
  /** Undefined to wait for as long as it takes. */
  timeoutMs: number | undefined;
  /** Ends it by an error. @default that of the command line */
  signal?: AbortSignal | undefined;
  /** True to show nothing of how the runs come on. */
  isQuiet?: boolean | undefined;
}

/**
 * Waits for runs and shows how they come on; the results go to stdout once all are known.
 * @returns the exit code of the worst verdict
 */
export async function waitForRuns(
  runIds: readonly string[],
  options: WaitOptions,
): Promise<number> {
  const { cli, json } = options;
  return printResults(await settleShown(runIds, options), { cli, json });
}

/** Waits for runs and shows how they come on. */
export async function settleShown(
  runIds: readonly string[],
  options: Omit<WaitOptions, 'json'>,
): Promise<SettledRun[]> {
  const { cli, openObserver, any, timeoutMs, signal = cli.signal, isQuiet = false } = options;
  const display = isQuiet ? NO_DISPLAY : await createWaitDisplay(cli.io.stderr, runIds);
  try {
    return await settleRuns(runIds, {
      openObserver,
      any,
      timeoutMs,
      signal,
      onUpdate: (runId, view) => display.update(runId, view),
      onVerdict: (runId, verdict) => display.settle(runId, verdict),
    });
  } finally {
    display.stop();
  }
}

/** What the runs belong to that were waited for, and how the wait for that ended. */
interface WaitedBatch {
  name: string;
  state: string;
  verdict: VerdictKind | null;
}

/** @returns the exit code of the worst verdict */
export function printResults(
  results: readonly SettledRun[],
  { cli: { io }, json, batch }: { cli: CommandLine; json: boolean; batch?: WaitedBatch },
): number {
  const kinds = results.map(({ verdict }) => verdict.kind);
  const exitCode = exitCodeOfVerdict(
    worstVerdict([...kinds, ...(batch?.verdict ? [batch.verdict] : [])]),
  );
  if (json) {
    const about = batch && { batch: { name: batch.name, state: batch.state } };
    writeJson(io.stdout, { exit_code: exitCode, ...about, results: results.map(present) });
    return exitCode;
  }
  const { colors } = io.stdout;
  for (const { runId, verdict } of results) {
    const why = verdict.reason === null ? '' : colors.dim(` (${plain(verdict.reason.message)})`);
    io.stdout.write(`${runId} ${paint(verdict.kind, verdict.kind, colors)}${why}\n`);
  }
  return exitCode;
}

function present({ runId, verdict, view }: SettledRun) {
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

const NO_DISPLAY: WaitDisplay = {
  update: () => undefined,
  settle: () => undefined,
  stop: () => undefined,
};

/** More bars than this do not fit a screen; then one bar counts the runs that are settled. */
const MOST_BARS = 12;

/** Above this a line for each change would be noise; then only verdicts are lines. */
const MOST_TALKATIVE = 100;

/** Bars on a terminal, else lines. */
async function createWaitDisplay(output: Output, runIds: readonly string[]): Promise<WaitDisplay> {
  if (!output.isTty) return createLines(output, runIds.length);
  return runIds.length <= MOST_BARS
    ? createBars(output, runIds)
    : createTally(output, runIds.length);
}

/** A line for each change; of very many runs, for each verdict. */
function createLines(output: Output, runs: number): WaitDisplay {
  const last = new Map<string, string>();
  let settled = 0;
  return {
    update(runId, view) {
      const line = `${runId} ${describe(view)}`;
      if (runs > MOST_TALKATIVE || last.get(runId) === line) return;
      last.set(runId, line);
      output.write(`${line}\n`);
    },
    settle(runId, { kind }) {
      last.delete(runId);
      settled += 1;
      if (runs <= MOST_TALKATIVE) return;
      output.write(`${runId} ${kind} (${number(settled)} of ${number(runs)})\n`);
    },
    stop: () => undefined,
  };
}

const STATUS_WIDTH = 24;

async function newBars(output: Output, format: string, barsize: number): Promise<MultiBar> {
  const { MultiBar } = await import('cli-progress');
  return new MultiBar({
    stream: output.stream,
    format,
    barsize: Math.min(40, Math.max(8, barsize)),
    barCompleteChar: '█',
    barIncompleteChar: '░',
    autopadding: true,
    hideCursor: true,
    linewrap: false,
    gracefulExit: false,
  });
}

async function createBars(output: Output, runIds: readonly string[]): Promise<WaitDisplay> {
  const nameOf = shortIds(runIds);
  const width = Math.max(...runIds.map((runId) => nameOf(runId).length));
  const format = '{name} {bar} {share} {status}';
  const bars = await newBars(output, format, output.columns - width - STATUS_WIDTH - 10);
  const byRun = new Map<string, SingleBar>();
  for (const runId of runIds) {
    const name = nameOf(runId).padEnd(width);
    byRun.set(runId, bars.create(100, 0, { name, share: '', status: 'waiting' }));
  }
  return {
    update(runId, view) {
      const status = plain(view.trouble === null ? statusOf(view) : 'no answer from its source');
      const text = paint(status, view.run?.status ?? '', output.colors);
      byRun.get(runId)?.update(percentOf(view), { share: shareText(view), status: text });
    },
    settle(runId, { kind }) {
      const status = { status: paint(kind, kind, output.colors) };
      if (kind === 'completed') byRun.get(runId)?.update(100, { ...status, share: '100%' });
      else byRun.get(runId)?.update(status);
    },
    stop() {
      if (bars.isActive) bars.stop();
    },
  };
}

/** One bar for many runs, with how many came to which verdict. */
async function createTally(output: Output, runs: number): Promise<WaitDisplay> {
  const bars = await newBars(output, '{bar} {value}/{total} {verdicts}', output.columns - 60);
  const bar = bars.create(runs, 0, { verdicts: '' });
  const counts = new Map<string, number>();
  return {
    update: () => undefined,
    settle(_runId, { kind }) {
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
      const verdicts = [...counts].map(([one, amount]) =>
        paint(`${number(amount)} ${one}`, one, output.colors),
      );
      bar.increment(1, { verdicts: verdicts.join(', ') });
    },
    stop() {
      if (bars.isActive) bars.stop();
    },
  };
}

function describe(view: RunView): string {
  const trouble = view.trouble === null ? '' : ` (${view.trouble.message})`;
  return plain(`${[statusOf(view), shareText(view)].filter(Boolean).join(' ')}${trouble}`);
}

/** Nothing where the source gives no progress. */
function shareText({ run }: RunView): string {
  const progress = run?.progress ?? null;
  return progress === null ? '' : percentText(progress);
}

function statusOf({ run, state }: RunView): string {
  return run?.status ?? (state === 'active' ? 'not seen yet' : state);
}

/** A source may give any integer as progress; a bar knows 0 to 100. */
function percentOf({ run }: RunView): number {
  return Math.min(Math.max(run?.progress ?? 0, 0), 100);
}
