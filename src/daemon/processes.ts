import { createProcessJudge } from '../core/process-judge.ts';
import type { ProcessInfo, ProcessStore } from '../redis/process-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Clock } from './clock.ts';
import { faultLog } from './faults.ts';
import { startPeriodic, type Periodic } from './periodic.ts';

/** How often a process raises its counter and looks at those of the others, ms. */
const BEAT_MS = 1_000;

/** How often a process reads the store's clock, and gives back claims that it does not hold, ms. */
const TEND_MS = 5_000;

/** Work of one kind that is claimed in the store. */
export interface ClaimedWork {
  /** Makes the claims of a process that is dead due at once. */
  takeOver(process: string): Promise<void>;
  /** Gives back claims under this process's id that it does not hold, as after a fail-over. */
  tend(): Promise<void>;
  /** The store's clock was set back by so much, ms, to what it was before somebody set it forward. */
  moveBack(stepMs: number): Promise<void>;
}

interface ProcessesDependencies {
  id: string;
  info: ProcessInfo;
  store: ProcessStore;
  clock: Pick<Clock, 'measure' | 'onStepTakenOut'>;
  /** Takes a sign that the store has lost writes of this process. */
  suspectLoss: () => void;
  /** Milliseconds of a clock that only runs forward. */
  monotonic: () => number;
  log: Logger;
}

/** This process among those on the store: it shows that it lives, and judges which others do not. */
export interface Processes {
  readonly id: string;
  /** Registers work that is released when its process dies. */
  add(work: ClaimedWork): void;
  start(): void;
  /** Tends now, as on reconnecting. */
  tend(): void;
  /** @param force leaves the store, which is away, as it is */
  stop(force: boolean): Promise<void>;
}

export function createProcesses(deps: ProcessesDependencies): Processes {
  const { id, store, log } = deps;
  const works: ClaimedWork[] = [];
  const judge = createProcessJudge(id, deps.monotonic);
  deps.clock.onStepTakenOut(async (stepMs) => {
    for (const work of works) await work.moveBack(stepMs);
  });
  let periodics: Periodic[] = [];
  let hasAppeared = false;
  let highest = 0;

  async function beat(): Promise<void> {
    const [counter, counters] = await Promise.all([store.beat(id), store.counters()]);
    if (counter === 1) await appear();
    else if (counter <= highest) deps.suspectLoss();
    highest = counter;
    for (const dead of judge(counters)) {
      log.warn({ process: dead }, 'process.dead');
      for (const work of works) await work.takeOver(dead);
      await store.forget(dead);
    }
  }

  /** Also when this process was frozen for so long that others took it for dead. */
  async function appear(): Promise<void> {
    await store.describe(id, deps.info);
    if (hasAppeared) log.warn({ process: id }, 'process.forgotten');
    hasAppeared = true;
  }

  async function tend(): Promise<void> {
    await deps.clock.measure();
    for (const work of works) await work.tend();
  }

  return {
    id,
    add: (work) => void works.push(work),
    start() {
      const onError = faultLog(log, 'processes');
      periodics = [
        startPeriodic(beat, { everyMs: BEAT_MS, onError }),
        startPeriodic(tend, { everyMs: TEND_MS, onError }),
      ];
    },
    tend: () => periodics.at(1)?.trigger(),
    async stop(force) {
      await Promise.all(periodics.map((one) => one.stop()));
      if (!force) await store.forget(id);
    },
  };
}
