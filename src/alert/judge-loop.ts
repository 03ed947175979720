import { startPeriodic, type Periodic } from '../periodic.ts';
import type { Alerting } from './alerting.ts';

/** The longest time between two passes over the groups that are due, ms: another process may have died. */
const PASS_EVERY_MS = 5_000;

/** The least time between two passes, ms: events that come meanwhile are judged together. */
const PAUSE_MS = 50;

/** How often it is read which sources' events may be missing, ms. */
const LEARN_EVERY_MS = 10_000;

/** How often it is seen whether processes agree again that had different deadline rules, ms. */
const SETTLE_EVERY_MS = 10_000;

/**
 * Judges groups when they are due, and at intervals those that another process has left. One timer runs at
 * a time, however many entries come; each entry has a pass that begins after it was written.
 */
export class JudgeLoop {
  private periodics: Periodic[] = [];
  private timer: NodeJS.Timeout | undefined;
  private wakesAt = Infinity;
  private lastEntryAt = -Infinity;

  constructor(private readonly alerting: Alerting) {}

  readonly wake = (): void => {
    clearTimeout(this.timer);
    this.wakesAt = Infinity;
    this.periodics[0]?.trigger();
    if (performance.now() - this.lastEntryAt < PAUSE_MS) this.wakeIn(0);
  };

  /** Soon, with what comes meanwhile: an entry is being written. */
  readonly wakeSoon = (): void => {
    this.lastEntryAt = performance.now();
    this.wakeIn(0);
  };

  start(): void {
    const { engine, onError } = this.alerting;
    this.periodics = [
      startPeriodic(() => this.pass(), { everyMs: PASS_EVERY_MS, onError }),
      startPeriodic(() => this.learn(), { everyMs: LEARN_EVERY_MS, onError }),
      startPeriodic(() => engine.settleDeadlines(), { everyMs: SETTLE_EVERY_MS, onError }),
    ];
  }

  async stop(): Promise<void> {
    clearTimeout(this.timer);
    await Promise.all(this.periodics.map((one) => one.stop()));
  }

  private wakeIn(ms: number): void {
    const at = performance.now() + Math.max(PAUSE_MS, ms);
    if (at >= this.wakesAt) return;
    clearTimeout(this.timer);
    this.wakesAt = at;
    this.timer = setTimeout(this.wake, at - performance.now()).unref();
  }

  /** Makes one pass over the groups that are due. */
  private async pass(): Promise<void> {
    const nextMs = await this.alerting.engine.judge();
    if (nextMs !== null && nextMs < PASS_EVERY_MS) this.wakeIn(nextMs);
  }

  /** Reads what the conditions of rules go by. */
  private async learn(): Promise<void> {
    const { durations, engine, rules } = this.alerting;
    await engine.learn();
    if (rules.book.needsUsual()) await durations.refreshIfDue();
  }
}
