import {
  needlessLead,
  stepBetween,
  OwnClock,
  type ClockStep,
  type HostClocks,
} from '../core/clock.ts';
import { RunwatchError } from '../core/errors.ts';
import type { StoreClock } from '../redis/store-clock.ts';
import type { Logger } from '../telemetry/logger.ts';
import { faultLog } from '../fault-log.ts';

/** A clock that differs by this much counts as wrong, ms. */
const SKEWED_MS = 1_000;

/** A clock that differs by this much is refused if so configured, ms. */
const REFUSED_MS = 30_000;

/** The least time between two readings of the store's clock after a jump of the own one, ms. */
const JUMP_CHECK_MS = 1_000;

const REMEDY =
  'set the clock of this host or of the Redis host right (NTP); runwatch uses the clock of Redis';

export interface DaemonClocks extends HostClocks {
  /** Milliseconds since the host started, which count on while it sleeps and cannot be set. */
  uptime: () => number;
}

type Store = Pick<StoreClock, 'read' | 'takeOut' | 'openSteps' | 'closeStep'>;

/** The one clock of this process. */
export class Clock {
  private readonly own: OwnClock;
  private readonly steps: OpenSteps;
  private readonly onError: (error: unknown) => void;
  private lastReading: Parameters<typeof stepBetween>[0] | null = null;
  private jumpCheckedAt = -Infinity;
  private isSkewed = false;

  /** @param report takes by how much the own clock is ahead, ms */
  constructor(
    private readonly store: Store,
    private readonly clocks: DaemonClocks,
    private readonly log: Logger,
    private readonly report: (skewMs: number) => void,
  ) {
    this.own = new OwnClock(clocks.wall, clocks.monotonic);
    this.steps = new OpenSteps(store, log);
    this.onError = faultLog(log, 'clock');
  }

  /** Milliseconds since the epoch by the store's clock. */
  readonly now = (): number => {
    const { own, clocks } = this;
    if (own.hasJumped() && clocks.monotonic() - this.jumpCheckedAt > JUMP_CHECK_MS) {
      this.jumpCheckedAt = clocks.monotonic();
      this.measure().catch(this.onError);
    }
    return own.now();
  };

  /** The time of day that receivers compare with their own clock, milliseconds since the epoch. */
  readonly timeOfDay = (): number => this.own.timeOfDay();

  /** How far the own wall clock is ahead of the store's, ms. */
  skewMs(): number {
    return this.own.skewMs();
  }

  /** Reads the store's clock, and removes a step if it was set forward. */
  async measure(): Promise<void> {
    const { reading, taken, removed } = await this.readStore();
    this.own.adopt(reading);
    this.noteSkew(this.own.skewMs());
    await this.steps.close(removed, taken);
  }

  /**
   * Calls back with a removed step, by which due times are to be moved back. If the process that removed
   * it dies, another one calls back.
   */
  onStepTakenOut(moveBack: MoveBack): void {
    this.steps.listeners.push(moveBack);
  }

  private noteSkew(skewMs: number): void {
    this.report(skewMs);
    if (Math.abs(skewMs) >= SKEWED_MS === this.isSkewed) return;
    this.isSkewed = !this.isSkewed;
    const fields = { skew_ms: skewMs };
    if (this.isSkewed) this.log.warn({ ...fields, remedy: REMEDY }, 'clock.skewed');
    else this.log.info(fields, 'clock.in_step');
  }

  /** After it removed a step forward or a needless lead, reads again. */
  private async readStore() {
    const { step, ...first } = await this.readOnce();
    if (step.ms === 0) return { ...first, taken: null };
    const taken = await this.store.takeOut(step, first.removed);
    return { ...(await this.readOnce()), taken };
  }

  private async readOnce() {
    const { wall, monotonic, uptime } = this.clocks;
    const asked = { monotonic: monotonic(), uptime: uptime() };
    const { now, steps, offsetMs } = await this.store.read();
    const seen = { now, steps, askedAt: asked.uptime, answeredAt: uptime() };
    const advancedMs = this.lastReading === null ? 0 : stepBetween(this.lastReading, seen);
    const isLead = advancedMs === 0;
    const step = { ms: isLead ? needlessLead({ now, offsetMs }, wall()) : advancedMs, isLead };
    this.lastReading = seen;
    const times = { askedAt: asked.monotonic, answeredAt: monotonic() };
    return { reading: { now, offsetMs, ...times }, step, removed: steps };
  }
}

type MoveBack = (step: ClockStep) => Promise<void>;

/** Steps that were removed from the store's clock, and by which due times are yet to be moved back. */
class OpenSteps {
  readonly listeners: MoveBack[] = [];
  /** How many steps had been removed when none was open; null before the first check. */
  private closedUpTo: number | null = null;
  /** Steps that other processes removed. One that is still open at the next check was left by a dead process. */
  private others = new Set<number>();

  constructor(
    private readonly store: Store,
    private readonly log: Logger,
  ) {}

  /**
   * Moves due times back by open steps.
   * @param removed how many steps were removed so far
   * @param taken the number of the one that this process has just removed
   */
  async close(removed: number, taken: number | null): Promise<void> {
    // Until something listens, as at the start, steps remain open like those that a dead process left.
    if (removed === this.closedUpTo || this.listeners.length === 0) return;
    const open = await this.store.openSteps();
    for (const [number, step] of open) {
      if (number !== taken && !this.others.has(number)) continue;
      this.log.warn({ step_ms: step.ms }, 'clock.set_forward');
      for (const moveBack of this.listeners) await moveBack(step);
      await this.store.closeStep(number);
      open.delete(number);
    }
    this.others = new Set(open.keys());
    if (open.size === 0) this.closedUpTo = removed;
  }
}

/** @throws RunwatchError `clock_skewed` when the own clock is too far off */
export function refuseSkew(skewMs: number): void {
  if (Math.abs(skewMs) < REFUSED_MS) return;
  const seconds = Math.round(Math.abs(skewMs) / 1_000);
  const side = skewMs > 0 ? 'ahead of' : 'behind';
  throw new RunwatchError(
    `the clock of this host is ${seconds} s ${side} that of Redis, which redis.refuse_clock_skew refuses: ${REMEDY}`,
    { code: 'clock_skewed' },
  );
}
