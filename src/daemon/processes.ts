import type { ClockStep } from '../core/clock.ts';
import { createProcessJudge, Heartbeats } from '../core/dead-processes.ts';
import type { ProcessInfo, ProcessStore } from '../redis/stores/process-store.ts';
import { faultLog } from '../fault-log.ts';
import { startPeriodic, type Periodic } from '../periodic.ts';
import type { Process } from '../process.ts';
import type { StoreGuard } from './store-guard.ts';

/** How often a process raises its counter and reads those of the others, ms. */
const BEAT_MS = 1_000;

/** A process that is alone reads all counters at one in so many heartbeats. */
const READ_EVERY = 30;

/** How often a process releases claims that it does not hold, ms. */
const TEND_MS = 5_000;

/** How often a process reads the store's clock, ms. */
const CLOCK_MS = 10_000;

/** A change of the clock skew by this much is written, ms. */
const SKEW_CHANGE_MS = 100;

/** One kind of claimed work. */
export interface ClaimedWork {
  /** Makes the work of a dead process due at once. */
  takeOver(process: string): Promise<void>;
  /** The dead process counts as live nowhere any more. */
  forgotten?(): void;
  /** Releases claims with this process's id that it does not hold, as after a fail-over. */
  tend?(): Promise<void>;
  /** Claims may be made again, after a time in which they were not sure to stand. */
  resume?(): void;
  /** Moves due times back with the store's clock, after a step forward was removed from it. */
  moveBack?(step: ClockStep): Promise<void>;
}

/** What a daemon works by. */
export interface ProcessConfiguration extends Pick<ProcessInfo, 'sections'> {
  /** Host and process id. */
  name: string;
}

/** A daemon on this store. Times are milliseconds since the epoch. */
export interface ProcessView {
  id: string;
  name: string;
  version: string;
  startedAt: number;
  heartbeatAt: number;
  /** By how much the clock of its host is ahead of the store's, ms. */
  skewMs: number;
}

/** This process among those on the store: it writes a heartbeat, and detects dead processes. */
export class Processes {
  private readonly works: ClaimedWork[] = [];
  private readonly judge: ReturnType<typeof createProcessJudge>;
  private readonly heartbeats = new Heartbeats();
  private periodics: Periodic[] = [];
  private takingOver: Periodic | null = null;
  /** Processes that count as dead since the last heartbeat, with work that is not yet taken over. */
  private dead: readonly string[] = [];
  private hasAppeared = false;
  private highest = 0;
  /** Whether it knows no other process. One that appears raises the counter of this one, too, then. */
  private isAlone = false;
  private leave: (why: string) => void = () => undefined;
  private sections: ProcessInfo['sections'];
  private written: Pick<ProcessInfo, 'skewMs' | 'sections'>;

  /** @param guard hears of signs that the store has lost writes of this process */
  constructor(
    private readonly process: Process,
    private readonly info: Omit<ProcessInfo, 'skewMs'>,
    private readonly guard: Pick<StoreGuard, 'suspect' | 'check'>,
  ) {
    this.judge = createProcessJudge(process.id, process.monotonic);
    this.sections = info.sections;
    this.written = { skewMs: 0, sections: info.sections };
    process.clock.onStepTakenOut(async (step) => {
      for (const work of this.works) await work.moveBack?.(step);
    });
  }

  /** Registers work that others take over when this process dies. */
  add(work: ClaimedWork): void {
    this.works.push(work);
  }

  /** @param leave this process must write nothing any more: records have a form that it would misread */
  start(leave: (why: string) => void): void {
    this.leave = leave;
    const onError = faultLog(this.process.log, 'processes');
    this.takingOver = startPeriodic(() => this.takeOver(), { everyMs: BEAT_MS, onError });
    this.periodics = [
      this.takingOver,
      startPeriodic(() => this.beat(), { everyMs: BEAT_MS, onError }),
      startPeriodic(() => this.measure(), { everyMs: CLOCK_MS, onError }),
      startPeriodic(() => this.tendWorks(), { everyMs: TEND_MS, onError }),
    ];
  }

  /** Checks claims now, as after a reconnect. */
  tend(): void {
    this.periodics.at(-1)?.trigger();
  }

  /** Whether records still have the form of this version; where not, the process leaves them. */
  async mayWork(): Promise<boolean> {
    const foreign = await this.process.stores.forms.foreign();
    if (foreign !== null) this.leave(foreign);
    return foreign === null;
  }

