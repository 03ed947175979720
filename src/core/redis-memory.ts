const DAY_MS = 86_400_000;

/** From this share of the limit on, memory is a trouble. */
const SCARCE_SHARE = 0.8;

/** Memory of Redis in bytes. */
export interface MemoryUse {
  used: number;
  /** Of an empty server. */
  startup: number;
  /** 0 for no limit. */
  max: number;
  /** The memory in use up to a day before; null where it was noted less than an hour ago. */
  before: { used: number; at: number } | null;
}

/** What the store keeps memory for, in bytes. */
interface KeptBytes {
  /** Packed records of runs that have ended. */
  settled: number;
  indexes: number;
}

/** What is known of the memory of Redis, in bytes. */
export interface MemoryFigures extends KeptBytes {
  used: number;
  /** Null for no limit. */
  max: number | null;
  /** Everything else: active watches, events and deliveries that are not packed, schedule, statistics. */
  live: number;
  /** For how many days the limit lasts at the rate of the last day; null where it does not come nearer. */
  daysLeft: number | null;
  /** Most of the limit is used. */
  isScarce: boolean;
}

export function memoryFigures(use: MemoryUse, kept: KeptBytes, now: number): MemoryFigures {
  const { used, startup, max } = use;
  return {
    ...kept,
    used,
    max: max === 0 ? null : max,
    live: Math.max(0, used - startup - kept.settled - kept.indexes),
    daysLeft: daysLeft(use, now),
    isScarce: max > 0 && used >= SCARCE_SHARE * max,
  };
}

function daysLeft({ used, max, before }: MemoryUse, now: number): number | null {
  if (max === 0 || before === null || used <= before.used) return null;
  const perDay = ((used - before.used) / (now - before.at)) * DAY_MS;
  return Math.max(0, max - used) / perDay;
}
