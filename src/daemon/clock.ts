import {
  needlessLead,
  stepBetween,
  createOwnClock,
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

interface ClockDependencies {
  store: Pick<StoreClock, 'read' | 'takeOut' | 'openSteps' | 'closeStep'>;
  clocks: DaemonClocks;
  /** Reports by how much the own clock is ahead, ms. */
  report: (skewMs: number) => void;
  log: Logger;
}

/** The one clock of this process. */
export interface Clock {
  /** Milliseconds since the epoch by the store's clock. */
  now: () => number;
  /** The time of day that receivers compare with their own clock, milliseconds since the epoch. */
  timeOfDay: () => number;
  /** How far the own wall clock is ahead of the store's, ms. */
  skewMs: () => number;
  /** Reads the store's clock, and removes a step if it was set forward. */
  measure(): Promise<void>;
  /**
   * Calls back with a removed step, by which due times are to be moved back. If the process that removed
   * it dies, another one calls back.
   */
  onStepTakenOut(moveBack: MoveBack): void;
}

export function createClock({ store, clocks, report, log }: ClockDependencies): Clock {
  const own = createOwnClock(clocks);
  const readStore = storeReader(store, clocks);
  const onError = faultLog(log, 'clock');
  const steps = new OpenSteps(store, log);
  let jumpCheckedAt = -Infinity;
  let isSkewed = false;

  async function measure(): Promise<void> {
    const { reading, taken, removed } = await readStore();
    own.adopt(reading);
    noteSkew(own.skewMs());
    await steps.close(removed, taken);
  }

  function noteSkew(skewMs: number): void {
    report(skewMs);
    if (Math.abs(skewMs) >= SKEWED_MS === isSkewed) return;
    isSkewed = !isSkewed;
    const fields = { skew_ms: skewMs };
    if (isSkewed) log.warn({ ...fields, remedy: REMEDY }, 'clock.skewed');
    else log.info(fields, 'clock.in_step');
  }

  return {
    now() {
      if (own.hasJumped() && clocks.monotonic() - jumpCheckedAt > JUMP_CHECK_MS) {
        jumpCheckedAt = clocks.monotonic();
        measure().catch(onError);
      }
      return own.now();
    },
    timeOfDay: () => own.timeOfDay(),
    skewMs: () => own.skewMs(),
    measure,
    onStepTakenOut: (moveBack) => void steps.listeners.push(moveBack),
  };
}

/** Reads the store's clock; after it removed a step forward or a needless lead, reads again. */
function storeReader(store: ClockDependencies['store'], { wall, monotonic, uptime }: DaemonClocks) {
  let before: Parameters<typeof stepBetween>[0] | null = null;

  async function readOnce() {
    const asked = { monotonic: monotonic(), uptime: uptime() };
    const { now, steps, offsetMs } = await store.read();
    const seen = { now, steps, askedAt: asked.uptime, answeredAt: uptime() };
    const advancedMs = before === null ? 0 : stepBetween(before, seen);
    const isLead = advancedMs === 0;
    const step = { ms: isLead ? needlessLead({ now, offsetMs }, wall()) : advancedMs, isLead };
    before = seen;
    const times = { askedAt: asked.monotonic, answeredAt: monotonic() };
    return { reading: { now, offsetMs, ...times }, step, removed: steps };
  }

  return async function readStore() {
    const { step, ...first } = await readOnce();
    if (step.ms === 0) return { ...first, taken: null };
    const taken = await store.takeOut(step, first.removed);
    return { ...(await readOnce()), taken };
  };
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
    private readonly store: ClockDependencies['store'],
    private readonly log: Logger,
  ) {}

  /**
   * Moves due times back by open steps.
   * @param removed how many steps were removed so far
   * @param taken the number of the one that this process has just removed
   */
  async close(removed: number, taken: number | null): Promise<void> {
    if (removed === this.closedUpTo) return;
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
