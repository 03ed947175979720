import { createProcessJudge, createPulse, Heartbeats } from '../core/process.ts';
import type { ProcessView } from '../http/services.ts';
import type { ProcessInfo, ProcessStore } from '../redis/stores/process-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Clock } from './clock.ts';
import { faultLog } from './faults.ts';
import { startPeriodic, type Periodic } from './periodic.ts';

/** How often a process raises its counter and looks at those of the others, ms. */
const BEAT_MS = 1_000;

/** How often a process reads the store's clock, and gives back claims that it does not hold, ms. */
const TEND_MS = 5_000;

/** A skew that differs from the one it has said by this much is said again, ms. */
const SKEW_CHANGE_MS = 100;

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
  info: Omit<ProcessInfo, 'skewMs'>;
  store: ProcessStore;
  clock: Pick<Clock, 'now' | 'skewMs' | 'measure' | 'onStepTakenOut'>;
  /** Takes a sign that the store has lost writes of this process. */
  suspectLoss: () => void;
  /** Has the store compared with what is known of it: this process is gone from it, if not by a judge. */
  checkStore: () => void;
  /** Milliseconds of a clock that only runs forward. */
  monotonic: () => number;
  log: Logger;
}

/** This process among those on the store: it shows that it lives, and judges which others do not. */
export interface Processes {
  readonly id: string;
  /** Registers work that is released when its process dies. */
  add(work: ClaimedWork): void;
  /**
   * Whether what was claimed at a time, ms of the monotonic clock, is surely still claimed: not where
   * this process was frozen or without replies for so long that another may have called it dead.
   */
  isSurelyHeld(claimedAt: number): boolean;
  /** The daemons on this store, the one that started first first. */
  list(): Promise<ProcessView[]>;
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
  const heartbeats = new Heartbeats();
  const pulse = createPulse(deps.monotonic);
  deps.clock.onStepTakenOut(async (stepMs) => {
    for (const work of works) await work.moveBack(stepMs);
  });
  let periodics: Periodic[] = [];
  let hasAppeared = false;
  let highest = 0;
  const description = describer(deps);

  async function beat(): Promise<void> {
    const askedAt = deps.monotonic();
    const [counter, counters] = await Promise.all([store.beat(id), store.counters()]);
    pulse.raised(askedAt);
    if (counter === 1) await appear();
    else if (counter <= highest) deps.suspectLoss();
    highest = counter;
    heartbeats.note(counters, deps.clock.now());
    for (const dead of judge(counters)) {
      log.warn({ process: dead }, 'process.dead');
      for (const work of works) await work.takeOver(dead);
      await store.forget(dead);
    }
  }

  /** Also when this process was frozen for so long that others took it for dead. */
  async function appear(): Promise<void> {
    await description.write();
    if (hasAppeared) {
      log.warn({ process: id }, 'process.forgotten');
      deps.checkStore();
    }
    hasAppeared = true;
  }

  async function tend(): Promise<void> {
    await deps.clock.measure();
    if (description.isOld()) await description.write();
    for (const work of works) await work.tend();
  }

  return {
    id,
    add: (work) => void works.push(work),
    isSurelyHeld: (claimedAt) => pulse.isUnbrokenSince(claimedAt),
    start() {
      const onError = faultLog(log, 'processes');
      periodics = [
        startPeriodic(beat, { everyMs: BEAT_MS, onError }),
        startPeriodic(tend, { everyMs: TEND_MS, onError }),
      ];
    },
    list: () => listProcesses(store, heartbeats),
    tend: () => periodics.at(1)?.trigger(),
    async stop(force) {
      await Promise.all(periodics.map((one) => one.stop()));
      if (!force) await store.forget(id);
    },
  };
}

/** What a process says of itself, which is said again when its clock is off by more or less than before. */
function describer({ id, info, store, clock }: ProcessesDependencies) {
  let saidSkewMs = 0;
  return {
    isOld: () => Math.abs(clock.skewMs() - saidSkewMs) >= SKEW_CHANGE_MS,
    async write() {
      saidSkewMs = clock.skewMs();
      await store.describe(id, { ...info, skewMs: saidSkewMs });
    },
  };
}

async function listProcesses(store: ProcessStore, heartbeats: Heartbeats): Promise<ProcessView[]> {
  const described = await store.described();
  const found = heartbeats.all().flatMap(([id, heartbeatAt]) => {
    const info = described.get(id);
    return info === undefined ? [] : [viewOf(id, info, heartbeatAt)];
  });
  return found.toSorted((a, b) => a.startedAt - b.startedAt);
}

function viewOf(id: string, info: ProcessInfo, heartbeatAt: number): ProcessView {
  const { host, pid, version, startedAt, skewMs } = info;
  return { id, name: `${host}:${pid}`, version, startedAt, heartbeatAt, skewMs };
}