  /** @param force writes nothing, since the store is away */
  async stop(force: boolean): Promise<void> {
    await Promise.all(this.periodics.map((one) => one.stop()));
    if (!force) await this.store.forget(this.process.id);
  }

  /** The daemons on this store, by their start. */
  async list(): Promise<ProcessView[]> {
    const { heartbeats, store } = this;
    heartbeats.note(await store.counters(), this.process.now());
    const described = await store.described();
    const found = heartbeats.all().flatMap(([id, heartbeatAt]) => {
      const info = described.get(id);
      return info === undefined ? [] : [viewOf(id, info, heartbeatAt)];
    });
    return found.toSorted((a, b) => a.startedAt - b.startedAt);
  }

  /**
   * The configurations of the daemons on this store. A process without a counter has ended. What this one works
   * by is there, and written, before it acts on how others differ: they see that then, too.
   */
  async configurations(): Promise<ProcessConfiguration[]> {
    const { store } = this;
    if (this.written.sections !== this.sections) await this.describe();
    const [counters, described] = await Promise.all([store.counters(), store.described()]);
    const live = new Map([...described].filter(([id]) => counters.has(id)));
    live.set(this.process.id, { ...this.info, skewMs: 0, sections: this.sections });
    return [...live.values()].map(({ host, pid, sections }) => ({
      name: `${host}:${pid}`,
      sections,
    }));
  }

  /** Takes the hashes of a configuration that was put in force; they are written within seconds. */
  reconfigured(sections: ProcessInfo['sections']): void {
    this.sections = sections;
  }

  private get store(): ProcessStore {
    return this.process.stores.processes;
  }

  private async beat(): Promise<void> {
    const { highest, store } = this;
    const { id, monotonic, pulse } = this.process;
    const askedAt = monotonic();
    const [counter, seen, mayWork] = await Promise.all([
      highest === 0 ? store.show(id) : store.beat(id),
      this.isAlone && highest % READ_EVERY !== 0 ? null : store.counters(),
      // Behind the counter: a migration begins only where it sees no counter, so one of the two sees the other.
      this.mayWork(),
    ]);
    if (!mayWork) return;
    if (pulse.raised(askedAt)) for (const work of this.works) work.resume?.();
    if (counter === 1) await this.appear();
    else if (counter <= highest) this.guard.suspect();
    this.highest = counter;
    const own = () => new Map([[id, String(counter)]]);
    this.note(seen ?? (counter === highest + 1 ? own() : await store.counters()));
  }

  private note(counters: ReadonlyMap<string, string>): void {
    const { id, now } = this.process;
    this.isAlone = counters.size === 1 && counters.has(id);
    this.heartbeats.note(counters, now());
    this.dead = this.judge(counters);
    if (this.dead.length > 0) this.takingOver?.trigger();
  }

  /** Beside the heartbeat: while it took long, others would count this process as dead. */
  private async takeOver(): Promise<void> {
    for (let [first] = this.dead; first !== undefined; [first] = this.dead) {
      const taken = first;
      this.process.log.warn({ process: taken }, 'process.dead');
      for (const work of this.works) await work.takeOver(taken);
      await this.store.forget(taken);
      for (const work of this.works) work.forgotten?.();
      this.dead = this.dead.filter((one) => one !== taken);
    }
  }

  /** Also after this process was frozen for so long that others counted it as dead. */
  private async appear(): Promise<void> {
    const { id, log } = this.process;
    await this.describe();
    if (this.hasAppeared) {
      await this.store.show(id);
      log.warn({ process: id }, 'process.forgotten');
      this.guard.check();
    }
    this.hasAppeared = true;
  }

  private async tendWorks(): Promise<void> {
    for (const work of this.works) await work.tend?.();
  }

  /** Reads the clock, and describes this process again when its skew or its configuration has changed. */
  private async measure(): Promise<void> {
    const { clock } = this.process;
    await clock.measure();
    const hasMoved = Math.abs(clock.skewMs() - this.written.skewMs) >= SKEW_CHANGE_MS;
    if (hasMoved || this.written.sections !== this.sections) await this.describe();
  }

  private async describe(): Promise<void> {
    const next = { skewMs: this.process.clock.skewMs(), sections: this.sections };
    await this.store.describe(this.process.id, { ...this.info, ...next });
    this.written = next;
  }
}

function viewOf(id: string, info: ProcessInfo, heartbeatAt: number): ProcessView {
  const { host, pid, version, startedAt, skewMs } = info;
  return { id, name: `${host}:${pid}`, version, startedAt, heartbeatAt, skewMs };
}
