import { MultiBar, type SingleBar } from 'cli-progress';
import { percentText } from '../../core/run/snapshot.ts';
import type { Output } from '../context.ts';
import { paint } from '../render/paint.ts';
import { plain } from '../render/text.ts';
import type { RunView, Verdict } from './verdict.ts';

/** Shows how runs come on while they are waited for. */
interface WaitDisplay {
  update(runId: string, view: RunView): void;
  settle(runId: string, verdict: Verdict): void;
  /** May be called twice. */
  stop(): void;
}

/** More bars than this do not fit a screen; a line for each change is of more use then. */
const MOST_BARS = 12;

/** Bars on a terminal, else a line for each change. */
export function createWaitDisplay(output: Output, runIds: readonly string[]): WaitDisplay {
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
    byRun.set(runId, bars.create(100, 0, { name, status: 'looking' }));
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
