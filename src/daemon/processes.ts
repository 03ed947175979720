import type { ClockStep } from '../core/clock.ts';
import { createProcessJudge, Heartbeats, type Pulse } from '../core/dead-processes.ts';
import type { ProcessView } from '../http/routes/system.ts';
import type { ProcessInfo, ProcessStore } from '../redis/stores/process-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Clock } from './clock.ts';
import { faultLog } from '../fault-log.ts';
import { startPeriodic, type Periodic } from '../periodic.ts';

/** How often a process raises its counter and reads those of the others, ms. */
const BEAT_MS = 1_000;

/** How often a process reads the store's clock, and releases claims that it does not hold, ms. */
const TEND_MS = 5_000;

/** A change of the clock skew by this much is written, ms. */
const SKEW_CHANGE_MS = 100;

/** One kind of claimed work. */
export interface ClaimedWork {
  /** Makes the work of a dead process due at once. */
  takeOver(process: string): Promise<void>;
  /** Releases claims with this process's id that it does not hold, as after a fail-over. */
  tend?(): Promise<void>;
  /** Claims may be made again, after a time in which they were not sure to stand. */
  resume?(): void;
  /** Moves due times back with the store's clock, after a step forward was removed from it. */
  moveBack?(step: ClockStep): Promise<void>;
}

interface ProcessesDependencies {
  id: string;
  info: Omit<ProcessInfo, 'skewMs'>;
  store: ProcessStore;
  clock: Pick<Clock, 'now' | 'skewMs' | 'measure' | 'onStepTakenOut'>;
  /** Reports a sign that the store has lost writes of this process. */
  suspectLoss: () => void;
  /** Compares the store with its known state: this process is missing from it. */
  checkStore: () => void;
  /** Raised with each heartbeat. */
  pulse: Pulse;
  /** Milliseconds of a monotonic clock. */
  monotonic: () => number;
  log: Logger;
}

/** What a daemon works by. */
export interface ProcessConfiguration extends Pick<ProcessInfo, 'sections'> {
  /** Host and process id. */
  name: string;
}

/** This process among those on the store: it writes a heartbeat, and detects dead processes. */
export interface Processes {
  readonly id: string;
  /** Registers work that others take over when this process dies. */
  add(work: ClaimedWork): void;
  /**
   * Whether a claim made at a time, ms of the monotonic clock, surely still stands. False if this process
   * was frozen or without replies for so long that others may count it as dead.
   */
  isSurelyHeld(claimedAt: number): boolean;
  /** Whether a claim made now surely stands: another process may take it from one without a pulse. */
  mayClaim(): boolean;
  /** The daemons on this store, by their start. */
  list(): Promise<ProcessView[]>;
  /** The configurations of the daemons on this store. */
  configurations(): Promise<ProcessConfiguration[]>;
  /** Takes the hashes of a configuration that was put in force; they are written within seconds. */
  reconfigured(sections: ProcessInfo['sections']): void;
  start(): void;
  /** Reads the clock and checks claims now, as after a reconnect. */
  tend(): void;
  /** @param force writes nothing, since the store is away */
  stop(force: boolean): Promise<void>;
}

export function createProcesses(deps: ProcessesDependencies): Processes {
  const { id, store, pulse, log } = deps;
  const works: ClaimedWork[] = [];
  const judge = createProcessJudge(id, deps.monotonic);
  const heartbeats = new Heartbeats();
  deps.clock.onStepTakenOut(async (step) => {
    for (const work of works) await work.moveBack?.(step);
  });
  let periodics: Periodic[] = [];
  let takingOver: Periodic | null = null;
  /** Processes that count as dead since the last heartbeat, with work that is not yet taken over. */
  let dead: readonly string[] = [];
  let hasAppeared = false;
  let highest = 0;
  const description = describer(deps);
  const tend = async () => {
    for (const work of works) await work.tend?.();
  };

  async function beat(): Promise<void> {
    const askedAt = deps.monotonic();
    const [counter, counters] = await Promise.all([store.beat(id), store.counters()]);
    if (pulse.raised(askedAt)) for (const work of works) work.resume?.();
    if (counter === 1) await appear();
    else if (counter <= highest) deps.suspectLoss();
    highest = counter;
    heartbeats.note(counters, deps.clock.now());
    dead = judge(counters);
    if (dead.length > 0) takingOver?.trigger();
  }

  /** Beside the heartbeat: while it took long, others would count this process as dead. */
  async function takeOver(): Promise<void> {
    for (let [first] = dead; first !== undefined; [first] = dead) {
      const taken = first;
      log.warn({ process: taken }, 'process.dead');
      for (const work of works) await work.takeOver(taken);
      await store.forget(taken);
      dead = dead.filter((one) => one !== taken);
    }
  }

  /** Also after this process was frozen for so long that others counted it as dead. */
  async function appear(): Promise<void> {
    await description.write();
    if (hasAppeared) {
      log.warn({ process: id }, 'process.forgotten');
      deps.checkStore();
    }
    hasAppeared = true;
  }

  return {
    id,
    add: (work) => void works.push(work),
    isSurelyHeld: (claimedAt) => pulse.isUnbrokenSince(claimedAt),
    mayClaim: () => pulse.isSure(),
    start() {
      const onError = faultLog(log, 'processes');
      takingOver = startPeriodic(takeOver, { everyMs: BEAT_MS, onError });
      periodics = [
        takingOver,
        startPeriodic(beat, { everyMs: BEAT_MS, onError }),
        startPeriodic(() => description.measure(), { everyMs: TEND_MS, onError }),
        startPeriodic(tend, { everyMs: TEND_MS, onError }),
      ];
    },
    list: () => listProcesses(deps, heartbeats),
    configurations: () => listConfigurations(store),
    reconfigured: (sections) => description.reconfigured(sections),
    tend: () => periodics.at(-1)?.trigger(),
    async stop(force) {
      await Promise.all(periodics.map((one) => one.stop()));
      if (!force) await store.forget(id);
    },
  };
}

/** Writes the description of this process, again when its configuration or its clock skew has changed. */
function describer({ id, info, store, clock }: ProcessesDependencies) {
  let { sections } = info;
  let written: Pick<ProcessInfo, 'skewMs' | 'sections'> = { skewMs: 0, sections };

  async function write(): Promise<void> {
    const next = { skewMs: clock.skewMs(), sections };
    await store.describe(id, { ...info, ...next });
    written = next;
  }

  return {
    write,
    reconfigured: (next: ProcessInfo['sections']) => void (sections = next),
    async measure() {
      await clock.measure();
      const hasMoved = Math.abs(clock.skewMs() - written.skewMs) >= SKEW_CHANGE_MS;
      if (hasMoved || written.sections !== sections) await write();
    },
  };
}

/** A process without a counter has ended. */
async function listConfigurations(store: ProcessStore): Promise<ProcessConfiguration[]> {
  const [counters, described] = await Promise.all([store.counters(), store.described()]);
  return [...described].flatMap(([id, { host, pid, sections }]) =>
    counters.has(id) ? [{ name: `${host}:${pid}`, sections }] : [],
  );
}

async function listProcesses(
  { store, clock }: ProcessesDependencies,
  heartbeats: Heartbeats,
): Promise<ProcessView[]> {
  heartbeats.note(await store.counters(), clock.now());
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
