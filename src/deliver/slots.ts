import type { AttemptOutcome, Delivery } from '../core/delivery/delivery.ts';
import {
  afterOriginSign,
  NO_TROUBLE,
  type OriginPause,
  type OriginTrouble,
  isOrigin,
  poolOf,
  urlOf,
} from '../core/delivery/receiver.ts';
import { originSignOf } from '../core/delivery/retry.ts';
import { afterAttemptAt, NEW_SLOTS, slotResultOf, type Slots } from '../core/delivery/slots.ts';

/** Pools that a process remembers; beyond them the least recently used are dropped. */
const REMEMBERED = 10_000;

/** Changes to a pool after an attempt, to be written with its result. */
interface PoolEffects {
  /** The slots as JSON; absent when unchanged. */
  slots?: string;
  /** Which of its receivers are paused; absent for none. */
  pause?: OriginPause;
}

interface Ended {
  delivery: Delivery;
  outcome: AttemptOutcome;
  hadWaiting: boolean;
  /** The most slots that the pool may have. */
  most: number;
  now: number;
}

interface KnownPool {
  slots: Slots;
  trouble: OriginTrouble;
  adopted: string;
  /** How many slots the store knows of. */
  stored: number;
}

const UNKNOWN: KnownPool = {
  slots: NEW_SLOTS,
  trouble: NO_TROUBLE,
  adopted: '',
  stored: NEW_SLOTS.limit,
};

/**
 * How many attempts each pool gets at a time, as this process knows it; the store shares that among all
 * processes.
 */
export class PoolSlots {
  private readonly known = new Map<string, KnownPool>();

  /** @param self the id of this process, by which it recognizes slots that it wrote itself */
  constructor(private readonly self: string) {}

  /** Takes over the slots that the store has, as JSON; '' when it has none. */
  adopt(pool: string, text: string): void {
    const own = this.of(pool);
    // The store has dropped them after a quiet time: few at a time again.
    if (text === '') {
      own.slots = { ...own.slots, limit: Math.min(own.slots.limit, NEW_SLOTS.limit), wall: null };
      own.stored = NEW_SLOTS.limit;
      return;
    }
    // Slots that this process wrote, or has taken over already, are older than its own.
    if (text.includes(`"by":"${this.self}"`) || text === own.adopted) return;
    own.adopted = text;
    const { by: _by, ...stored } = JSON.parse(text) as Slots & { by: string };
    own.stored = stored.limit;
    if (stored.cutAt >= own.slots.cutAt) own.slots = stored;
  }

  /** How many concurrent attempts a pool takes, as far as this process knows. */
  limitOf(pool: string): number {
    const { slots } = this.known.get(pool) ?? UNKNOWN;
    return Math.max(1, Math.floor(slots.limit));
  }

  afterAttempt({ delivery, outcome, hadWaiting, most, now }: Ended): PoolEffects {
    const pool = poolOf(delivery.endpoint);
    const own = this.of(pool);
    const sharer = isOrigin(pool) ? urlOf(delivery.endpoint) : null;
    const before = own.slots;
    own.slots = afterAttemptAt(before, slotResultOf(outcome, { hadWaiting, sharer }), most);
    const effects: PoolEffects = {};
    if (isWorthWriting(own, before, most)) {
      own.stored = own.slots.limit;
      effects.slots = JSON.stringify({ ...own.slots, by: this.self });
    }
    if (sharer === null) return effects;
    const shown = { receiver: sharer, sign: originSignOf(outcome), now };
    const { trouble, pause } = afterOriginSign(own.trouble, shown);
    own.trouble = trouble;
    return pause === null ? effects : { ...effects, pause };
  }

  private of(pool: string): KnownPool {
    const one = this.known.get(pool) ?? { ...UNKNOWN };
    this.known.delete(pool);
    this.known.set(pool, one);
    for (const oldest of this.known.keys()) {
      if (this.known.size <= REMEMBERED) break;
      this.known.delete(oldest);
    }
    return one;
  }
}

/** Growth below this share is not written yet: a write costs as much as a claim. */
const WRITTEN_SHARE = 1 / 8;

/** A change of the smoothed latency alone is not. */
function isWorthWriting({ slots, stored }: KnownPool, before: Slots, most: number): boolean {
  if (before.cutAt !== slots.cutAt || before.suspect !== slots.suspect) return true;
  const [has, had] = [Math.floor(slots.limit), Math.floor(stored)];
  if (has < had) return true;
  return has > had && (has - had >= had * WRITTEN_SHARE || has >= most);
}
