import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { startSimulator } from '../../src/simulator/server.ts';
import type { BenchContext } from '../support/context.ts';
import { MAIN } from '../support/daemon.ts';
import { rounded, type Figure } from '../support/figures.ts';
import { endProcess } from '../support/process.ts';

const STATUSES = ['completed', 'failed', 'stopped', 'awaiting_human_feedback'];

/** Of them, those that a stream reports as documented. */
const DOCUMENTED = new Set(['completed', 'failed']);

const RUNS_OF_EACH = 4;

/** While a stream is open, the run is read this often, s. */
const READ_EVERY_S = 15;

/** After this time the first run ends, and one after the other, ms: not while others are read. */
const FIRST_END_MS = 20_000;
const BETWEEN_ENDS_MS = 500;

interface Waited {
  runs: number;
  /** Of these, those with the verdict that they should have. */
  right: number;
  /** The most requests of a run beyond one each 15 s. */
  requests: number;
  /** The longest time from an end that a stream reported, or did not, to its line, s. */
  reportedS: number;
  unreportedS: number;
}

/** `runwatch wait` without a daemon: what it requests, how late it is, and whether it is right. */
export async function waitFigures(context: BenchContext): Promise<Figure[]> {
  const [all, ends] = await Promise.all([waitFor(context, []), waitFor(context, STATUSES)]);
  return [
    figuresOf('streams report everything', all),
    figuresOf('only documented ends', ends),
  ].flat();
}

function figuresOf(
  what: string,
  { runs, right, requests, reportedS, unreportedS }: Waited,
): Figure[] {
  const figure = (name: string, value: number, unit: string, target: Figure['target']) => ({
    name: `wait: ${what}: ${name}`,
    value: rounded(value),
    unit,
    ...(target !== undefined && { target }),
  });
  return [
    figure('most requests of a run', requests, 'beyond one each 15 s', { atMost: 4 }),
    figure('longest delay of what a stream reports', reportedS, 's', { atMost: 0.1 }),
    ...(unreportedS > 0
      ? [
          figure('longest delay of what none reports', unreportedS, 's', {
            atMost: READ_EVERY_S + 1,
          }),
        ]
      : []),
    figure('right verdicts', right, `of ${runs}`, { atLeast: runs }),
  ];
}

async function waitFor(context: BenchContext, silent: readonly string[]): Promise<Waited> {
  const simulator = await startSimulator();
  context.onEnd(() => simulator.close());
  const isReported = (status: string) => silent.length === 0 || DOCUMENTED.has(status);
  const runs = STATUSES.flatMap((status) =>
    Array.from({ length: RUNS_OF_EACH }, () => {
      const { id } = simulator.add({
        steps: [{ after_ms: 0, status: 'running' }],
        private_bytes: 0,
        stream: { silent_on: silent.filter((one) => !isReported(one)) },
      });
      return { id, status };
    }),
  );
  const child = spawn(process.execPath, [MAIN, 'wait', '--direct', ...runs.map(({ id }) => id)], {
    env: { ...process.env, NOXUS_API_KEY: simulator.apiKey, NOXUS_BACKEND_URL: simulator.url },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  context.onEnd(() => endProcess(child));
  const startedAt = Date.now();
  const lines = new Map<string, { status: string; at: number }>();
  createInterface(child.stderr).on('line', (line) => {
    const [id = '', status = ''] = line.split(' ');
    lines.set(id, { status, at: Date.now() });
  });
  const exited = once(child, 'exit');
  await delay(FIRST_END_MS);
  const endedAt = new Map<string, number>();
  for (const { id, status } of runs) {
    simulator.setStatus(id, status);
    endedAt.set(id, Date.now());
    await delay(BETWEEN_ENDS_MS);
  }
  await exited;
  const longest = (some: typeof runs) =>
    Math.max(0, ...some.map(({ id }) => (lines.get(id)?.at ?? Infinity) - endedAt.get(id)!)) /
    1_000;
  const openings = simulator.streams.opened / runs.length;
  return {
    runs: runs.length,
    right: runs.filter(({ id, status }) => lines.get(id)?.status === status).length,
    requests: Math.max(
      ...runs.map(({ id }) => {
        const lifeS = ((lines.get(id)?.at ?? Infinity) - startedAt) / 1_000;
        return openings + simulator.requests.run(id).count - lifeS / READ_EVERY_S;
      }),
    ),
    reportedS: longest(runs.filter(({ status }) => isReported(status))),
    unreportedS: longest(runs.filter(({ status }) => !isReported(status))),
  };
}
