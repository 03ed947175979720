import type { Config } from '../config/schema.ts';
import type { ClockStep } from '../core/clock.ts';
import type { Overdue } from '../core/source/overdue.ts';
import { faultLog } from '../fault-log.ts';
import { startPeriodic, type Periodic } from '../periodic.ts';
import type { Process } from '../process.ts';
import { checkGone } from '../watches/gone-checks.ts';
import { Discovery } from './discovery.ts';
import { ScheduleRepair } from './schedule.ts';
import { Source } from './source.ts';

/** How often each schedule is surveyed, which finds lost wake-ups, ms. */
const SURVEY_MS = 5_000;

/** How often gone runs that are due for a check are read, ms. */
const CHECK_GONE_MS = 60_000;

/** How often the schedule is compared with the active watches, ms. */
const REPAIR_MS = 60_000;

/** How long requests go on after the process begins to stop; then they are aborted, ms. */
const HAND_BACK_MS = 300;

/** The polling half of the daemon: the sources, and what concerns all of them. */
export class Poller {
  /** All sources, in the order of their configuration. */
  readonly sources: readonly Source[];
  /** How discovery stands in all of them. */
  readonly discovery: Discovery;
  private readonly byName: ReadonlyMap<string, Source>;
  private readonly scheduleRepair: ScheduleRepair;
  private readonly builtAt: number;
  private periodics: Periodic[] = [];

  constructor(readonly process: Process) {
    this.sources = Object.entries(process.config.sources).map(
      ([name, config]) => new Source(process, name, config),
    );
    this.byName = new Map(this.sources.map((source) => [source.name, source]));
    this.discovery = new Discovery(process);
    const schedules = new Map(this.sources.map(({ name, schedule }) => [name, schedule]));
    this.scheduleRepair = new ScheduleRepair(process, schedules);
    this.builtAt = process.monotonic();
  }

  /** Undefined for a source that is not configured any more. */
  sourceOf(name: string): Source | undefined {
    return this.byName.get(name);
  }

  isRunning(): boolean {
    return this.sources.every((source) => source.isRunning());
  }

  /** Sources with overdue polls, as this process sees it. */
  overdue(): Overdue[] {
    return this.sources.flatMap((source) => source.overdue() ?? []);
  }

  /** Has runs of a source read soon. */
  async readSoon(source: string, runIds: readonly string[]): Promise<void> {
    await this.sourceOf(source)?.schedule.expedite(runIds);
  }

  /**
   * The sources with events that may be missing: lists are not read, polls are late, or it gives no answer.
   * What this process has not seen read may be missing.
   */
  async inDoubt(): Promise<Set<string>> {
    const troubles = (await this.discovery.troubles()) ?? [];
    const unread = await this.discovery.unreadFor(this.process.monotonic() - this.builtAt);
    const records = await Promise.all(
      this.sources.map(async ({ name, throttle }) => ({ name, record: await throttle.read() })),
    );
    return new Set([
      ...troubles.map(({ source }) => source),
      ...unread,
      ...this.overdue().map(({ source }) => source),
      ...records
        .filter(({ record }) => (record.state?.closed ?? null) !== null)
        .map(({ name }) => name),
    ]);
  }

  /** The claims of this process in all sources, and the streams that it follows. */
  readonly work = {
    takeOver: (dead: string) =>
      this.each(async ({ name, schedule, streams }) => {
        await this.process.stores.sources.probeLease(name).endOf(dead);
        await schedule.takeOver(dead);
        await streams.takeOver(dead);
      }),
    // Until then a slot may have been left to that process, which alone may have known what is due next.
    forgotten: () => {
      for (const { slots } of this.sources) slots.due();
    },
    moveBack: (step: ClockStep) =>
      this.each(async ({ schedule, throttle }) => {
        await schedule.moveBack(step);
        await throttle.moveBack(step);
      }),
  };

  /** Gives the sources that it has their new keys and rate limits. */
  reconfigure(settings: Config['sources']): void {
    for (const source of this.sources) {
      const next = settings[source.name];
      if (next !== undefined) source.reconfigure(next, Object.values(settings));
    }
    this.each(({ lists }) => lists.replan()).catch(faultLog(this.process.log, 'feed'));
  }

  /** Asks the sources of which nothing is known yet whether they answer. */
  greet(): Promise<void> {
    return this.each((source) => source.greet());
  }

  /** Surveys all schedules now, and repairs what Redis lost while it was away. */
  survey(): void {
    for (const periodic of this.periodics) periodic.trigger();
  }

  start(): void {
    const { log } = this.process;
    for (const source of this.sources) source.start();
    const onError = faultLog(log, 'schedule');
    this.periodics = [
      startPeriodic(() => this.each((source) => source.survey()), { everyMs: SURVEY_MS, onError }),
      startPeriodic(() => this.scheduleRepair.repair(), { everyMs: REPAIR_MS, onError }),
      startPeriodic(() => checkGone(this), {
        everyMs: CHECK_GONE_MS,
        onError: faultLog(log, 'check gone'),
      }),
    ];
  }

  /**
   * @param options.force does not wait for running polls: they cannot end while Redis is away
   * @param options.withinMs how long the stop may take
   */
  async stop({ force, withinMs }: { force: boolean; withinMs: number }): Promise<void> {
    for (const { discovery } of this.sources) discovery.stop();
    await Promise.all(this.periodics.map((one) => one.stop()));
    // An aborted request releases its claim at once.
    const patience = setTimeout(() => this.giveUp(), Math.min(HAND_BACK_MS, withinMs / 2));
    await this.each((source) => source.stop(force));
    clearTimeout(patience);
    this.giveUp();
    for (const source of this.sources) await source.close();
  }

  private giveUp(): void {
    for (const source of this.sources) source.giveUp();
  }

  private async each(act: (source: Source) => Promise<unknown>): Promise<void> {
    await Promise.all(this.sources.map(act));
  }
}
